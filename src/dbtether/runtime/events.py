"""Events: what happened to a resource, told to people. Bounded, and equal ones in a row are counted."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from dbtether.api.resource import Key
from dbtether.runtime.store import EventType


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a resource `count` times in a row."""

    key: Key
    type: EventType
    reason: str
    message: str
    first: datetime
    last: datetime
    count: int = 1

    def is_same_as(self, other: "Event") -> bool:
        """Whether both tell the same."""
        return (self.key, self.type, self.reason, self.message) == (
            other.key,
            other.type,
            other.reason,
            other.message,
        )


class EventLog:
    """The latest Events of the resources that had one lately; both numbers are bounded."""

    def __init__(self, *, kept_per_resource: int = 20, resources_kept: int = 5_000) -> None:
        self._kept_per_resource = kept_per_resource
        self._resources_kept = resources_kept
        self._events: OrderedDict[Key, deque[Event]] = OrderedDict()

    def record(self, key: Key, type_: EventType, reason: str, message: str, now: datetime) -> Event:
        """The Event as it stands now: a new one, or the latest counted once more."""
        event = Event(key, type_, reason, message, first=now, last=now)
        latest = self._events.get(key)
        if latest and latest[-1].is_same_as(event):
            event = replace(latest[-1], last=now, count=latest[-1].count + 1)
        self.put(event)
        return event

    def put(self, event: Event) -> None:
        """Take in an Event as it stands; it takes the place of the latest when that tells the same."""
        events = self._events.setdefault(event.key, deque(maxlen=self._kept_per_resource))
        if events and events[-1].is_same_as(event):
            events.pop()
        events.append(event)
        self._events.move_to_end(event.key)
        if len(self._events) > self._resources_kept:
            self._events.popitem(last=False)

    def of(self, key: Key) -> tuple[Event, ...]:
        """The Events of a resource, oldest first."""
        return tuple(self._events.get(key, ()))

    def forget(self, key: Key) -> None:
        """Drop the Events of a resource."""
        self._events.pop(key, None)

    def __len__(self) -> int:
        return sum(len(events) for events in self._events.values())

    def __iter__(self) -> Iterator[Event]:
        for events in self._events.values():
            yield from events
