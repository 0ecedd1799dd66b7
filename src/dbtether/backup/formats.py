"""The formats of a dump, picked by the suffix of its object, and how each is packed."""

import sys
import zlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol, cast

from isal import isal_zlib
from isal.igzip_lib import IsalError

from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import InvalidSpec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Its stub calls the class an instance.
_ISAL_ERROR = cast(type[Exception], IsalError)
# gzip's container (zlib documentation, `wbits`): 15 bits of window, plus 16.
_GZIP_WINDOW = 31
# The first level of both: the next ones cost up to three times the CPU for some five per cent (docs/performance.md).
_GZIP_LEVEL = 1
_ZSTD_OPTIONS: Mapping[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.checksum_flag: 1,
}
# Whatever is packed in it, a stream is unpacked in pieces of this size, with a window of at most 128 MiB.
_MAX_PIECE = 1 << 20
_UNZSTD_OPTIONS: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: 27}


CUSTOM_HEADER = b"PGDMP"
"""Begins every archive in pg_dump's custom format."""


class DumpFormat(StrEnum):
    """How a dump is stored, by the suffix of its object."""

    PLAIN = ".sql"
    GZIP = ".sql.gz"
    ZSTD = ".sql.zst"
    CUSTOM = ".dump"

    @property
    def is_custom(self) -> bool:
        """Whether it is pg_dump's own archive, which only pg_restore reads."""
        return self is DumpFormat.CUSTOM


def format_of(key: str) -> DumpFormat:
    """The format that a key's suffix names. Raises InvalidSpec when it names none."""
    for found in (DumpFormat.GZIP, DumpFormat.ZSTD, DumpFormat.PLAIN, DumpFormat.CUSTOM):
        if key.endswith(found.value) and key.rpartition("/")[2] != found.value:
            return found
    raise InvalidSpec(f"object {key[:120]!r}: the suffix must be .sql, .sql.gz, .sql.zst or .dump")


class Packer(Protocol):
    """Packs a stream piece by piece."""

    def pack(self, data: bytes) -> bytes:
        """What comes out after this piece; often nothing yet."""
        ...

    def finish(self) -> bytes:
        """What is left."""
        ...


class Unpacker(Protocol):
    """Unpacks a stream piece by piece."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """What comes out of this piece, in bounded pieces. Raises DumpDamaged."""
        ...

    def finish(self) -> None:
        """Raise DumpDamaged when the stream is not complete."""
        ...


def packer(format_: DumpFormat) -> Packer:
    """A packer of this format; the custom format packs itself."""
    if format_ is DumpFormat.GZIP:
        return _Gzip()
    if format_ is DumpFormat.ZSTD:
        return _Zstd()
    return _Packed()


def unpacker(format_: DumpFormat) -> Unpacker:
    """An unpacker of this format."""
    if format_ is DumpFormat.GZIP:
        return _Gunzip()
    if format_ is DumpFormat.ZSTD:
        return _Unzstd()
    return _Unpacked()


class _Packed:
    """For what is stored as it comes."""

    def pack(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Unpacked:
    def unpack(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        return


class _Gzip:
    def __init__(self) -> None:
        self._stream = isal_zlib.compressobj(level=_GZIP_LEVEL, wbits=_GZIP_WINDOW)

    def pack(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstd.ZstdCompressor(options=_ZSTD_OPTIONS)

    def pack(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Gunzip:
    """One or several gzip members; zlib checks the sum at the end of each."""

    def __init__(self) -> None:
        self._stream = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
        self._is_empty = True

    def unpack(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._stream.eof:
                    self._stream = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
                self._is_empty = False
                if piece := self._stream.decompress(data, _MAX_PIECE):
                    yield piece
                data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        except (_ISAL_ERROR, zlib.error, EOFError) as error:
            raise DumpDamaged(f"the gzip stream is damaged: {error}") from None

    def finish(self) -> None:
        if self._is_empty or not self._stream.eof:
            raise DumpDamaged("the gzip stream is cut off")


class _Unzstd:
    """One or several zstd frames; each ends with a checksum."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor(options=_UNZSTD_OPTIONS)
        self._is_empty = True

    def unpack(self, data: bytes) -> Iterator[bytes]:
        try:
            while data or not (self._stream.needs_input or self._stream.eof):
                if self._stream.eof:
                    self._stream = zstd.ZstdDecompressor(options=_UNZSTD_OPTIONS)
                self._is_empty = False
                if piece := self._stream.decompress(data, _MAX_PIECE):
                    yield piece
                data = self._stream.unused_data if self._stream.eof else b""
        except zstd.ZstdError as error:
            raise DumpDamaged(f"the zstd stream is damaged: {error}") from None

    def finish(self) -> None:
        if self._is_empty or not self._stream.eof:
            raise DumpDamaged("the zstd stream is cut off")
