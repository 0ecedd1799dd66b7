"""Which resources `status`, `apply` and `tick` complain of."""

from datetime import UTC, datetime
from typing import Any

from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.resource import Key, Resource
from dbtether.cli.settling import stuck

CREATED = datetime(2026, 3, 1, tzinfo=UTC)


def resource(kind: str, name: str, phase: str, *, ready: bool = False, schedule: str = "", **status: Any) -> Resource:
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "reason": "X"}]
    return Resource(
        Key(kind, "team", name),
        "1",
        1,
        "1",
        CREATED,
        {},
        {"phase": phase, "observedGeneration": 1, "conditions": conditions, **status},
        {SCHEDULE_LABEL: schedule} if schedule else {},
    )


def names(resources: list[Resource]) -> list[str]:
    return [one.key.name for one in resources]


def test_a_phase_alone_makes_nothing_ready() -> None:
    found = [
        resource("BackupSchedule", "waits", "Active"),
        resource("BackupSchedule", "works", "Active", ready=True),
        resource("Backup", "done", "Completed", ready=True),
    ]
    assert names(stuck(found)) == ["waits"]


def test_a_failed_backup_is_history_once_a_later_one_of_its_schedule_was_good() -> None:
    schedule = resource("BackupSchedule", "nightly", "Active", ready=True, lastSuccessfulBackup="2026-03-05T02:00:00Z")
    backups = [
        resource("Backup", "before", "Failed", schedule="nightly", completedAt="2026-03-04T02:00:00Z"),
        resource("Backup", "after", "Failed", schedule="nightly", completedAt="2026-03-06T02:00:00Z"),
        resource("Backup", "other", "Failed", schedule="weekly", completedAt="2026-03-04T02:00:00Z"),
        resource("Backup", "by-hand", "Failed", completedAt="2026-03-04T02:00:00Z"),
    ]
    assert names(stuck([schedule, *backups])) == ["after", "other", "by-hand"]
    assert names(stuck(backups, [schedule, *backups])) == ["after", "other", "by-hand"]
    assert names(stuck(backups)) == ["before", "after", "other", "by-hand"]
