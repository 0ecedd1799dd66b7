"""The port itself: what a backup asks of a store, and what a key may look like."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dbtether.api.identifiers import text_problem
from dbtether.api.templates import MAX_KEY_BYTES
from dbtether.storage.errors import Fault, StorageError

UPLOADS = ".dbtether-uploads"
"""Where a folder keeps what is not complete yet; no key may name it."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectInfo:
    """An object as a listing shows it."""

    key: str
    size: int
    last_modified: datetime


class Writer(Protocol):
    """An object that is being written."""

    async def write(self, chunk: bytes) -> None:
        """Hand over the next bytes; returns once there is room for more. Raises StorageError."""
        ...


class ObjectStore(Protocol):
    """A bucket, a container or a folder. Whatever fails raises StorageError, whose fault tells why."""

    @property
    def url(self) -> str:
        """Where it is, such as `s3://bucket`; no credentials."""
        ...

    async def put_if_absent(self, key: str, content: bytes, tags: Mapping[str, str] | None = None) -> None:
        """Write a small object that must not be there yet; ObjectExists when it is."""
        ...

    def writing(
        self, key: str, expected_bytes: int | None = None, tags: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Writer]:
        """Write an object of any size, which is visible once the block has ended without an error, and never else.

        `expected_bytes` scales the parts. A block that wrote nothing is refused: an empty object is no backup.
        """
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """Give the object's content in chunks."""
        ...

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """Return a small object's content; StorageRefused when it is larger than the limit."""
        ...

    async def head(self, key: str) -> ObjectInfo: ...

    async def list(self, folder: str = "") -> tuple[ObjectInfo, ...]:
        """All objects under a folder, sorted by key; `a/b` is never `a/b2`. All of them, or an error."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is no error."""
        ...


def check_key(key: str, where: str) -> str:
    """Return the key. Raises StorageError when it is not plain segments separated by `/`."""
    segments = key.split("/")
    if (
        any(segment in ("", ".", "..", UPLOADS) for segment in segments)
        or "\\" in key
        or text_problem(key) is not None
        or len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES
    ):
        raise StorageError(Fault.REFUSED, "using the key", f"{where}/{key[:60]!r}", "not a plain object key")
    return key
