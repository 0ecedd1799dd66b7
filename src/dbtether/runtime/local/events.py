"""The log of Events: one JSON object a line, appended; a counted Event is appended as it stands now, and
a resource that goes takes its Events with it.

The log is for people: it is not durable, and a last line that a kill cut short is left out. It is written
anew, with what is still kept, when it has grown to a multiple of that.
"""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from dbtether.api.resource import Key
from dbtether.runtime.events import Event, EventLog
from dbtether.runtime.local.files import append_to_file, read_file, write_file
from dbtether.runtime.store import EventType

logger = logging.getLogger(__name__)

_LINES_ALWAYS_ALLOWED = 1_000


def load_events(path: Path, log: EventLog) -> int:
    """Put the file's Events into the log; what comes back is the number of lines."""
    lines = (read_file(path) or b"").splitlines()
    unreadable = 0
    for line in lines:
        try:
            fields = json.loads(line)
            if fields.get("gone"):
                log.forget(_key(fields))
            else:
                log.put(_event(fields))
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable += 1
    if unreadable:
        logger.warning("%s: %d lines cannot be read and are left out", path, unreadable)
    return len(lines)


class EventFile:
    """The log's file; it is opened for each Event, which are few."""

    def __init__(self, path: Path, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._lines = load_events(path, log)
        if self._lines:
            # A line that a kill cut short must not swallow the next one.
            self._compact()

    def append(self, event: Event) -> None:
        """Write the Event as it stands now."""
        self._append(_line(event))

    def append_gone(self, key: Key) -> None:
        """Write that the resource is gone, and its Events with it."""
        self._append(_json_line({**_key_fields(key), "gone": True}))

    def _append(self, line: bytes) -> None:
        append_to_file(self._path, line)
        self._lines += 1
        if self._lines > max(_LINES_ALWAYS_ALLOWED, 3 * len(self._log)):
            self._compact()

    def _compact(self) -> None:
        write_file(self._path, b"".join(_lines(self._log)), durable=False)
        self._lines = len(self._log)


def _lines(events: Iterable[Event]) -> Iterable[bytes]:
    return (_line(event) for event in sorted(events, key=lambda event: event.last))


def _line(event: Event) -> bytes:
    fields = {
        **_key_fields(event.key),
        "type": event.type.value,
        "reason": event.reason,
        "message": event.message,
        "first": event.first.isoformat(),
        "last": event.last.isoformat(),
        "count": event.count,
    }
    return _json_line(fields)


def _json_line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _key_fields(key: Key) -> dict[str, object]:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}


def _key(fields: dict[str, object]) -> Key:
    return Key(str(fields["kind"]), str(fields["namespace"]), str(fields["name"]))


def _event(fields: dict[str, object]) -> Event:
    return Event(
        key=_key(fields),
        type=EventType(str(fields["type"])),
        reason=str(fields["reason"]),
        message=str(fields["message"]),
        first=_time(fields["first"]),
        last=_time(fields["last"]),
        count=int(str(fields["count"])),
    )


def _time(text: object) -> datetime:
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
