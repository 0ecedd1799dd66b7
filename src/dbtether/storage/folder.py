"""The port over a folder of this machine.

Every step down is opened by descriptor without following links, so that nothing outside the folder is ever
reached, also when somebody swaps a directory for a link meanwhile. A file gets its name once its content is on
the disk: what is not complete is under `.dbtether-uploads`, which no listing shows.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.store import UPLOADS, ObjectInfo, check_key

T = TypeVar("T")

_CHUNK = 1024 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STALE_SECONDS = 3600.0
_FAULTS = {
    errno.ENOENT: Fault.OBJECT_NOT_FOUND,
    errno.EEXIST: Fault.OBJECT_EXISTS,
    errno.EACCES: Fault.ACCESS_DENIED,
    errno.EPERM: Fault.ACCESS_DENIED,
    errno.EROFS: Fault.ACCESS_DENIED,
    errno.ENOSPC: Fault.FULL,
    errno.EDQUOT: Fault.FULL,
    errno.EFBIG: Fault.FULL,
    errno.EIO: Fault.BUSY,
    errno.ESTALE: Fault.UNREACHABLE,
    errno.ETIMEDOUT: Fault.UNREACHABLE,
}


class Folder:
    """A folder that holds objects as files; directories are made as keys need them."""

    def __init__(self, root: Path, path: str) -> None:
        """`root` is the folder that the operator allows, `path` the storage's own under it."""
        self._root = root
        self._steps = tuple(step for step in path.split("/") if step)
        self._path = root.joinpath(*self._steps)

    @property
    def url(self) -> str:
        """Where it is, such as `file:///backups`."""
        return f"file://{self._path}"

    async def put_if_absent(self, key: str, content: bytes, tags: Mapping[str, str] | None = None) -> None:
        """Write a small object that must not be there yet; a file has no tags."""
        del tags
        async with self.writing(key) as writer:
            await writer.write(content)

    @asynccontextmanager
    async def writing(
        self, key: str, expected_bytes: int | None = None, tags: Mapping[str, str] | None = None
    ) -> AsyncIterator["_Unfinished"]:
        """Write an object of any size; visible, and on the disk, once the block has ended without an error."""
        del expected_bytes, tags
        check_key(key, self.url)
        unfinished = await self._asked("writing", key, lambda: self._begin(key))
        try:
            yield unfinished
            if not unfinished.written:
                raise StorageError(Fault.REFUSED, "writing", self._at(key), "nothing was written")
            await self._asked("writing", key, unfinished.complete)
        finally:
            await asyncio.to_thread(unfinished.close)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Give the object's content in chunks."""
        check_key(key, self.url)
        descriptor = await self._asked("reading", key, lambda: self._open_file(key))
        try:
            while chunk := await self._asked("reading", key, lambda: os.read(descriptor, _CHUNK)):
                yield chunk
        finally:
            os.close(descriptor)

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """Return a small object's content."""
        info = await self.head(key)
        if info.size > limit_bytes:
            raise StorageError(Fault.REFUSED, "reading", self._at(key), f"larger than {limit_bytes} bytes")
        return b"".join([chunk async for chunk in self.stream(key)])

    async def head(self, key: str) -> ObjectInfo:
        """Tell the object's size and time."""
        check_key(key, self.url)

        def look() -> ObjectInfo:
            descriptor = self._open_file(key)
            try:
                return _info(key, os.fstat(descriptor))
            finally:
                os.close(descriptor)

        return await self._asked("looking at", key, look)

    async def list(self, folder: str = "") -> tuple[ObjectInfo, ...]:
        """All objects under a folder, sorted by key; links and other special files are no objects."""
        steps = check_key(folder, self.url).split("/") if folder else []

        def walk() -> tuple[ObjectInfo, ...]:
            with self._opened_root() as root:
                try:
                    top = _descend(root, steps)
                except (FileNotFoundError, NotADirectoryError):
                    return ()
                with _closing(top):
                    return tuple(sorted(_objects(top, steps)))

        return await self._asked("listing", folder, walk)

    async def delete(self, key: str) -> None:
        """Delete an object; one that is gone already is no error. Directories stay."""
        *steps, name = check_key(key, self.url).split("/")

        def unlink() -> None:
            with self._opened_root() as root, contextlib.suppress(FileNotFoundError):
                folder = _descend(root, steps)
                with _closing(folder):
                    os.unlink(name, dir_fd=folder)
                    os.fsync(folder)

        await self._asked("deleting", key, unlink)

    async def sweep(self) -> None:
        """Remove what writers that were killed have left behind; a writer that lives holds a lock on its file."""

        def remove() -> None:
            with self._opened_root() as root, contextlib.suppress(FileNotFoundError):
                uploads = os.open(UPLOADS, _DIRECTORY, dir_fd=root)
                with _closing(uploads), os.scandir(uploads) as entries:
                    for entry in entries:
                        _remove_if_stale(uploads, entry.name)

        await self._asked("sweeping", "", remove)

    def _begin(self, key: str) -> "_Unfinished":
        *steps, name = key.split("/")
        with self._opened_root(make=True) as root:
            uploads = _descend(root, [UPLOADS], make=True)
            folder = -1
            try:
                folder = _descend(root, steps, make=True)
                # Told before hours of work; what counts is the link at the end.
                with contextlib.suppress(FileNotFoundError):
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
                    raise FileExistsError(errno.EEXIST, "taken")
                return _Unfinished(uploads, folder, name, lambda error: self._told(error, "writing", key))
            except BaseException:
                for descriptor in (uploads, folder):
                    if descriptor >= 0:
                        os.close(descriptor)
                raise

    def _open_file(self, key: str) -> int:
        *steps, name = key.split("/")
        with self._opened_root() as root:
            folder = _descend(root, steps)
            with _closing(folder):
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "not a file")
        return descriptor

    @contextmanager
    def _opened_root(self, *, make: bool = False) -> Iterator[int]:
        """The storage's own folder. Raises StorageError when there is none and none is to be made."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with _closing(root):
                folder = _descend(root, self._steps, make=make)
        except FileNotFoundError:
            raise StorageError(Fault.BUCKET_NOT_FOUND, "opening", self.url) from None
        with _closing(folder):
            yield folder

    async def _asked(self, doing: str, key: str, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except OSError as error:
            raise self._told(error, doing, key) from None

    def _told(self, error: OSError, doing: str, key: str) -> StorageError:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return StorageError(Fault.REFUSED, doing, self._at(key), "a part of the path is a link or a file")
        fault = _FAULTS.get(error.errno or 0, Fault.REFUSED)
        return StorageError(fault, doing, self._at(key), (error.strerror or "") if fault is Fault.REFUSED else "")

    def _at(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url


class _Unfinished:
    """A file without its name yet."""

    def __init__(self, uploads: int, folder: int, name: str, told: Callable[[OSError], StorageError]) -> None:
        """Owns the two descriptors from now on."""
        self.written = 0
        self._uploads, self._folder, self._name, self._told = uploads, folder, name, told
        self._temporary = f"{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._temporary, flags, 0o600, dir_fd=uploads)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    async def write(self, chunk: bytes) -> None:
        """Write the next bytes. Raises StorageError."""
        try:
            await asyncio.to_thread(self._write, chunk)
        except OSError as error:
            raise self._told(error) from None

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self.written += len(chunk)

    def complete(self) -> None:
        """Give the file its name, unless that is taken. Raises OSError."""
        os.fsync(self._file)
        # A link, unlike a rename, fails where the name is taken.
        os.link(self._temporary, self._name, src_dir_fd=self._uploads, dst_dir_fd=self._folder, follow_symlinks=False)
        os.fsync(self._folder)

    def close(self) -> None:
        """Take the temporary name away."""
        with contextlib.suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._uploads)
        for descriptor in (self._file, self._uploads, self._folder):
            os.close(descriptor)


def _descend(folder: int, steps: "tuple[str, ...] | list[str]", *, make: bool = False) -> int:
    """A descriptor of the folder below, for the caller to close. Raises OSError, also where a step is a link."""
    here = os.dup(folder)
    try:
        for step in steps:
            try:
                below = os.open(step, _DIRECTORY, dir_fd=here)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, 0o700, dir_fd=here)
                    os.fsync(here)
                below = os.open(step, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def _objects(folder: int, steps: list[str]) -> Iterator[ObjectInfo]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if not steps and entry.name == UPLOADS:
            continue
        path = [*steps, entry.name]
        try:
            if entry.is_dir(follow_symlinks=False):
                below = os.open(entry.name, _DIRECTORY, dir_fd=folder)
                with _closing(below):
                    yield from _objects(below, path)
            elif entry.is_file(follow_symlinks=False):
                yield _info("/".join(path), os.stat(entry.name, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            # Deleted meanwhile.
            continue


def _remove_if_stale(uploads: int, name: str) -> None:
    with contextlib.suppress(OSError):
        if time.time() - os.stat(name, dir_fd=uploads, follow_symlinks=False).st_mtime < _STALE_SECONDS:
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=uploads)
        with _closing(descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=uploads)


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
