"""Whole looks at a resource, numbered, so that one resource can await that another was looked at since.

A Restore has changed what a Database and its users are to find: it wakes them, and goes on once a look that began
afterwards has come to an end.
"""

from collections import defaultdict
from enum import StrEnum

from dbtether.api.resource import Key


class PassEnd(StrEnum):
    """How a look at a resource ended."""

    WELL = "well"
    WAITING = "waiting"
    """Paused, or something else must be there first."""
    BLOCKED = "blocked"
    """A person must act."""


class Passes:
    """The last look at each resource that came to an end in this process; what is tried again has not."""

    def __init__(self) -> None:
        self._begun = 0
        self._ended: dict[Key, tuple[int, PassEnd]] = {}
        self._waiters: defaultdict[Key, set[Key]] = defaultdict(set)

    def begin(self) -> int:
        """The number of a look that begins now; later ones have higher numbers."""
        self._begun += 1
        return self._begun

    def end(self, key: Key, begun: int, how: PassEnd) -> tuple[Key, ...]:
        """Note how the look ended, and give those that wait for it."""
        self._ended[key] = (begun, how)
        return tuple(sorted(self._waiters.pop(key, ())))

    def since(self, key: Key, number: int) -> PassEnd | None:
        """How the last look ended, None when it began before the number was given out."""
        begun, how = self._ended.get(key, (0, None))
        return how if begun > number else None

    def awaited(self, key: Key, waiter: Key) -> None:
        """Have `end` give the waiter once."""
        self._waiters[key].add(waiter)

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._ended.pop(key, None)
