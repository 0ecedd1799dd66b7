"""What the metrics tell of BackupSchedules, whatever their specs and statuses look like."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dbtether.api.resource import Key, Resource
from dbtether.operator.schedulegauges import last_successes, overdue

CREATED = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = {"databaseRef": {"name": "shop"}, "storageRef": {"name": "s3"}, "schedule": "@daily", "alertAfter": "26h"}


def schedule(name: str, spec: Any = None, **status: Any) -> Resource:
    return Resource(Key("BackupSchedule", "team", name), "1", 1, "1", CREATED, SPEC if spec is None else spec, status)


def test_the_last_success_is_told_as_a_time_and_none_as_nothing() -> None:
    found = [
        schedule("good", lastSuccessfulBackup="2026-03-02T00:00:10Z"),
        schedule("new"),
        schedule("odd", {"databaseRef": "x"}, lastSuccessfulBackup="2026-03-02T00:00:10Z"),
        schedule("broken", lastSuccessfulBackup="yesterday"),
    ]
    ended = datetime(2026, 3, 2, 0, 0, 10, tzinfo=UTC).timestamp()
    assert list(last_successes(found)) == [(("team", "good", "shop"), ended), (("team", "odd", ""), ended)]


def test_what_is_overdue_goes_by_the_clock_and_not_by_the_status() -> None:
    found = [
        schedule("good", lastSuccessfulBackup="2026-03-02T00:00:00Z"),
        schedule("new"),
        schedule("unasked", {name: value for name, value in SPEC.items() if name != "alertAfter"}),
        schedule("odd", {"alertAfter": "26h"}),
    ]

    def at(hours: int) -> dict[str, float]:
        return {labels[1]: value for labels, value in overdue(found, CREATED + timedelta(hours=hours))}

    assert at(25) == {"good": 0, "new": 0}
    assert at(27) == {"good": 0, "new": 1}
    assert at(51) == {"good": 1, "new": 1}
