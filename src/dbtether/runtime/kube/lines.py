"""Splits a stream of bytes into lines of any length. Pure."""

from collections.abc import Iterator

# An object is at most 1.5 MiB in etcd; a line far beyond that is no watch event.
LONGEST_LINE = 64 * 1024 * 1024


class LineTooLong(Exception):
    """A line that no API server writes."""


class Lines:
    """Collects what a connection delivers; a line that the connection's end cut short is never given."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now. Raises LineTooLong."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            line = b"".join((*self._parts, end))
            self._parts.clear()
            self._length = 0
            if line.strip():
                yield line
        if rest:
            self._parts.append(rest)
            self._length += len(rest)
        if self._length > self._longest:
            raise LineTooLong(f"a line is longer than {self._longest} bytes")
