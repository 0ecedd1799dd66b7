"""The kind BackupSchedule by `dbtether apply`, `tick`, `run` and `delete`, on a real server and a folder."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.program import Body, Program
from tests.cli.test_backup_kind import ready, storage

from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.runtime.local import LocalStore

pytestmark = pytest.mark.majors(18)
__all__ = ["ready"]

KEY = Key("BackupSchedule", "default", "hourly")


def schedule(name: str = "hourly", **spec: object) -> Body:
    """A BackupSchedule of the database `app`, for each hour."""
    body = {
        "databaseRef": {"name": "app"},
        "storageRef": {"name": "disk"},
        # Half an hour away: each test is about what is done, and not about when.
        "schedule": f"{(datetime.now(UTC).minute + 30) % 60} * * * *",
        **spec,
    }
    return {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "BackupSchedule",
        "metadata": {"name": name, "namespace": "default"},
        "spec": body,
    }


def was_due(program: Program) -> None:
    """As if nobody had looked at the state for hours."""

    async def write() -> None:
        with LocalStore.open(program.state) as store:
            resource = await store.get(KEY)
            assert resource is not None
            minute = int(resource.spec["schedule"].split()[0])
            then = (datetime.now(UTC) - timedelta(hours=3)).replace(minute=minute, second=0)
            await store.write_status(resource, {**resource.status, "nextScheduledTime": instant_text(then)})

    asyncio.run(write())


def backups(program: Program) -> list[Resource]:
    """The Backups in the state."""

    async def read() -> tuple[Resource, ...]:
        with LocalStore.open(program.state, read_only=True) as store:
            return await store.list("Backup")

    return list(asyncio.run(read()))


def test_time_passes_for_a_schedule_with_tick_and_its_backups_are_nobody_s_leftovers(ready: Program) -> None:
    name = ready.write(schedule(retention={"keepLast": 1}), name="schedule.yaml")
    applied = ready.run("apply", "-f", name)
    assert applied.code == 0, applied.err
    told = "time passes for spec.schedule only with `dbtether run`, or `dbtether tick` from cron"
    assert f"BackupSchedule default/hourly: {told}" in applied.err
    header = re.split("  +", ready.run("get", "backupschedules", "-A").out.splitlines()[0])
    assert header == [
        "NAMESPACE",
        "NAME",
        "DATABASE",
        "SCHEDULE",
        "PHASE",
        "LAST BACKUP",
        "NEXT",
        "AGE",
    ]

    was_due(ready)
    ticked = ready.run("tick")
    assert ticked.code == 0, ticked.err
    (backup,) = backups(ready)
    assert backup.status["phase"] == "Completed"
    assert backup.labels == {SCHEDULE_LABEL: "hourly"}
    assert backup.key.name in ticked.out
    assert len(ready.run("backup", "list", "--from", ".", "-o", "json").json["items"]) == 1

    # It stood in no manifest, and is nobody's leftover.
    again = ready.run("apply", "-f", "all.yaml", "-f", name, "--prune", "--yes")
    assert again.code == 0, again.err
    assert [one.key for one in backups(ready)] == [backup.key]
    assert "in none of these manifests" not in ready.run("apply", "-f", "all.yaml", "-f", name).err

    assert ready.run("delete", "backupschedule", "hourly").code == 0
    assert backups(ready) == []
    assert len(ready.run("backup", "list", "--from", ".", "-o", "json").json["items"]) == 1


def test_a_schedule_without_its_database_is_no_success(program: Program) -> None:
    applied = program.run("apply", "-f", program.write(storage(), schedule()))
    assert applied.code == 1
    assert "BackupSchedule default/hourly: Database default/app does not exist (DatabaseNotFound)" in applied.err
    assert program.run("status").code == 1


def test_a_run_in_the_foreground_takes_the_backup_and_tells_of_it(ready: Program) -> None:
    ready.write(schedule(), name="schedule.yaml")
    assert ready.run("apply", "-f", "schedule.yaml").code == 0
    was_due(ready)
    running = ready.start("run")
    try:
        until = time.monotonic() + 30
        while not any(one.status.get("phase") == "Completed" for one in backups(ready)):
            assert time.monotonic() < until, "no backup was taken"
            time.sleep(0.2)
    finally:
        running.terminate()
        running.communicate()
