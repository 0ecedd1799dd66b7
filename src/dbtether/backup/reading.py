"""An object of a store while it goes by: unpacked, counted and hashed on both sides."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from dbtether.backup.formats import CUSTOM_HEADER, DumpFormat, unpacker
from dbtether.backup.scanner import DumpDamaged


@dataclass(frozen=True, slots=True)
class Contents:
    """What went by; checksums are SHA-256 in hexadecimal."""

    object_bytes: int
    object_sha256: str
    plain_bytes: int
    plain_sha256: str | None
    """Of what is in the object, which in the custom format is the archive itself; None when nobody asked."""


class ObjectReading:
    """Takes an object in pieces of any size; memory stays bounded."""

    def __init__(self, format_: DumpFormat, *, hashes_plain: bool = True) -> None:
        """Nothing has gone by yet; who knows the object's checksum needs none of what is in it."""
        self.object_bytes = 0
        self._is_custom = format_.is_custom
        self._unpacker = unpacker(format_)
        self._stored = hashlib.sha256()
        is_packed = format_ in (DumpFormat.GZIP, DumpFormat.ZSTD)
        self._plain = hashlib.sha256() if hashes_plain and is_packed else None
        self._is_packed = is_packed
        self._plain_bytes = 0
        self._head = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What is in the next piece of the object, in pieces of at most 1 MiB or its own size. Raises DumpDamaged."""
        self._stored.update(chunk)
        self.object_bytes += len(chunk)
        for piece in self._unpacker.unpack(chunk):
            if self._plain is not None:
                self._plain.update(piece)
            self._plain_bytes += len(piece)
            if len(self._head) < len(CUSTOM_HEADER):
                self._head += piece[: len(CUSTOM_HEADER)]
            yield piece

    def close(self) -> Contents:
        """What went by. Raises DumpDamaged when it is not complete."""
        self._unpacker.finish()
        if self._is_custom and not self._head.startswith(CUSTOM_HEADER):
            raise DumpDamaged("the object does not begin as an archive of pg_dump does")
        stored = self._stored.hexdigest()
        plain = stored if not self._is_packed else None if self._plain is None else self._plain.hexdigest()
        return Contents(self.object_bytes, stored, self._plain_bytes, plain)
