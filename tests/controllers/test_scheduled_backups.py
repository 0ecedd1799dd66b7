"""BackupSchedules with real Backups: by child processes, on a real server, into a folder or a bucket."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.backups import STORAGE, Backups, Locked, backup_key, schedule_key
from tests.controllers.world import World, condition, scenario
from tests.storage.fixtures import new_bucket
from tests.storage.servers import S3Server

from dbtether.api.manifests import parse
from dbtether.api.resource import Key
from dbtether.api.times import instant_of
from dbtether.backup.catalog import catalog

# What is shown here is the same on every server.
pytestmark = pytest.mark.majors(18)

DAY = timedelta(days=1)


@pytest.fixture
def backups(world: World, tmp_path: Path) -> Backups:
    return Backups(world, tmp_path)


async def condition_of(backups: Backups, type_: str, name: str = "nightly") -> tuple[str, str] | None:
    found = condition(await backups.world.get(schedule_key(name)), type_)
    return None if found is None else (found["status"], found["reason"])


async def until_schedule(backups: Backups, wanted: Any, seconds: float = 60) -> Mapping[str, Any]:
    """The schedule's status once it is as wanted."""
    until = asyncio.get_running_loop().time() + seconds
    while not wanted(status := await backups.world.status(schedule_key())):
        assert asyncio.get_running_loop().time() < until, status
        await asyncio.sleep(0.02)
    return status


@scenario
async def test_each_night_has_one_backup_and_nights_that_were_missed_have_one_together(backups: Backups) -> None:
    await backups.database()
    await backups.schedule()
    await backups.settle()
    assert await backups.made() == []

    status = await backups.night()
    (backup,) = await backups.made()
    await backups.assert_sound(backup.status)
    assert backup.key.name.startswith("nightly-")
    assert len(backup.key.name) == len("nightly-") + 8
    assert len(await backups.keys("nightly")) == 1
    assert (status["phase"], status["managedBackups"]) == ("Active", 1)
    assert status["lastSuccessfulBackup"] == backup.status["completedAt"], "the end of the run woke the schedule"
    before = await backups.world.get(schedule_key())
    await backups.settle()
    assert await backups.world.get(schedule_key()) == before

    await backups.night(later=3 * DAY)
    assert len(await backups.made()) == 2

    await backups.world.delete(schedule_key())
    await backups.settle()
    assert await backups.world.is_gone(schedule_key())
    assert await backups.made() == []
    assert len(await backups.keys()) == 2, "the objects stay"


@scenario
async def test_a_clock_that_goes_back_starts_nothing_twice_and_one_that_leaps_ahead_stops_nothing(
    backups: Backups,
) -> None:
    await backups.database()
    await backups.schedule(schedule="0 * * * *")
    await backups.settle()
    await backups.night()
    fired = backups.world.now()
    await backups.at(fired - timedelta(minutes=30))
    await backups.at(fired + timedelta(minutes=1))
    assert len(await backups.made()) == 1
    await backups.at(fired + 3 * DAY)
    assert len(await backups.made()) == 2
    await backups.at(fired + timedelta(minutes=2))
    status = await backups.world.status(schedule_key())
    planned = instant_of(status, "nextScheduledTime")
    assert planned is not None
    assert planned < fired + timedelta(hours=1), "it does not wait for the time that was"
    await backups.at(planned + timedelta(seconds=1))
    assert len(await backups.made()) == 3


@scenario
async def test_a_backup_that_still_runs_keeps_the_next_one_away_or_is_ended_by_it(backups: Backups) -> None:
    await backups.database()
    await backups.schedule()
    await backups.settle()
    with Locked(backups.world):
        planned = instant_of(await backups.world.status(schedule_key()), "nextScheduledTime")
        assert planned is not None
        backups.world.ahead = planned + timedelta(seconds=1) - datetime.now(UTC)
        async with backups.working():
            await until_schedule(backups, lambda status: "lastBackupTime" in status)
            (first,) = await backups.made()
            await backups.until(lambda status: status.get("phase") == "Running", first.key.name)
        backups.world.ahead += DAY
        async with backups.working():
            await until_schedule(
                backups, lambda status: instant_of(status, "nextScheduledTime") == planned + timedelta(days=2)
            )
            assert [one.key for one in await backups.made()] == [first.key]
        events = [event.reason for event in backups.world.store.events(schedule_key())]
        assert "BackupSkipped" in events

        await backups.schedule(concurrencyPolicy="Replace")
        backups.world.ahead += DAY
        async with backups.working():
            async with asyncio.timeout(30):
                while first.key in (keys := [one.key for one in await backups.made()]) or not keys:
                    await asyncio.sleep(0.05)
            (second,) = await backups.made()
            status = await backups.until(lambda status: status.get("phase") == "Running", second.key.name)
            assert backups.process(first.status) is None
    await backups.settle()
    (second,) = await backups.made()
    await backups.assert_sound(second.status)
    assert second.status["runId"] == status["runId"]

    await backups.schedule(suspend=True)
    backups.world.ahead += DAY
    await backups.settle()
    assert (await backups.world.status(schedule_key()))["phase"] == "Suspended"
    assert len(await backups.made()) == 1


@scenario
async def test_retention_takes_data_manifest_and_resource_and_nothing_else(backups: Backups) -> None:
    await backups.database()
    await backups.database(name="appold")
    await backups.database(name="app2")
    names = [backups.world.named(), backups.world.named("app2"), backups.world.named("appold")]
    await backups.apply("by-hand")
    await backups.schedule("other", databaseRef=backups.world.ref("app2"), schedule="0 1 * * *")
    await backups.schedule("old", databaseRef=backups.world.ref("appold"), schedule="0 1 * * *")
    await backups.schedule(retention={"keepLast": 1})
    await backups.settle()
    foreign = f"pg/{names[0]}/from-another-tool.sql.gz"
    await backups.store.put_if_absent(foreign, b"somebody's")
    await backups.night()
    (held,) = await backups.keys()
    await backups.store.put_if_absent(f"{held}.hold", b"for the audit")
    await backups.night()
    second = (await backups.keys())[-1]
    status = await backups.night()
    kept = await backups.keys()
    assert (len(kept), held in kept, second in kept) == (2, True, False)
    assert [found.key for found in await backups.store.list("pg") if found.key.startswith(second)] == []
    assert status["retention"]["deleted"] == 1
    assert [one["reasons"] for one in status["retention"]["kept"]] == [["the newest", "last 1 of 1"], ["held"]]
    assert await condition_of(backups, "Retained") == ("True", "Ready")
    paths = {f"{backups.store.url}/{key}" for key in kept}
    assert {one.status["path"] for one in await backups.made()} == paths, "the resource of what is gone goes too"

    assert len(await backups.keys(None)) == 1, "what a person asked for stays"
    assert (await backups.status("by-hand"))["phase"] == "Completed"
    assert await backups.store.read(foreign, 100) == b"somebody's"
    assert [len(await backups.keys(name)) for name in ("other", "old")] == [3, 3], "databases with a like name stay"
    folders = {entry.key.split("/")[1] for entry in await backups.entries()}
    assert sorted(folders) == sorted(names)


@scenario
async def test_a_schedule_whose_database_comes_later_begins_at_once(backups: Backups) -> None:
    await backups.schedule(alertAfter="26h")
    async with backups.working():
        status = await until_schedule(backups, lambda status: status.get("message"))
        assert "does not exist" in status["message"]
        assert await condition_of(backups, "Fresh") == ("True", "Ready"), "its age is told all the same"
        (backups.folder / "backups").mkdir()
        await backups.world.cluster()
        await backups.world.database()
        await backups.world.store.apply_resource(STORAGE, {"local": {"path": "backups"}})
        await until_schedule(backups, lambda status: status.get("nextScheduledTime"), 20)
    # A store or a database that stays away is no excuse.
    await backups.world.delete(STORAGE)
    await backups.settle()
    await backups.at(datetime.now(UTC) + timedelta(hours=27))
    assert await condition_of(backups, "Fresh") == ("False", "BackupOverdue")
    assert await backups.world.reason(schedule_key()) == "StorageNotFound"
    assert await backups.made() == []
    assert await backups.world.is_gone(backup_key())


@scenario
async def test_the_page_s_examples_work_as_printed(backups: Backups) -> None:
    page = Path(__file__).parents[2] / "docs" / "crds" / "backupschedule.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    documents = parse("---\n".join(blocks), page.name).documents
    assert len(documents) == 2
    await backups.database()
    await backups.world.database("my-app-db", "default")
    await backups.world.store.apply_resource(
        Key("BackupStorage", "", "company-backups"), {"local": {"path": "backups"}}
    )
    ref = {"name": backups.world.database_key("my-app-db").name}
    for document in documents:
        spec = {**document.spec, "databaseRef": {**document.spec["databaseRef"], **ref}}
        await backups.world.store.apply_resource(document.key, spec)
    await backups.settle()
    planned = [instant_of(await backups.world.status(one.key), "nextScheduledTime") for one in documents]
    # Later than the first's startingDeadline nothing would be made up for, whatever the time is now.
    await backups.at(max(time for time in planned if time is not None) + timedelta(seconds=1))
    for document in documents:
        status = await backups.world.status(document.key)
        assert (status["phase"], status["managedBackups"]) == ("Active", 1), status


@pytest.mark.stores
@scenario
async def test_a_bucket_of_more_than_one_page_loses_what_no_rule_keeps_and_nothing_while_it_cannot_be_listed(
    backups: Backups, private_s3: S3Server
) -> None:
    place = new_bucket(private_s3)
    account, bucket = private_s3.make_account(), place.spec["s3"]["bucket"]
    everything = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject")
    private_s3.allow(bucket, account, *everything)
    await backups.database()
    await backups.world.store.apply_secret("platform", "keys", account)
    await backups.world.store.apply_resource(
        STORAGE, {**place.spec, "credentialsSecretRef": {"name": "keys", "namespace": "platform"}}
    )
    store, folder = place.open(), f"pg/{backups.world.named()}"
    for first in range(0, 1100, 50):
        notes = [store.put_if_absent(f"{folder}/note-{number:04}.txt", b"-") for number in range(first, first + 50)]
        await asyncio.gather(*notes)

    async def dumps() -> list[str]:
        return [entry.key for entry in await catalog(store, folder, backups.world.store.fingerprint_key)]

    await backups.schedule(retention={"keepLast": 1})
    await backups.settle()
    await backups.night()
    (first_key,) = await dumps()
    planned = instant_of(await backups.world.status(schedule_key()), "nextScheduledTime")
    assert planned is not None
    backups.world.ahead = planned + timedelta(seconds=1) - datetime.now(UTC)
    async with backups.working():
        with Locked(backups.world):
            await until_schedule(backups, lambda status: instant_of(status, "nextScheduledTime") != planned)
            second = (await backups.made())[-1].key.name
            await backups.until(lambda status: backups.process(status), second)
            private_s3.allow(bucket, account, *(set(everything) - {"s3:ListBucket"}))
        await backups.until(lambda status: status.get("phase") == "Completed", second)
        await until_schedule(backups, lambda status: "StorageAccessDenied" in str(status["conditions"]))
    assert len(await dumps()) == 2
    assert await condition_of(backups, "Retained") == ("False", "StorageAccessDenied")
    status = await backups.world.status(schedule_key())
    assert status["lastSuccessfulBackup"] == (await backups.status(second))["completedAt"], "it counts all the same"

    private_s3.allow(bucket, account, *everything)
    await backups.at(backups.world.now() + timedelta(minutes=6))
    assert await condition_of(backups, "Retained") == ("True", "Ready")
    assert first_key not in await dumps()
    assert len(await dumps()) == 1
    assert len([one for one in await store.list(folder) if one.key.endswith(".txt")]) == 1100
    assert [one.key.name for one in await backups.made()] == [second]
