"""What the Backups of a BackupSchedule tell: which run, which failed, when the last good one ended. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbtether.api.backup import RunPhase
from dbtether.api.backupschedule import BackupScheduleSpec
from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.resource import Resource
from dbtether.api.times import instant_of, instant_text
from dbtether.controllers.report import Remark


@dataclass(frozen=True, slots=True)
class Made:
    """One Backup of a schedule."""

    resource: Resource
    phase: RunPhase
    completed: datetime | None
    """When it ended."""

    @property
    def is_over(self) -> bool:
        """Whether its run has ended, well or badly."""
        return self.phase in (RunPhase.COMPLETED, RunPhase.FAILED)

    @property
    def path(self) -> str | None:
        """The URL of its object."""
        found = self.resource.status.get("path")
        return found if isinstance(found, str) else None


def made_by(schedule: Resource, backups: Iterable[Resource]) -> tuple[Made, ...]:
    """The Backups that a schedule created, the newest first; those that are being deleted count no more."""
    found = [
        Made(backup, _phase(backup), instant_of(backup.status, "completedAt"))
        for backup in backups
        if backup.key.namespace == schedule.key.namespace
        and backup.labels.get(SCHEDULE_LABEL) == schedule.key.name
        and backup.deleted is None
    ]
    return tuple(sorted(found, key=lambda made: (made.resource.created, made.resource.key), reverse=True))


def last_success(made: Sequence[Made]) -> datetime | None:
    """When the last good backup ended."""
    return max((one.completed for one in made if one.phase is RunPhase.COMPLETED and one.completed), default=None)


def failed_beyond(made: Sequence[Made], limit: int) -> tuple[Made, ...]:
    """The failed ones that are more than what is kept to look at, the newest of them first."""
    return tuple(one for one in made if one.phase is RunPhase.FAILED)[limit:]


def freshness(spec: BackupScheduleSpec, schedule: Resource, last: datetime | None, now: datetime) -> Remark | None:
    """Whether the last good backup is young enough; None where nobody asked."""
    if (limit := alarm_time(spec, schedule, last)) is None:
        return None
    told = "There is no good backup yet" if last is None else f"The last good backup is of {instant_text(last)}"
    if now < limit:
        return Remark("Fresh", True, "Ready", told)
    return Remark("Fresh", False, "BackupOverdue", f"{told}: that is longer ago than spec.alertAfter allows")


def alarm_time(spec: BackupScheduleSpec, schedule: Resource, last: datetime | None) -> datetime | None:
    """When a schedule without another good backup begins to alarm."""
    if spec.alert_after is None:
        return None
    return (last or schedule.created) + timedelta(seconds=spec.alert_after.seconds)


def _phase(backup: Resource) -> RunPhase:
    phase = backup.status.get("phase")
    return RunPhase(phase) if phase in tuple(RunPhase) else RunPhase.PENDING
