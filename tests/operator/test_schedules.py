"""BackupSchedules on a real API server, with the operator's own rights: Backups by the clock, retention, metrics."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.kube.kubelet import Kubelet
from tests.operator.backups import BackupGround
from tests.operator.operating import NEVER, eventually, operating

from dbtether.api.times import instant_text

pytestmark = pytest.mark.majors(18)


def other_minute() -> int:
    """A minute half an hour away from now: each test is about what is done, and not about when."""
    return (datetime.now(UTC).minute + 30) % 60


def create_schedule(backups: BackupGround, name: str, **spec: Any) -> None:
    wanted = {
        "databaseRef": {"name": "app"},
        "storageRef": {"name": backups.ground.unique},
        "schedule": f"{other_minute()} * * * *",
        **spec,
    }
    body = {"apiVersion": "dbtether.io/v1alpha1", "kind": "BackupSchedule", "metadata": {"name": name}, "spec": wanted}
    backups.ground.create(body)
    eventually(lambda: backups.ground.status("BackupSchedule", name), f"{name} was looked at")


def was_due(backups: BackupGround, name: str, minute: int, field: str = "nextScheduledTime") -> None:
    """As if the operator had been away for some hours."""
    then = (datetime.now(UTC) - timedelta(hours=3)).replace(minute=minute, second=0)
    path = f"{backups.ground.path('BackupSchedule', name)}/status"
    body = {"status": {field: instant_text(then)}}
    answer = backups.ground.kube.request("PATCH", path, body, content_type="application/merge-patch+json")
    assert answer.status == 200, answer
    backups.ground.annotate("BackupSchedule", name, "dbtether.io/reconcile", f"{field}-{minute}")


def test_a_schedule_has_backups_taken_and_lets_go_of_those_that_no_rule_keeps(
    backups: BackupGround, kubelet: Kubelet, tmp_path: Path
) -> None:
    ground = backups.ground
    with operating(ground.kube, tmp_path, *NEVER, *backups.options) as operator:
        backups.prepare()
        create_schedule(backups, "hourly", retention={"keepLast": 1}, alertAfter="26h")
        create_schedule(backups, "never", suspend=True, alertAfter="1s")
        labels = f'{{database="app",namespace="{ground.team}",schedule="%s"}}'
        assert operator.metric(f"dbtether_backup_overdue{labels % 'hourly'}") == 0
        eventually(lambda: operator.metric(f"dbtether_backup_overdue{labels % 'never'}") == 1, "it is overdue")
        assert operator.metric(f"dbtether_last_successful_backup_timestamp_seconds{labels % 'hourly'}") is None

        minute = int((ground.get("BackupSchedule", "hourly") or {})["spec"]["schedule"].split()[0])
        was_due(backups, "hourly", minute)
        eventually(lambda: ground.all("Backup"), "one Backup is made for all that was missed")
        (first,) = ground.all("Backup")
        name = first["metadata"]["name"]
        schedule = ground.get("BackupSchedule", "hourly") or {}
        (owner,) = first["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (schedule["metadata"]["uid"], True)
        assert first["metadata"]["labels"] == {"dbtether.io/schedule": "hourly"}
        assert name.startswith("hourly-")
        status = backups.until_over(name)
        assert status["phase"] == "Completed", status
        wanted = status["completedAt"]
        eventually(lambda: ground.status("BackupSchedule", "hourly").get("lastSuccessfulBackup") == wanted, "it knows")
        seconds = datetime.fromisoformat(wanted).timestamp()
        assert operator.metric(f"dbtether_last_successful_backup_timestamp_seconds{labels % 'hourly'}") == seconds
        columns = ground.kube.kubectl("get", "backupschedules", "-n", ground.team).stdout.splitlines()
        headers = ["NAME", "DATABASE", "SCHEDULE", "PHASE", "LAST BACKUP", "NEXT", "AGE"]
        assert columns[0].split() == " ".join(headers).split()

        ground.patch("BackupSchedule", "hourly", {"spec": {"verify": {"schedule": f"{minute} * * * *"}}})
        eventually(lambda: ground.status("BackupSchedule", "hourly").get("nextVerification"), "a drill is planned")
        was_due(backups, "hourly", minute, "nextVerification")
        eventually(
            lambda: ground.status("BackupSchedule", "hourly").get("lastVerifiedRestore"),
            "the drill is good",
            seconds=90,
        )
        (drill,) = ground.all("Restore")
        assert drill["metadata"]["name"].startswith("hourly-verify-")
        seconds = datetime.fromisoformat(ground.status("BackupSchedule", "hourly")["lastVerifiedRestore"]).timestamp()
        assert operator.metric(f"dbtether_last_verified_restore_timestamp_seconds{labels % 'hourly'}") == seconds
        assert operator.metric(f"dbtether_verification_failed{labels % 'hourly'}") == 0

        # The id of a Backup follows from the time, so that this needs another one.
        minute = (minute + 5) % 60
        ground.patch("BackupSchedule", "hourly", {"spec": {"schedule": f"{minute} * * * *"}})
        eventually(lambda: f":{minute:02}:" in ground.status("BackupSchedule", "hourly")["nextScheduledTime"], "it is")
        was_due(backups, "hourly", minute)
        eventually(lambda: len(ground.all("Backup")) == 2, "the next one is made")
        eventually(
            lambda: (
                [one.get("status", {}).get("phase") for one in ground.all("Backup")] == ["Completed"]
                and ground.all("Backup")[0]["metadata"]["name"] != name
            ),
            "what no rule keeps is gone, its Backup too",
        )
        (entry,) = backups.entries().values()
        assert entry.manifest is not None
        assert entry.manifest.origin.schedule == "hourly"
        assert ground.status("BackupSchedule", "hourly")["retention"]["deleted"] == 1

        ground.delete("BackupSchedule", "hourly")
        ground.until_gone("BackupSchedule", "hourly")
        eventually(lambda: not ground.all("Backup"), "its Backups go with it")
        eventually(lambda: not ground.all("Restore"), "and its restore drills")
        assert len(backups.entries()) == 1, "the object stays"
        assert [line for line in operator.said() if line["level"] == "error"] == []
