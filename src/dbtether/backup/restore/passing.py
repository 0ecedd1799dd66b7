"""Passes a stored dump through the scanner to a sink, and proves it at the end: what both passes have in common.

The next chunk is fetched while this one is worked on; the work itself (unpacking, checksums, scanning, and what
the sink does) happens in one thread, so that a sink may block.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from dbtether.backup.clients import newest_clients
from dbtether.backup.formats import DumpFormat
from dbtether.backup.reading import Contents, ObjectReading
from dbtether.backup.restore.archive import Archive, converting
from dbtether.backup.restore.job import Expectation, tables_digest
from dbtether.backup.scanner import DumpDamaged, DumpScanner, DumpSink, ScannedDump

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PassProgress:
    """How far a pass is."""

    object_bytes: int
    tables: int
    rows: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A whole dump that went by, proven as far as anybody knows what it was to be."""

    contents: Contents
    scanned: ScannedDump

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(self.scanned.rows.values())


@dataclass(frozen=True, slots=True)
class Pass:
    """What to pass through, and to whom."""

    format: DumpFormat
    expected: Expectation | None
    sink: DumpSink
    stop: Callable[[], None]
    """Makes a sink that blocks give up; called from another thread."""
    on_progress: Callable[[PassProgress], None]
    environment: Mapping[str, str]
    hashes_plain: bool
    """Whether what is in the object gets a checksum of its own; that of the object implies it."""


async def pass_through(stream: AsyncIterator[bytes], order: Pass) -> Passed:
    """Read it from end to end. Raises DumpDamaged, Blocked without client programs, and what sink and stream raise."""
    reading, scanner = ObjectReading(order.format, hashes_plain=order.hashes_plain), DumpScanner(order.sink)

    def tell() -> None:
        order.on_progress(PassProgress(reading.object_bytes, scanner.tables_so_far, scanner.rows_so_far))

    if order.format.is_custom:
        await _through_pg_restore(stream, order, reading, scanner, tell)
    else:
        await _scanned(stream, order, reading, scanner, tell)
    # The checksum comes first: it tells more than what follows from a wrong byte.
    contents = reading.close()
    _check_contents(order.expected, contents)
    scanned = scanner.close()
    _check_rows(order.expected, scanned)
    tell()
    return Passed(contents, scanned)


async def _scanned(
    stream: AsyncIterator[bytes],
    order: Pass,
    reading: ObjectReading,
    scanner: DumpScanner,
    tell: Callable[[], None],
) -> None:
    def work(chunk: bytes) -> None:
        for piece in reading.feed(chunk):
            scanner.feed(piece)

    async def take(chunks: "asyncio.Queue[bytes]") -> None:
        while chunk := await chunks.get():
            await in_thread(lambda chunk=chunk: work(chunk), order.stop)  # type: ignore[misc]
            tell()

    await _side_by_side(stream, take)


async def _through_pg_restore(
    stream: AsyncIterator[bytes],
    order: Pass,
    reading: ObjectReading,
    scanner: DumpScanner,
    tell: Callable[[], None],
) -> None:
    def write(archive: Archive, chunk: bytes) -> None:
        for piece in reading.feed(chunk):
            archive.write(piece)

    def scan(archive: Archive) -> None:
        while piece := archive.read():
            scanner.feed(piece)
        archive.close()

    damage: list[DumpDamaged] = []

    def scan_all(archive: Archive) -> None:
        try:
            scan(archive)
        except DumpDamaged as error:
            # The object is read to its end all the same: what is wrong with its bytes explains it better.
            archive.kill()
            damage.append(error)

    with converting(newest_clients(order.environment), order.environment) as archive:

        async def take(chunks: "asyncio.Queue[bytes]") -> None:
            while chunk := await chunks.get():
                await in_thread(lambda chunk=chunk: write(archive, chunk), archive.kill)  # type: ignore[misc]
                tell()
            await in_thread(archive.end, archive.kill)

        def give_up() -> None:
            order.stop()
            archive.kill()

        await _together(_side_by_side(stream, take), in_thread(lambda: scan_all(archive), give_up))
    if damage:
        _check_contents(order.expected, reading.close())
        raise damage[0]


async def _side_by_side(stream: AsyncIterator[bytes], take: Callable[["asyncio.Queue[bytes]"], Any]) -> None:
    """Fetch chunks while the one before is taken; an empty one says that there are no more."""
    chunks: asyncio.Queue[bytes] = asyncio.Queue(1)

    async def fetch() -> None:
        async for chunk in stream:
            if chunk:
                await chunks.put(chunk)
        await chunks.put(b"")

    await _together(fetch(), take(chunks))


async def _together(*steps: Any) -> None:
    """Run all; the first that fails ends the others, and is raised once they have ended."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def in_thread(call: Callable[[], T], stop: Callable[[], None]) -> T:
    """What a blocking call gives; when this is cancelled, the call is stopped and awaited."""
    task = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        with suppress(BaseException):
            await task
        raise


# -- proofs -------------------------------------------------------------------------------------------


def _check_contents(expected: Expectation | None, found: Contents) -> None:
    """Raise DumpDamaged when the object is not what its manifest says."""
    if expected is None:
        return
    pairs = (
        ("bytes of the object", expected.stored.bytes, found.object_bytes),
        ("SHA-256 of the object", expected.stored.sha256, found.object_sha256),
        ("bytes of the plain dump", expected.plain.bytes, found.plain_bytes),
        ("SHA-256 of the plain dump", expected.plain.sha256, found.plain_sha256),
    )
    for what, wanted, has in pairs:
        if has is not None and wanted != has:
            raise DumpDamaged(f"{what}: {has}, and the manifest says {wanted}")


def _check_rows(expected: Expectation | None, found: ScannedDump) -> None:
    """Raise DumpDamaged when the tables or their rows are not those of the manifest."""
    if expected is None or expected.tables_sha256 is None or expected.tables_sha256 == tables_digest(found.rows):
        return
    raise DumpDamaged(
        f"{sum(found.rows.values())} rows in {len(found.rows)} tables, and the manifest says {expected.rows} in "
        f"{expected.tables}, by name and number"
    )
