"""What the metrics tell of BackupSchedules: when the last good backup ended, and whether that is too long ago. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from dbtether.api.backupschedule import BackupScheduleSpec
from dbtether.api.resource import Resource
from dbtether.api.times import instant_of
from dbtether.api.validation import check
from dbtether.controllers.schedulebackups import freshness

LABELS = ("namespace", "schedule", "database")
Sample = tuple[tuple[str, ...], float]


def last_successes(schedules: Iterable[Resource]) -> Iterator[Sample]:
    """When the last good backup of each schedule ended; nothing of those that have none yet."""
    for schedule in schedules:
        if (last := instant_of(schedule.status, "lastSuccessfulBackup")) is not None:
            yield _labels(schedule), last.timestamp()


def last_verified(schedules: Iterable[Resource]) -> Iterator[Sample]:
    """When a restore drill of each schedule last proved a backup; nothing of those of which none has."""
    for schedule in schedules:
        if (last := instant_of(schedule.status, "lastVerifiedRestore")) is not None:
            yield _labels(schedule), last.timestamp()


def verification_failed(schedules: Iterable[Resource]) -> Iterator[Sample]:
    """1 for each schedule whose last restore drill failed or gets to no end, 0 for the others that have drills."""
    for schedule in schedules:
        for entry in schedule.status.get("conditions", ()):
            if isinstance(entry, dict) and entry.get("type") == "Verified":
                yield _labels(schedule), 1.0 if entry.get("reason") == "VerificationFailed" else 0.0


def overdue(schedules: Iterable[Resource], now: datetime) -> Iterator[Sample]:
    """1 for each schedule whose last good backup is older than its alertAfter, 0 for the others that have one."""
    for schedule in schedules:
        spec, _ = check(BackupScheduleSpec, schedule.key, schedule.spec)
        last = instant_of(schedule.status, "lastSuccessfulBackup")
        fresh = None if spec is None else freshness(spec, schedule, last, now)
        if fresh is not None:
            yield _labels(schedule), 0.0 if fresh.holds else 1.0


def _labels(schedule: Resource) -> tuple[str, ...]:
    reference = schedule.spec.get("databaseRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return schedule.key.namespace, schedule.key.name, str(name or "")
