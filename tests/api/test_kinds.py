"""The table of kinds, its columns and models, and what it costs to import."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dbtether.api.columns import age, cell
from dbtether.api.database import DatabaseStatus
from dbtether.api.databaseuser import DatabaseUserStatus
from dbtether.api.kinds import KIND_NAMES, KINDS, find_kind, nearest_kind
from dbtether.api.model import Condition, ConditionStatus
from dbtether.api.reasons import EXPLANATIONS, Reason
from dbtether.api.resource import Key, Resource

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def row(kind: str, spec: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """The cells of a resource that is five minutes old."""
    resource = Resource(Key(kind, "n", "x"), "u", 1, "1", NOW - timedelta(minutes=5), spec, status)
    return [cell(column, resource, NOW) for column in KINDS[kind].columns]


def test_names_and_kinds_come_without_pydantic_and_yaml() -> None:
    code = (
        "import sys, dbtether.api.kinds, dbtether.api.names, dbtether.api.reasons, dbtether.api.templates;"
        "assert not {'pydantic', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_seven_kinds_have_models() -> None:
    assert len(KIND_NAMES) == 7
    for kind in KINDS.values():
        assert kind.spec.__name__ == f"{kind.kind}Spec"
        assert kind.status.__name__ == f"{kind.kind}Status"
        assert "phase" in kind.status.model_fields


@pytest.mark.parametrize("word", ["Database", "database", "databases", "db", "DB"])
def test_a_kind_is_found_by_any_of_its_names(word: str) -> None:
    assert find_kind(word) is KINDS["Database"]


def test_a_misspelt_kind_has_a_neighbour() -> None:
    assert find_kind("databaseuserz") is None
    assert nearest_kind("databaseuserz") == "DatabaseUser"
    assert nearest_kind("pod") is None


def test_columns_are_the_readmes() -> None:
    headers = {kind: [column.header for column in KINDS[kind].columns] for kind in KIND_NAMES}
    assert headers == {
        "DBCluster": ["ENDPOINT", "PHASE", "VERSION", "AGE"],
        "Database": ["CLUSTER", "DATABASE", "PHASE", "AGE"],
        "DatabaseUser": ["DATABASE", "USERNAME", "PRIVILEGES", "PHASE", "AGE"],
        "BackupStorage": ["PROVIDER", "PHASE", "AGE"],
        "Backup": ["DATABASE", "PHASE", "SIZE", "DURATION", "AGE"],
        "BackupSchedule": ["DATABASE", "SCHEDULE", "PHASE", "LAST BACKUP", "NEXT", "AGE"],
        "Restore": ["TARGET", "PHASE", "DURATION", "AGE"],
    }


def test_a_status_path_of_a_column_is_a_field_of_the_status() -> None:
    for kind in KINDS.values():
        aliases = {field.alias for field in kind.status.model_fields.values()}
        for column in kind.columns:
            if column.json_path.startswith(".status."):
                assert column.json_path.removeprefix(".status.") in aliases


def test_cells_show_values_ages_and_nothing_for_what_is_not_known() -> None:
    assert row("DBCluster", {"endpoint": "db"}, {"phase": "Connected", "postgresVersion": "15.4"}) == [
        "db",
        "Connected",
        "15.4",
        "5m",
    ]
    schedule = {"databaseRef": {"name": "db"}, "schedule": "@daily"}
    status = {"lastBackupTime": "2026-01-02T01:04:05Z", "nextScheduledTime": "2026-01-03T00:00:00Z"}
    assert row("BackupSchedule", schedule, status) == ["db", "@daily", "", "120m", "2026-01-03T00:00:00Z", "5m"]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-1), "0s"), (timedelta(seconds=-9), "<invalid>"), (timedelta(seconds=119), "119s"),
        (timedelta(seconds=150), "2m30s"), (timedelta(minutes=5), "5m"), (timedelta(minutes=90), "90m"),
        (timedelta(hours=3, minutes=20), "3h20m"), (timedelta(hours=30), "30h"), (timedelta(days=3, hours=2), "3d2h"),
        (timedelta(days=100), "100d"), (timedelta(days=800), "2y70d"), (timedelta(days=4000), "10y"),
    ],
)  # fmt: skip
def test_an_age_is_kubectls(span: timedelta, text: str) -> None:
    assert age(span) == text


def test_every_reason_is_explained_in_whole_sentences() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    for reason, explanation in EXPLANATIONS.items():
        assert reason.isalnum()
        assert explanation.meaning.endswith(".")
        assert explanation.next_step.endswith(".")


def test_a_status_is_dumped_by_alias_without_what_is_absent() -> None:
    condition = Condition(type="Ready", status=ConditionStatus.TRUE, reason="Ready", last_transition_time=NOW)
    status = DatabaseStatus(database_name="my_app", conditions=(condition,), observed_generation=2)
    assert status.dump() == {
        "observedGeneration": 2,
        "phase": "Pending",
        "databaseName": "my_app",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }
        ],
    }
    assert DatabaseStatus.model_validate(status.dump()) == status


def test_a_status_of_another_version_is_read_without_what_is_unknown() -> None:
    status = DatabaseUserStatus.model_validate(
        {"phase": "Ready", "futureField": 1, "passwordUpdatedAt": "2026-01-02T03:04:05Z"}
    )
    assert status.password_updated_at == NOW
