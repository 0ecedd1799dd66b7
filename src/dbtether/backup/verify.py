"""Reads a stored dump from end to end and says whether it is what its manifest says. Nothing is restored."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from dbtether.backup.formats import DumpFormat
from dbtether.backup.reading import ObjectReading
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
    reading = ObjectReading(format_)
    scanner = None if format_.is_custom else DumpScanner()

    def read(chunk: bytes) -> None:
        for piece in reading.feed(chunk):
            if scanner is not None:
                scanner.feed(piece)
            take(piece)

    async for chunk in stream:
        await asyncio.to_thread(read, chunk)
    contents, scanned = reading.close(), None if scanner is None else scanner.close()
    assert contents.plain_sha256 is not None, "it was asked for"
    found = Verified(
        object_bytes=contents.object_bytes,
        object_sha256=contents.object_sha256,
        plain_bytes=contents.plain_bytes,
        plain_sha256=contents.plain_sha256,
        rows=None if scanned is None else scanned.rows,
        client_version=None if scanned is None else scanned.client_version,
    )
    if problem := _difference(expected, found):
        raise DumpDamaged(problem)
    return found


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
