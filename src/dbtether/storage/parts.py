"""How large the parts of an upload are. Pure."""

from dataclasses import dataclass

MIB = 1024 * 1024
_SMALLEST = 8 * MIB
_MOST_PARTS = 9_500
"""S3 ends an upload at 10,000 parts, whatever their size."""
_IN_FLIGHT = 24 * MIB


@dataclass(frozen=True, slots=True)
class Parts:
    """The size of one part, and how many are sent at a time."""

    size: int
    at_once: int


def parts_for(expected_bytes: int | None) -> Parts:
    """Parts that hold twice of what is expected: a dump can be larger than its database.

    Memory stays at 24 MiB and the part that is being filled up to databases of 111 GiB, and grows with the size of
    one part above.
    """
    wanted = -(-2 * (expected_bytes or 0) // _MOST_PARTS)
    size = max(_SMALLEST, -(-wanted // MIB) * MIB)
    return Parts(size, max(1, _IN_FLIGHT // size))
