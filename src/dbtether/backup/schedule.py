"""When a BackupSchedule fires. Pure: the schedule, what was planned and the time give the answer.

A schedule that names hours goes by the clock on the wall: when the clocks go forward over one of its times it fires
right after the gap, and when they go back it fires once, at the first of the two. A schedule for every hour goes by
the time that passes, so the hour that comes twice has its backup twice.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from dbtether.api.cron import five_fields

_SHORTER_FIRST = (timedelta(hours=1), timedelta(days=2), timedelta(days=40), timedelta(days=366))


@dataclass(frozen=True, slots=True)
class Tick:
    """What is to be done about a schedule now."""

    next: datetime
    """When to look again: the next time that it fires."""
    due: datetime | None = None
    """The time that a backup is to be started for, now; one alone, however many were missed."""
    missed: datetime | None = None
    """The last time that passed without a backup, and is too long ago to make up for it."""


def tick(
    schedule: str, time_zone: str, planned: datetime | None, now: datetime, starting_deadline: timedelta | None = None
) -> Tick:
    """What a schedule asks for at a moment.

    `planned` is the `next` of the look before; None for a schedule that is new, was changed or was suspended: what
    was due before that is not made up for.
    """
    following = next_time(schedule, time_zone, now)
    if planned is None or planned > now:
        # Never later than the clock says: one that was ahead for a while would else keep the schedule from firing.
        return Tick(following if planned is None else min(planned, following))
    last = last_time(schedule, time_zone, planned, now) or planned
    if starting_deadline is not None and now - last > starting_deadline:
        return Tick(following, missed=last)
    return Tick(following, due=last)


def next_time(schedule: str, time_zone: str, after: datetime) -> datetime:
    """The first time after a moment, in UTC."""
    return next(_times(schedule, time_zone, after))


def last_time(schedule: str, time_zone: str, after: datetime, until: datetime) -> datetime | None:
    """The last time after one moment and not after another, in UTC."""
    for span in (*_SHORTER_FIRST, until - after):
        start = max(after, until - span)
        found = deque(takewhile(lambda time: time <= until, _times(schedule, time_zone, start)), maxlen=1)
        if found or start == after:
            return found[0] if found else None
    return None


def run_id_of(uid: str, due: datetime) -> str:
    """The id of the run for a time: the same for whoever asks again, so that a crash starts nothing twice."""
    return hashlib.sha256(f"{uid} {due.astimezone(UTC).isoformat()}".encode()).hexdigest()[:8]


def _times(schedule: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    local = after.astimezone(ZoneInfo(time_zone))
    last = after.astimezone(UTC)
    for time in CronSim(_by_the_wall(five_fields(schedule)), local):
        # The hour that comes twice: its second half looks like the first on the wall.
        if (found := time.astimezone(UTC)) > last:
            last = found
            yield found


def _by_the_wall(fields: str) -> str:
    """The fields so that cronsim makes up for the clocks' jumps wherever hours are named.

    Like Debian's cron it takes a field that begins with a star as one that goes by the time that passes.
    """
    minute, hour, *rest = fields.split()
    if hour == "*":
        return fields
    return " ".join((minute.replace("*", "0-59"), hour.replace("*", "0-23"), *rest))
