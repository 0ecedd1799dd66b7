"""A stored dump against what its manifest says, with everything that can happen to an object on its way."""

import gzip
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.controllers.world import scenario

from dbtether.backup.formats import DumpFormat
from dbtether.backup.scanner import DumpDamaged
from dbtether.backup.verify import Expected, verify

ROWS = "".join(f"{number}\tnote {number * 7919 % 1000}\n" for number in range(3000))
PLAIN = f"""--
-- PostgreSQL database dump
--

SELECT 1;
COPY public.orders (id, note) FROM stdin;
{ROWS}\\.

--
-- PostgreSQL database dump complete
--

""".encode()  # noqa: S608 - a dump, no query
OBJECT = gzip.compress(PLAIN, mtime=0)
EXPECTED = Expected(
    object_bytes=len(OBJECT),
    object_sha256=hashlib.sha256(OBJECT).hexdigest(),
    plain_bytes=len(PLAIN),
    plain_sha256=hashlib.sha256(PLAIN).hexdigest(),
    rows={"public.orders": 3000},
)


async def stream(content: bytes, piece: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


@scenario
async def test_a_sound_object_is_told_by_what_was_read() -> None:
    pieces: list[bytes] = []
    found = await verify(stream(OBJECT), DumpFormat.GZIP, EXPECTED, take=pieces.append)
    assert b"".join(pieces) == PLAIN
    assert (found.rows, found.plain_sha256) == (EXPECTED.rows, EXPECTED.plain_sha256)


@scenario
async def test_a_dump_of_another_tool_is_proven_by_its_own_footer() -> None:
    found = await verify(stream(PLAIN), DumpFormat.PLAIN, Expected())
    assert found.rows == {"public.orders": 3000}


@pytest.mark.parametrize("fiftieth", range(50))
@scenario
async def test_a_flipped_bit_is_found_wherever_it_is(fiftieth: int) -> None:
    for content, format_ in ((OBJECT, DumpFormat.GZIP), (PLAIN, DumpFormat.PLAIN)):
        damaged = bytearray(content)
        damaged[fiftieth * len(content) // 50] ^= 1 << fiftieth % 8
        sums = replace(EXPECTED, object_bytes=len(content), object_sha256=hashlib.sha256(content).hexdigest())
        with pytest.raises(DumpDamaged):
            await verify(stream(bytes(damaged)), format_, sums)


CUT_AT = {
    "nothing": (b"", "cut off"),
    "inside gzip": (OBJECT[: len(OBJECT) // 2], "the gzip stream is cut off"),
    "at a line end of the data": (
        gzip.compress(PLAIN[: PLAIN.index(b"2000\tnote")]),
        r"cut off in the data of table public\.orders",
    ),
    "inside a statement": (gzip.compress(PLAIN[: PLAIN.index(b"FROM stdin")]), "cut off inside a statement"),
    "before the footer": (gzip.compress(PLAIN[: PLAIN.index(b"-- PostgreSQL database dump complete")]), "without the"),
}


@pytest.mark.parametrize(("content", "told"), CUT_AT.values(), ids=CUT_AT)
@scenario
async def test_an_object_that_is_cut_off_is_told_by_where(content: bytes, told: str) -> None:
    with pytest.raises(DumpDamaged, match=told):
        await verify(stream(content), DumpFormat.GZIP, Expected())


LIES = {
    "another size": (replace(EXPECTED, object_bytes=5), r"bytes of the object: \d+, and the manifest says 5"),
    "another checksum": (replace(EXPECTED, object_sha256="00"), "SHA-256 of the object: .* manifest says 00"),
    "another plain checksum": (replace(EXPECTED, plain_sha256="00"), "SHA-256 of the plain dump"),
    "other rows": (
        replace(EXPECTED, rows={"public.orders": 2999}),
        r"rows of public\.orders: 3000, and the manifest says 2999",
    ),
    "another table": (
        replace(EXPECTED, rows={"public.orders": 3000, "public.users": 1}),
        r"rows of public\.users: none, and the manifest says 1",
    ),
}


@pytest.mark.parametrize(("expected", "told"), LIES.values(), ids=LIES)
@scenario
async def test_what_the_manifest_says_otherwise_is_told(expected: Expected, told: str) -> None:
    with pytest.raises(DumpDamaged, match=told):
        await verify(stream(OBJECT), DumpFormat.GZIP, expected)


@scenario
async def test_an_archive_must_look_like_one() -> None:
    with pytest.raises(DumpDamaged, match="does not begin as an archive"):
        await verify(stream(PLAIN), DumpFormat.CUSTOM, Expected())
