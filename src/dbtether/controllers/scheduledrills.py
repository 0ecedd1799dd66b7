"""The restore drills of a BackupSchedule: which are due, what they tell, and which are kept to look at. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.backup import RunPhase
from dbtether.api.backupschedule import BackupScheduleSpec, Verify
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_of, instant_text
from dbtether.backup.schedule import Tick, next_time, run_id_of, tick
from dbtether.controllers.report import Remark
from dbtether.controllers.schedulebackups import Made

_GOOD_KEPT = 3


@dataclass(frozen=True, slots=True)
class Drills:
    """The drills of a schedule, and when the next one is."""

    made: tuple[Made, ...]
    """Its Restores."""
    ticked: Tick | None = None
    """None while no drill is wanted."""

    @property
    def last(self) -> Made | None:
        """The newest one that has ended."""
        return next(iter(_ended(self.made)), None)

    @property
    def last_good(self) -> Made | None:
        """The newest one that has proven a backup."""
        return next((one for one in _ended(self.made) if one.phase is RunPhase.COMPLETED), None)

    @property
    def unfinished(self) -> Sequence[Made]:
        """Those that have not ended."""
        return [one for one in self.made if not one.is_over]


def drill_tick(spec: BackupScheduleSpec, verify: Verify, planned: datetime | None, now: datetime) -> Tick:
    """Whether a drill is due, and when the next one is."""
    return planned_tick(verify.schedule, spec.time_zone, planned, now, None)


def planned_tick(
    schedule: str, time_zone: str, planned: datetime | None, now: datetime, deadline: timedelta | None
) -> Tick:
    """What a schedule asks for now; what another one has planned before it was changed is nobody's any more."""
    if planned is not None and next_time(schedule, time_zone, planned - timedelta(seconds=1)) != planned:
        planned = None
    return tick(schedule, time_zone, planned, now, deadline)


def drill_key(schedule: Resource, due: datetime) -> Key:
    """The Restore of a time: the same for whoever asks again."""
    return Key("Restore", schedule.key.namespace, f"{schedule.key.name}-verify-{run_id_of(schedule.uid, due)}")


def drill_spec(schedule: BackupScheduleSpec, verify: Verify, backup: Made) -> dict[str, Any]:
    """A Restore that proves this backup and touches nothing."""
    target = schedule.database_ref.name if verify.target is None else verify.target.database_ref.name
    return {
        "source": {"backupRef": {"name": backup.resource.key.name}},
        "target": {"databaseRef": {"name": target}},
        "verifyOnly": True,
    }


def newest_good(made: Sequence[Made]) -> Made | None:
    """The last good backup that is still there."""
    good = [one for one in made if one.phase is RunPhase.COMPLETED and one.completed is not None]
    return max(good, key=lambda one: str(one.resource.status.get("completedAt")), default=None)


def spent(drills: Sequence[Made], failed_limit: int) -> tuple[Made, ...]:
    """Those that nobody needs to look at any more; the newest one tells how the last drill went."""
    over = _ended(drills)
    good = [one for one in over if one.phase is RunPhase.COMPLETED][_GOOD_KEPT:]
    failed = [one for one in over if one.phase is RunPhase.FAILED][failed_limit:]
    return tuple(one for one in (*good, *failed) if one is not over[0])


def verified(spec: BackupScheduleSpec, drills: Drills, before: Remark | None, now: datetime) -> Remark | None:
    """What the condition tells: how the last drill went; None where nobody asked for any."""
    verify = spec.verify
    if verify is None:
        return None
    for one in drills.unfinished:
        if next_time(verify.schedule, spec.time_zone, one.resource.created) <= now:
            why = one.resource.status.get("message") or "nobody has looked at it yet"
            return Remark("Verified", False, "VerificationFailed", f"{one.resource.key} does not get to its end: {why}")
    last = drills.last
    if last is None:
        return before or Remark("Verified", False, "NotVerified", "No restore drill has been done yet")
    told = str(last.resource.status.get("message") or "")
    if last.phase is RunPhase.COMPLETED:
        return Remark("Verified", True, "Verified", told)
    return Remark("Verified", False, "VerificationFailed", f"{last.resource.key} failed: {told}")


def drill_fields(schedule: Resource, drills: Drills) -> dict[str, Any]:
    """What the status tells; of a drill that is gone it tells what it told."""
    fields: dict[str, Any] = {
        "nextVerification": None if drills.ticked is None else instant_text(drills.ticked.next),
    }
    good = drills.last_good
    known = instant_of(schedule.status, "lastVerifiedRestore")
    if good is not None and good.completed is not None and (known is None or good.completed >= known):
        fields["lastVerifiedRestore"] = instant_text(good.completed)
        fields["verifiedBackup"] = good.resource.status.get("sourcePath")
    return fields


def _ended(drills: Sequence[Made]) -> list[Made]:
    """Those that are over, the one that ended last first."""
    over = [one for one in drills if one.is_over]
    return sorted(over, key=lambda one: (one.completed or one.resource.created, one.resource.key), reverse=True)
