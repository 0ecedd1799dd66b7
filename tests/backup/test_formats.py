"""Packing and unpacking a dump, each format against the program of the same name or the standard library."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backup.unpacking import UNPACK

from dbtether.backup.formats import DumpFormat, format_of, packer, unpacker
from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import InvalidSpec

STREAMS = (DumpFormat.GZIP, DumpFormat.ZSTD)
TEXT = "".join(f"{number}\t{random.Random(number).random()}\n" for number in range(20_000)).encode()


def packed(format_: DumpFormat, data: bytes, piece: int = 1 << 16) -> bytes:
    stream = packer(format_)
    pieces = [stream.pack(data[start : start + piece]) for start in range(0, len(data), piece)]
    return b"".join([*pieces, stream.finish()])


def unpacked(format_: DumpFormat, data: bytes, piece: int = 1 << 16) -> bytes:
    stream = unpacker(format_)
    found = b"".join(
        part for start in range(0, len(data), piece) for part in stream.unpack(data[start : start + piece])
    )
    stream.finish()
    return found


def test_the_suffix_picks_the_format() -> None:
    found = [format_of(f"a/b.{name}") for name in ("sql", "sql.gz", "sql.zst", "dump")]
    assert found == [DumpFormat.PLAIN, DumpFormat.GZIP, DumpFormat.ZSTD, DumpFormat.CUSTOM]
    for key in ("a/b.gz", "a/.sql.gz", "a/b.sql.bz2", "sql"):
        with pytest.raises(InvalidSpec):
            format_of(key)


def test_gzip_and_zstd_are_read_by_others() -> None:
    for format_, unpack in UNPACK.items():
        assert unpack(packed(format_, TEXT)) == TEXT


@pytest.mark.parametrize("format_", [*STREAMS, DumpFormat.PLAIN])
@given(data=st.binary(max_size=2000), piece=st.integers(1, 300))
def test_what_was_packed_comes_out_again(format_: DumpFormat, data: bytes, piece: int) -> None:
    assert unpacked(format_, packed(format_, data, piece), piece) == data


@pytest.mark.parametrize("format_", STREAMS)
def test_the_same_text_gives_the_same_object(format_: DumpFormat) -> None:
    assert packed(format_, TEXT) == packed(format_, TEXT)


@pytest.mark.parametrize("format_", STREAMS)
def test_streams_one_after_the_other_are_one(format_: DumpFormat) -> None:
    assert unpacked(format_, packed(format_, b"one") + packed(format_, b"two")) == b"onetwo"


@pytest.mark.parametrize("format_", STREAMS)
def test_a_stream_that_is_cut_off_anywhere_is_found_out(format_: DumpFormat) -> None:
    whole = packed(format_, TEXT[:5000])
    for cut in range(len(whole)):
        with pytest.raises(DumpDamaged):
            unpacked(format_, whole[:cut])


@pytest.mark.parametrize("format_", STREAMS)
@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_out_or_changes_nothing(format_: DumpFormat, place: float, bit: int) -> None:
    whole = bytearray(packed(format_, TEXT[:5000]))
    whole[int(place * len(whole))] ^= 1 << bit
    with contextlib.suppress(DumpDamaged):
        assert unpacked(format_, bytes(whole)) == TEXT[:5000]


@pytest.mark.parametrize("format_", STREAMS)
def test_a_bomb_comes_out_in_small_pieces(format_: DumpFormat) -> None:
    bomb = packed(format_, bytes(64 << 20), 1 << 20)
    sizes = [len(piece) for piece in unpacker(format_).unpack(bomb)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20
