"""Reads a stored dump from end to end and says whether it is what its manifest says. Nothing is restored."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from dbtether.backup.formats import CUSTOM_HEADER, DumpFormat, unpacker
from dbtether.backup.scanner import DumpDamaged, DumpScanner


@dataclass(frozen=True, slots=True)
class Expected:
    """What a manifest says of its object; None where nobody knows, as for a dump of another tool."""

    object_bytes: int | None = None
    object_sha256: str | None = None
    plain_bytes: int | None = None
    plain_sha256: str | None = None
    rows: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read."""

    object_bytes: int
    object_sha256: str
    plain_bytes: int
    plain_sha256: str
    rows: Mapping[str, int] | None
    """None in the custom format, which does not show them."""
    client_version: str | None


async def verify(
    stream: AsyncIterator[bytes],
    format_: DumpFormat,
    expected: Expected,
    *,
    take: Callable[[bytes], None] = lambda _: None,
) -> Verified:
    """Read the object and compare it with what is expected of it; `take` gets its plain text in pieces.

    Raises DumpDamaged with the first thing that is wrong, and what the stream raises.
    """
    reading = _Reading(format_, take)
    async for chunk in stream:
        await asyncio.to_thread(reading.feed, chunk)
    found = reading.close()
    if problem := _difference(expected, found):
        raise DumpDamaged(problem)
    return found


class _Reading:
    """An object while it goes by."""

    def __init__(self, format_: DumpFormat, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._unpacker = unpacker(format_)
        self._scanner = None if format_.is_custom else DumpScanner()
        self._stored, self._plain = hashlib.sha256(), hashlib.sha256()
        self._object_bytes = self._plain_bytes = 0
        self._head = b""

    def feed(self, chunk: bytes) -> None:
        """The next piece of the object. Raises DumpDamaged."""
        self._stored.update(chunk)
        self._object_bytes += len(chunk)
        for piece in self._unpacker.unpack(chunk):
            self._plain.update(piece)
            self._plain_bytes += len(piece)
            self._head = (self._head + piece[: len(CUSTOM_HEADER)])[: len(CUSTOM_HEADER)]
            if self._scanner is not None:
                self._scanner.feed(piece)
            self._take(piece)

    def close(self) -> Verified:
        """What was read. Raises DumpDamaged when it is not complete."""
        self._unpacker.finish()
        if self._scanner is None and self._head != CUSTOM_HEADER:
            raise DumpDamaged("the object does not begin as an archive of pg_dump does")
        scanned = None if self._scanner is None else self._scanner.close()
        return Verified(
            object_bytes=self._object_bytes,
            object_sha256=self._stored.hexdigest(),
            plain_bytes=self._plain_bytes,
            plain_sha256=self._plain.hexdigest(),
            rows=None if scanned is None else scanned.rows,
            client_version=None if scanned is None else scanned.client_version,
        )


def _difference(expected: Expected, found: Verified) -> str | None:
    """The first thing in which an object is not what its manifest says."""
    pairs = (
        ("bytes of the object", expected.object_bytes, found.object_bytes),
        ("SHA-256 of the object", expected.object_sha256, found.object_sha256),
        ("bytes of the plain dump", expected.plain_bytes, found.plain_bytes),
        ("SHA-256 of the plain dump", expected.plain_sha256, found.plain_sha256),
    )
    for what, wanted, has in pairs:
        if wanted is not None and wanted != has:
            return f"{what}: {has}, and the manifest says {wanted}"
    if expected.rows is None or found.rows is None or dict(expected.rows) == dict(found.rows):
        return None
    table = min(set(expected.rows.items()) ^ set(found.rows.items()))[0]
    return f"rows of {table}: {found.rows.get(table, 'none')}, and the manifest says {expected.rows.get(table, 'none')}"
