"""The port over obstore: S3, Google Cloud Storage, Azure Blob Storage.

obstore retries what may be retried, with back-off; every call and every transfer has an end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from dbtether.storage.classify import fault_of
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.parts import Parts, parts_for
from dbtether.storage.store import ObjectInfo, check_key

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore as Client

T = TypeVar("T")

_PAGE = 1000
_ABORT_SECONDS = 30.0
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Clients:
    """Two views of one bucket: a call ends soon, a transfer ends when nothing moves any more."""

    calls: "Client"
    transfers: "Client"


class Bucket:
    """A bucket or a container of a cloud store."""

    def __init__(self, url: str, clients: Clients, *, has_keys: bool, takes_tags: bool = False) -> None:
        """`has_keys`: credentials were given, rather than taken from the workload's identity."""
        self._url = url
        self._clients = clients
        self._has_keys = has_keys
        self._takes_tags = takes_tags

    @property
    def url(self) -> str:
        """Where it is, such as `s3://bucket`."""
        return self._url

    async def put_if_absent(self, key: str, content: bytes, tags: Mapping[str, str] | None = None) -> None:
        """Write a small object that must not be there yet."""
        path = check_key(key, self._url)
        wanted = dict(tags) if tags and self._takes_tags else None
        try:
            await self._put(path, content, wanted)
        except StorageError as error:
            if wanted is None or error.fault not in (Fault.ACCESS_DENIED, Fault.REFUSED):
                raise
            # Tags are a courtesy, and a right of their own (s3:PutObjectTagging): uploads do without them, too.
            self._takes_tags = False
            await self._put(path, content, None)

    async def _put(self, key: str, content: bytes, tags: dict[str, str] | None) -> None:
        await self._asked(
            "writing", key, lambda: obstore.put_async(self._clients.calls, key, content, mode="create", tags=tags)
        )

    @asynccontextmanager
    async def writing(
        self, key: str, expected_bytes: int | None = None, tags: Mapping[str, str] | None = None
    ) -> AsyncIterator["_Upload"]:
        """Write an object of any size; visible once the block has ended without an error."""
        path = check_key(key, self._url)
        upload = _Upload(self, path, parts_for(expected_bytes), dict(tags) if tags and self._takes_tags else None)
        try:
            yield upload
            if not upload.written:
                raise StorageError(Fault.REFUSED, "writing", self._at(key), "nothing was written")
            await upload.finish()
        finally:
            await upload.abort()
        found = await self.head(key)
        if found.size != upload.written:
            detail = f"{upload.written} bytes were sent, {found.size} are there"
            raise StorageError(Fault.REFUSED, "writing", self._at(key), detail)

    async def send(self, key: str, chunks: AsyncIterator[bytes], parts: Parts, tags: dict[str, str] | None) -> None:
        """Upload what the iterator gives. An error of the iterator's own aborts the upload and comes through."""
        await self._asked(
            "writing",
            key,
            lambda: obstore.put_async(
                self._clients.transfers,
                key,
                chunks,
                use_multipart=True,
                chunk_size=parts.size,
                max_concurrency=parts.at_once,
                tags=tags,
            ),
        )

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Give the object's content in chunks."""
        path = check_key(key, self._url)
        result = await self._asked("reading", key, lambda: obstore.get_async(self._clients.transfers, path))
        chunks = result.stream(min_chunk_size=_CHUNK)
        while True:
            try:
                chunk = await self._asked("reading", key, lambda: anext(chunks))
            except StopAsyncIteration:
                return
            yield bytes(chunk)

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """Return a small object's content."""
        path = check_key(key, self._url)
        result = await self._asked("reading", key, lambda: obstore.get_async(self._clients.calls, path))
        if result.meta["size"] > limit_bytes:
            raise StorageError(Fault.REFUSED, "reading", self._at(key), f"larger than {limit_bytes} bytes")
        return bytes(await self._asked("reading", key, result.bytes_async))

    async def head(self, key: str) -> ObjectInfo:
        """Tell the object's size and time."""
        path = check_key(key, self._url)
        return _info(await self._asked("looking at", key, lambda: obstore.head_async(self._clients.calls, path)))

    async def list(self, folder: str = "") -> tuple[ObjectInfo, ...]:
        """All objects under a folder, sorted by key."""
        prefix = check_key(folder, self._url) if folder else None
        pages = obstore.list(self._clients.calls, prefix, chunk_size=_PAGE)
        found: list[ObjectInfo] = []
        while True:
            try:
                page = await self._asked("listing", folder, lambda: anext(pages))
            except StopAsyncIteration:
                return tuple(sorted(found))
            found += [_info(meta) for meta in page]

    async def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is no error."""
        path = check_key(key, self._url)
        try:
            await self._asked("deleting", key, lambda: obstore.delete_async(self._clients.calls, path))
        except StorageError as error:
            if error.fault is not Fault.OBJECT_NOT_FOUND:
                raise

    async def _asked(self, doing: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        """What the call gives. Its error is told by ours alone: the text of theirs can hold signatures."""
        try:
            return await call()
        except (AlreadyExistsError, PreconditionError):
            fault, detail = Fault.OBJECT_EXISTS, ""
        except FileNotFoundError as error:
            fault, detail = fault_of(str(error), has_keys=self._has_keys)
            if fault is not Fault.BUCKET_NOT_FOUND:
                fault, detail = Fault.OBJECT_NOT_FOUND, ""
        except (BaseError, OSError, ValueError) as error:
            if isinstance(error, _Aborted):
                raise
            fault, detail = fault_of(str(error), has_keys=self._has_keys)
        raise StorageError(fault, doing, self._at(key), detail)

    def _at(self, key: str) -> str:
        return f"{self._url}/{key}" if key else self._url


class _Aborted(ValueError):
    """The upload must not become an object."""


class _Upload:
    """Carries chunks from a writer to a running upload: one at a time, so that a slow store slows the writer."""

    def __init__(self, bucket: Bucket, key: str, parts: Parts, tags: dict[str, str] | None) -> None:
        self.written = 0
        self._next: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._is_aborted = False
        self._sending = asyncio.create_task(bucket.send(key, self._chunks(), parts, tags), name=f"upload of {key}")

    async def write(self, chunk: bytes) -> None:
        """Hand over the next bytes; returns once there is room for more. Raises StorageError."""
        if chunk:
            await self._put(chunk)
            self.written += len(chunk)

    async def finish(self) -> None:
        """Complete the object. Raises StorageError when it could not be."""
        await self._put(None)
        await asyncio.shield(self._sending)

    async def abort(self) -> None:
        """End an upload that has not ended, so that nothing of it becomes visible; the parts are taken away."""
        if self._sending.done():
            self._sending.cancelled() or self._sending.exception()
            return
        self._is_aborted = True
        with contextlib.suppress(asyncio.QueueFull):
            self._next.put_nowait(None)
        done, _ = await asyncio.wait({self._sending}, timeout=_ABORT_SECONDS)
        if done:
            self._sending.cancelled() or self._sending.exception()
        else:
            self._sending.cancel()

    async def _put(self, item: bytes | None) -> None:
        if self._next.empty() and not self._sending.done():
            self._next.put_nowait(item)
            await asyncio.sleep(0)
            return
        room = asyncio.ensure_future(self._next.put(item))
        try:
            await asyncio.wait({room, self._sending}, return_when=asyncio.FIRST_COMPLETED)
            if self._sending.done():
                # Only an error ends it before the last chunk was handed over.
                await self._sending
        finally:
            if not room.done():
                room.cancel()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            item = await self._next.get()
            if self._is_aborted:
                raise _Aborted("the upload was given up")
            if item is None:
                return
            yield item


def _info(meta: "ObjectMeta") -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["last_modified"])
