"""Backups by child processes: once, by consent, three at a time, and never half, whatever is killed."""

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.backups import QUICK, STORAGE, Backups, Locked, backup_key
from tests.controllers.world import World, condition, scenario
from tests.storage.fixtures import new_bucket
from tests.storage.servers import S3Server

from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.manifests import parse
from dbtether.api.resource import Key
from dbtether.controllers.backup import BackupSettings
from dbtether.runtime.local.processes import ProcessId

# Those with client programs on every machine that has the tests' extras.
pytestmark = pytest.mark.majors(16, 18)


@pytest.fixture
def backups(world: World, tmp_path: Path) -> Backups:
    return Backups(world, tmp_path)


def runs(status: Any) -> bool:
    return bool(status.get("phase") == "Running" and status.get("attempts"))


def another_process(backups: Backups, process: ProcessId, status: Mapping[str, Any]) -> bool:
    return backups.process(status) != process


def is_at(backups: Backups, attempt: int, status: Mapping[str, Any]) -> bool:
    return status.get("attempts") == attempt and backups.process(status) is not None


@scenario
async def test_a_backup_runs_once_also_when_its_resource_was_made_again(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    await backups.settle()
    first = await backups.status()
    await backups.assert_sound(first)
    assert first["attempts"] == 1
    assert first["jobName"] == f"backup-nightly-{first['runId']}"
    assert condition(await backups.world.get(backup_key())) is not None

    await backups.settle()
    assert await backups.status() == first

    await backups.world.delete(backup_key())
    await backups.settle()
    assert await backups.world.is_gone(backup_key())
    await backups.apply()
    await backups.settle()
    again = await backups.status()
    assert (again["runId"], again["path"], again["completedAt"]) == (
        first["runId"],
        first["path"],
        first["completedAt"],
    )
    assert len(await backups.entries()) == 1, "the record of the run is no backup"

    await backups.apply(filenameTemplate="other.sql.zst")
    await backups.settle()
    other = await backups.status()
    assert other["path"].endswith("/other.sql.zst")
    await backups.assert_sound(other)
    # Back to a spec that has run: it is not run again.
    await backups.apply()
    await backups.settle()
    assert (await backups.status())["runId"] == first["runId"]
    assert len(await backups.entries()) == 2


@scenario
async def test_a_spec_whose_backup_is_gone_from_the_store_runs_anew(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    await backups.settle()
    first = await backups.status()
    for entry in await backups.entries():
        await backups.store.delete(entry.key)
        await backups.store.delete(f"{entry.key}.manifest.json")
    await backups.world.delete(backup_key())
    await backups.settle()
    await backups.apply()
    await backups.settle()
    again = await backups.status()
    assert again["runId"] != first["runId"]
    await backups.assert_sound(again)


@scenario
async def test_a_key_that_is_taken_is_left_alone(backups: Backups) -> None:
    await backups.database()
    taken = f"pg/{backups.world.named()}/daily.sql.gz"
    await backups.store.put_if_absent(taken, b"somebody's")
    await backups.apply(filenameTemplate="daily.sql.gz")
    await backups.settle()
    status = await backups.status()
    await backups.assert_sound(status)
    assert status["path"].endswith(f"/daily-{status['runId']}.sql.gz")
    assert await backups.store.read(taken, 100) == b"somebody's"


@scenario
async def test_a_job_killed_at_any_point_is_tried_again_and_shows_no_half_object(backups: Backups) -> None:
    await backups.database(rows=60_000)
    await backups.apply(filenameTemplate="{{ .Timestamp }}.sql")
    chance = random.Random(7)
    settings = BackupSettings(pauses_seconds=(0.05,) * 12)
    async with backups.working(settings):
        for _ in range(8):
            await backups.until(lambda status: status.get("phase") == "Completed" or backups.process(status))
            await asyncio.sleep(chance.uniform(0, 1.2))
            if (process := backups.process(await backups.status())) is None:
                break
            os.kill(process.pid, signal.SIGKILL)
            for entry in await backups.entries():
                # The claim on a key is no dump; a dump without a manifest is believed by nobody.
                assert entry.problem is None
            await backups.until(partial(another_process, backups, process))
        status = await backups.until(lambda status: status.get("phase") in ("Completed", "Failed"))
    await backups.assert_sound(status, 60_000)
    assert len([entry for entry in await backups.entries() if entry.manifest is not None]) == 1
    assert status["attempts"] <= 9


@scenario
async def test_a_job_that_always_fails_is_given_up_and_stays_so(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working():
            for attempt in range(1, QUICK.attempts + 1):
                status = await backups.until(partial(is_at, backups, attempt))
                process = backups.process(status)
                assert process is not None
                os.kill(process.pid, signal.SIGKILL)
            status = await backups.until(lambda found: found.get("phase") == "Failed")
    assert await backups.reason() == "BackupFailed"
    assert "was killed by signal 9" in status["message"]
    backups.assert_nothing_runs(status)
    await backups.settle()
    assert await backups.status() == status
    assert await backups.entries() == ()


@scenario
async def test_an_engine_that_is_gone_leaves_a_run_that_the_next_one_takes_over(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working():
            first = await backups.until(lambda status: runs(status) and backups.process(status))
        process = backups.process(first)
        assert process is not None, "the process goes on"
        async with backups.working():
            await asyncio.sleep(1)
            assert backups.process(await backups.status()) == process
    # Whoever comes when it is over finds out as well.
    async with asyncio.timeout(30):
        while backups.process(first):
            await asyncio.sleep(0.05)
    await backups.settle()
    status = await backups.status()
    await backups.assert_sound(status)
    assert (status["attempts"], status["runId"]) == (1, first["runId"])


@scenario
async def test_a_job_that_somebody_deleted_is_started_again_with_the_same_run(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working() as jobs:
            first = await backups.until(lambda status: runs(status) and backups.process(status))
            await jobs.delete(first["jobName"])
            await backups.until(lambda status: status.get("attempts") == 2 and backups.process(status))
    await backups.settle()
    status = await backups.status()
    await backups.assert_sound(status)
    assert status["runId"] == first["runId"]


@scenario
async def test_a_cancel_ends_the_run_and_leaves_nothing(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working():
            await backups.until(lambda status: runs(status) and backups.process(status))
            await backups.apply(cancel=True)
            status = await backups.until(lambda status: status.get("phase") == "Failed")
        assert await backups.reason() == "Cancelled"
        backups.assert_nothing_runs(status)
    assert [found.key for found in await backups.store.list("pg")] == []
    await backups.apply()
    await backups.settle()
    assert await backups.reason() == "Cancelled", "the same spec never runs again"


@scenario
async def test_a_cancel_before_the_start_starts_nothing(backups: Backups) -> None:
    await backups.database()
    await backups.apply(cancel=True)
    await backups.settle()
    assert await backups.reason() == "Cancelled"
    await backups.apply()
    await backups.settle()
    await backups.assert_sound(await backups.status())


@scenario
async def test_a_deleted_backup_ends_its_run_first(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working():
            status = await backups.until(lambda status: runs(status) and backups.process(status))
            await backups.world.delete(backup_key())
            async with asyncio.timeout(20):
                while not await backups.world.is_gone(backup_key()):
                    await asyncio.sleep(0.05)
        backups.assert_nothing_runs(status)


@scenario
async def test_a_spec_that_changes_in_the_middle_ends_the_run_and_starts_another(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    with Locked(backups.world):
        async with backups.working():
            first = await backups.until(lambda status: runs(status) and backups.process(status))
            await backups.apply(filenameTemplate="other.sql")
            second = await backups.until(lambda status: runs(status) and status["runId"] != first["runId"])
            assert backups.process(first) is None
    await backups.settle()
    status = await backups.status()
    assert status["runId"] == second["runId"]
    await backups.assert_sound(status)
    assert len(await backups.entries()) == 1


@scenario
async def test_a_run_that_takes_too_long_is_ended(backups: Backups) -> None:
    await backups.database()
    await backups.apply(activeDeadline="2s")
    with Locked(backups.world):
        await backups.settle()
        first = await backups.status()
        assert await backups.reason() == "DeadlineExceeded"
        await backups.world.annotate(backup_key(), run_again=first["runId"])
        await backups.settle()
    second = await backups.status()
    await backups.settle()
    assert await backups.status() == second
    assert await backups.reason() == "DeadlineExceeded"
    assert second["runId"] != first["runId"], "a person insisted once, and it ran once more"
    backups.assert_nothing_runs(second)


@scenario
async def test_three_run_at_once_and_the_others_wait_in_line(backups: Backups) -> None:
    await backups.database()
    names = [f"b{number}" for number in range(5)]
    for name in names:
        await backups.apply(name, filenameTemplate=f"{name}.sql")
    with Locked(backups.world):
        async with backups.working():
            async with asyncio.timeout(60):
                while True:
                    statuses = [await backups.status(name) for name in names]
                    if sum(runs(status) for status in statuses) == 3 and all("phase" in one for one in statuses):
                        break
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            statuses = [await backups.status(name) for name in names]
            assert sum(status["phase"] == "Running" for status in statuses) == 3
            waiting = [status for status in statuses if status["phase"] == "Pending"]
            assert sorted(status["message"].partition(" in line")[0] for status in waiting) == ["Number 1", "Number 2"]
    await backups.settle()
    for name in names:
        await backups.assert_sound(await backups.status(name))
    assert len(await backups.entries()) == 5


@scenario
async def test_another_tenant_s_database_is_backed_up_by_consent_alone(backups: Backups) -> None:
    await backups.database()
    await backups.apply("thief", "other", databaseRef=backups.world.ref(namespace="team"))
    await backups.apply("blind", "other", databaseRef={"name": "nothing", "namespace": "team"})
    await backups.settle()
    messages = [(await backups.status(name, "other"))["message"] for name in ("thief", "blind")]
    assert await backups.reason("thief", "other") == "DatabaseNotFound"
    app = backups.world.database_key().name
    assert messages[0].replace(app, "X") == messages[1].replace("nothing", "X"), "a refusal tells nothing"
    assert await backups.entries() == ()

    await backups.world.change(backups.world.database_key(), allowedNamespaces=["other"])
    await backups.settle()
    assert (await backups.status("thief", "other"))["phase"] == "Completed"


@scenario
async def test_a_storage_or_a_cluster_that_does_not_admit_the_namespace_takes_nothing(backups: Backups) -> None:
    await backups.database()
    storage = await backups.world.get(STORAGE)
    await backups.world.store.apply_resource(STORAGE, {**storage.spec, "allowedNamespaces": ["other"]})
    await backups.apply()
    await backups.settle()
    assert await backups.reason() == "StorageNotFound"
    await backups.world.store.apply_resource(STORAGE, storage.spec)
    await backups.world.change(backups.world.cluster_key, allowedNamespaces=["other"])
    await backups.settle()
    assert await backups.reason() in ("ClusterNotFound", "DatabaseNotReady")
    await backups.world.change(backups.world.cluster_key, allowedNamespaces=["team"])
    await backups.settle()
    await backups.assert_sound(await backups.status())


@scenario
async def test_what_cannot_be_read_is_told_before_anything_is_made(backups: Backups) -> None:
    await backups.database()
    backups.world.execute("CREATE TABLE secret (id int)", dbname=backups.world.named())
    backups.world.execute("ALTER TABLE secret ENABLE ROW LEVEL SECURITY", dbname=backups.world.named())
    await backups.apply()
    await backups.settle()
    status = await backups.status()
    assert (status["phase"], await backups.reason()) == ("Failed", "BackupNotAllowed")
    assert "secret" in status["message"]
    assert "runId" not in status
    backups.world.execute("DROP TABLE secret", dbname=backups.world.named())
    await backups.world.annotate(backup_key(), reconcile="now")
    await backups.settle()
    await backups.assert_sound(await backups.status())


@scenario
async def test_a_job_is_given_neither_the_admin_s_password_nor_the_installation_s_key(backups: Backups) -> None:
    await backups.database()
    resource = await backups.apply()
    await backups.world.store.apply_resource(resource.key, resource.spec, {SCHEDULE_LABEL: "daily"})
    with Locked(backups.world):
        async with backups.working():
            status = await backups.until(lambda status: runs(status) and backups.process(status))
            folder = backups.folder / "jobs" / status["jobName"]
            told = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
            process = backups.process(status)
            assert process is not None
            seen = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            password = (folder / "files" / "password").read_bytes()
    for text in (told, seen):
        assert backups.world.admin.password.encode() not in text
        assert backups.world.store.fingerprint_key.hex().encode() not in text
    assert password not in seen
    assert password.decode() not in json.dumps(dict(status))
    await backups.settle()
    manifest = (await backups.entries())[0].manifest
    assert manifest is not None
    assert (manifest.origin.name, manifest.origin.schedule) == ("nightly", "daily")


@pytest.mark.stores
@scenario
async def test_a_bucket_gets_a_backup_and_one_that_denies_in_the_middle_ends_the_run(
    backups: Backups, private_s3: S3Server
) -> None:
    place = new_bucket(private_s3)
    account = private_s3.make_account()
    bucket = place.spec["s3"]["bucket"]
    everything = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject")
    private_s3.allow(bucket, account, *everything)
    await backups.database()
    await backups.world.store.apply_secret("platform", "keys", account)
    await backups.world.store.apply_resource(
        STORAGE, {**place.spec, "credentialsSecretRef": {"name": "keys", "namespace": "platform"}}
    )
    await backups.apply("good")
    await backups.settle()
    status = await backups.status("good")
    assert (status["phase"], status["path"].startswith(f"s3://{bucket}/")) == ("Completed", True), status["message"]

    await backups.apply("denied", filenameTemplate="denied.sql")
    async with backups.working():
        with Locked(backups.world):
            await backups.until(lambda status: runs(status) and backups.process(status), "denied")
            private_s3.allow(bucket, account, "s3:ListBucket", "s3:GetObject")
        status = await backups.until(lambda status: status.get("phase") == "Failed", "denied")
    assert await backups.reason("denied") == "StorageAccessDenied"
    backups.assert_nothing_runs(status)
    way_out = f"; to run it again, annotate the Backup with dbtether.io/run-again={status['runId']}"
    assert status["message"].endswith(way_out)

    private_s3.allow(bucket, account, *everything)
    await backups.settle()
    assert await backups.status("denied") == status, "a person must insist"
    await backups.world.annotate(backup_key("denied"), run_again=status["runId"])
    await backups.settle()
    again = await backups.status("denied")
    assert (again["phase"], again["attempts"]) == ("Completed", 1), again
    assert again["runId"] != status["runId"]
    await backups.settle()
    assert await backups.status("denied") == again, "it was about that run alone"


@pytest.mark.stores
@scenario
async def test_a_store_that_is_away_in_the_middle_is_waited_for(backups: Backups, private_s3: S3Server) -> None:
    place = new_bucket(private_s3)
    await backups.database()
    await backups.world.store.apply_secret("platform", "keys", private_s3.data())
    await backups.world.store.apply_resource(
        STORAGE, {**place.spec, "credentialsSecretRef": {"name": "keys", "namespace": "platform"}}
    )
    await backups.settle()
    await backups.apply(filenameTemplate="now.sql")
    async with backups.working():
        with Locked(backups.world):
            first = await backups.until(lambda status: runs(status) and backups.process(status))
            private_s3.stop()
        status = await backups.until(lambda status: status.get("phase") == "Pending", seconds=120)
        assert await backups.reason() == "StorageUnreachable"
        assert "the store cannot be reached" in status["message"]
    private_s3.start()
    await backups.settle()
    status = await backups.status()
    assert (status["phase"], status["runId"]) == ("Completed", first["runId"]), status
    backups.assert_nothing_runs(status)


@scenario
async def test_a_table_that_somebody_locks_for_long_is_told_and_tried_again(backups: Backups) -> None:
    await backups.database()
    await backups.apply()
    async with backups.working(BackupSettings(pauses_seconds=(0.1,) * 4, lock_wait_seconds=0.3)):
        with Locked(backups.world):
            status = await backups.until(lambda status: status.get("attempts") == 2)
        status = await backups.until(lambda status: status.get("phase") == "Completed")
    await backups.assert_sound(status)
    told = [event.message for event in backups.world.store.events(backup_key()) if event.reason == "BackupFailed"]
    assert told[0] == (
        f"pg_dump of database {backups.world.named()} waited 0.3 s in vain for a lock that another session keeps from "
        'it (LOCK TABLE "public"."orders" IN ACCESS SHARE MODE): end that session, or wait until it is done; '
        "attempt 1 of 5, trying again"
    )


@scenario
async def test_the_page_s_examples_work_as_printed(backups: Backups) -> None:
    page = Path(__file__).parents[2] / "docs" / "crds" / "backup.md"
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
    for document in documents:
        status = await backups.world.status(document.key)
        assert status["phase"] == "Completed", status
