"""When a password is replaced: on schedule, on demand, and which login has it then. Pure.

A schedule is spread: each user goes a little before its time, by a share of the interval that its uid gives,
so that a thousand users of one day do not go in one second.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.databaseuser import DatabaseUserSpec, RotationStrategy
from dbtether.api.kinds import ROTATE
from dbtether.api.names import second_login
from dbtether.api.resource import Resource
from dbtether.api.times import instant_of, instant_text

MAX_JITTER = timedelta(hours=24)
OVERDUE_SPREAD = timedelta(hours=1)
"""Those that are overdue when somebody first looks go within this time."""
GRACE = timedelta(days=7)
"""How long a second login that the spec wants no longer lives on, in the Secret and then beside it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a rotation's time depends on."""

    uid: str
    days: int
    updated: datetime | None
    """When the password changed last; None when that is not known."""
    recorded: datetime | None
    """The time that was announced last."""

    @property
    def interval(self) -> timedelta:
        """The age at which a password is replaced at the latest."""
        return timedelta(days=self.days)

    def next(self, now: datetime, spread: timedelta = OVERDUE_SPREAD) -> datetime:
        """When the password is replaced next; not later than `now` when it is due."""
        interval = self.interval - _part_of(self.uid, min(self.interval / 10, MAX_JITTER))
        if self.updated is None or self.updated > now + OVERDUE_SPREAD:
            # Nothing is known, or a clock was wrong: the age counts from now, once.
            if self.recorded is not None and self.recorded <= now + self.interval:
                return self.recorded
            return now + interval
        due = self.updated + interval
        if due > now:
            return due
        if now - due <= spread and self.recorded == due:
            return due
        # Nobody was there at that time, or it is overdue from the start: those like it are many.
        if self.recorded is not None and self.recorded != due and self.recorded <= now + spread:
            return self.recorded
        return now + _part_of(self.uid, spread)


def _part_of(uid: str, span: timedelta) -> timedelta:
    """A part of the span, in whole seconds, that is the same for one uid at all times."""
    digest = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8])
    return timedelta(seconds=int(span.total_seconds() * digest / 2**64))


def next_rotation(
    resource: Resource, spec: DatabaseUserSpec, updated: datetime | None, now: datetime, spread: timedelta
) -> datetime | None:
    """When the user's password is replaced next, after a change at `updated`; None for never."""
    if spec.rotation is None:
        return None
    recorded = instant_of(resource.status, "nextRotation")
    return Schedule(resource.uid, spec.rotation.days, updated, recorded).next(now, spread)


def written(instant: datetime | None) -> str | None:
    """A point in time as a status has it."""
    return None if instant is None else instant_text(instant)


def new_request(resource: Resource) -> str | None:
    """The annotation's value that nobody has dealt with; None when there is none."""
    value = resource.annotations.get(ROTATE)
    return value if value and value != resource.status.get("rotationRequest") else None


@dataclass(frozen=True, slots=True)
class Logins:
    """The one or two logins of a user."""

    name: str
    active: str
    """The one that the Secret names."""
    second: str | None
    """The other one beside `name`; None when there is none and none is wanted."""
    is_wanted: bool
    """Whether the spec wants two."""

    @property
    def all(self) -> tuple[str, ...]:
        """Their names."""
        return (self.name,) if self.second is None else (self.name, self.second)

    @property
    def idle(self) -> str | None:
        """The one that the Secret does not name."""
        return self.second if self.active == self.name else self.name

    @property
    def successor(self) -> str:
        """Who has the next password: with two the idle one, else the same."""
        return self.idle or self.name if self.is_wanted else self.name


def logins_of(resource: Resource, spec: DatabaseUserSpec, name: str) -> Logins:
    """The logins of a user as its spec and status tell them."""
    is_wanted = spec.rotation is not None and spec.rotation.strategy is RotationStrategy.OVERLAP
    second = second_login(name) if is_wanted or resource.status.get("secondLogin") else None
    active = resource.status.get("activeLogin")
    return Logins(name, second if second is not None and active == second else name, second, is_wanted)


def recorded_logins(status: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the logins that a status tells of."""
    found = (status.get("username"), status.get("secondLogin"))
    return tuple(name for name in found if isinstance(name, str) and name)
