"""Restore drills: a backup is restored beside its database, compared, and dropped; that one is left alone."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.backups import STORAGE, schedule_key
from tests.controllers.restores import Restores
from tests.controllers.world import TEAM, World, condition, reason_of, scenario

from dbtether.api.backupschedule import BackupScheduleSpec
from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_of
from dbtether.api.validation import check
from dbtether.backup.manifest import Manifest, manifest_key, run_key, write_manifest
from dbtether.cli.settling import stuck

DAY = timedelta(days=1)
pytestmark = pytest.mark.majors(18)

DUMP = """--
-- PostgreSQL database dump
--

CREATE TABLE public.things (id integer);

COPY public.things (id) FROM stdin;
1
2
\\.

INSERT INTO public.things VALUES (3);

ALTER TABLE ONLY public.things FORCE ROW LEVEL SECURITY;

ALTER TABLE public.things ENABLE ROW LEVEL SECURITY;

--
-- PostgreSQL database dump complete
--
"""


@pytest.fixture
def restores(world: World, tmp_path: Path) -> Restores:
    return Restores(world, tmp_path)


async def told(restores: Restores, change: Callable[[Manifest], Manifest]) -> None:
    """Sign another manifest for the only backup, as this installation would."""
    (entry,) = await restores.entries()
    assert entry.manifest is not None
    made = change(entry.manifest)
    path = restores.folder / "backups" / manifest_key(entry.key)
    path.write_bytes(write_manifest(made, run_key(restores.world.store.fingerprint_key, made.run_id)))


@scenario
async def test_a_drill_proves_a_backup_and_touches_nothing(restores: Restores) -> None:
    await restores.app(deletionProtection=True)
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    status = await restores.restored(verifyOnly=True)
    assert (status["phase"], await restores.restore_reason()) == ("Completed", "Verified"), status
    assert (status["tables"], status["rows"], status["way"]) == (1, 1000, "staging")
    assert "step" not in status
    assert restores.count() == 10
    assert restores.databases() == ["app"]
    assert not list((restores.folder / "backups").rglob("*.hold"))
    restores.assert_no_run_left()

    await restores.world.change(restores.world.database_key(), deletionProtection=False)
    status = await restores.restored("real", onConflict="drop")
    assert (status["phase"], await restores.restore_reason("real")) == ("Completed", "Completed")
    assert restores.count() == 1000


@scenario
async def test_a_damaged_object_and_a_manifest_whose_counts_lie_fail_a_drill(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await told(restores, lambda manifest: manifest.model_copy(update={"tables": {"public.orders": 999}}))
    status = await restores.restored("lie", verifyOnly=True)
    assert (status["phase"], await restores.restore_reason("lie")) == ("Failed", "SourceDamaged"), status
    assert "999" in status["message"]

    await told(restores, lambda manifest: manifest.model_copy(update={"tables": {"public.orders": 1000}}))
    (path,) = (restores.folder / "backups").rglob("nightly.sql.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    status = await restores.restored("flip", verifyOnly=True)
    assert (status["phase"], await restores.restore_reason("flip")) == ("Failed", "SourceDamaged"), status
    assert restores.databases() == ["app"]
    assert restores.count() == 1000
    restores.assert_no_run_left()


@scenario
async def test_rows_that_the_dump_did_not_show_fail_a_drill(restores: Restores) -> None:
    await restores.app()
    prefixes = [{"prefix": "imports/", "namespaces": [TEAM]}]
    await restores.world.store.apply_resource(STORAGE, {"local": {"path": "backups"}, "importPrefixes": prefixes})
    (restores.folder / "backups" / "imports").mkdir()
    (restores.folder / "backups" / "imports" / "old.sql").write_text(DUMP)
    source = {"path": "imports/old.sql", "storageRef": {"name": "main"}}
    status = await restores.restored(source=source, verifyOnly=True)
    assert (status["phase"], await restores.restore_reason()) == ("Failed", "SourceDamaged"), status
    assert "public.things has 3 rows instead of 2" in status["message"]
    assert restores.databases() == ["app"]
    restores.assert_no_run_left()


@scenario
async def test_a_drill_keeps_no_restore_waiting_and_none_keeps_it(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await restores.restore("drill", verifyOnly=True)
    await restores.restore("real", onConflict="drop")
    await restores.settle()
    assert (await restores.restore_reason("drill"), await restores.restore_reason("real")) == ("Verified", "Completed")
    status = await restores.restore_status("real")
    assert restores.databases() == ["app", f"app__before_{status['runId']}"]
    restores.assert_no_run_left()


async def drills(restores: Restores) -> list[Resource]:
    """The Restores of the schedule, the oldest first."""
    found = [one for one in await restores.world.store.list("Restore") if one.labels.get(SCHEDULE_LABEL) == "nightly"]
    return sorted(found, key=lambda one: str(one.status.get("startedAt", "~")))


async def drilled(restores: Restores, later: timedelta = timedelta(seconds=1)) -> Mapping[str, Any]:
    """Let the time of the next drill come and go, and give the schedule's status."""
    planned = instant_of(await restores.world.status(schedule_key()), "nextVerification")
    assert planned is not None
    await restores.at(planned + later)
    return await restores.world.status(schedule_key())


async def verified(restores: Restores) -> tuple[str, str, str]:
    schedule = await restores.world.get(schedule_key())
    found = condition(schedule, "Verified")
    assert found is not None
    return found["status"], found["reason"], reason_of(schedule)


@scenario
async def test_a_schedule_proves_its_newest_backup_by_the_clock(restores: Restores) -> None:
    await restores.app()
    await restores.schedule(verify={"schedule": "0 4 * * *"})
    await restores.settle()
    assert await verified(restores) == ("False", "NotVerified", "Ready")
    await restores.night()
    assert await drills(restores) == []
    status = await drilled(restores)
    assert await verified(restores) == ("True", "Verified", "Ready")
    (first,) = await drills(restores)
    (backup,) = await restores.made()
    assert first.key.name.startswith("nightly-verify-")
    assert first.spec["source"] == {"backupRef": {"name": backup.key.name}}
    assert status["verifiedBackup"] == backup.status["path"]
    assert status["lastVerifiedRestore"] == first.status["completedAt"]
    assert status["nextVerification"] > status["lastVerifiedRestore"]
    before = await restores.world.get(schedule_key())
    await restores.settle()
    assert await restores.world.get(schedule_key()) == before

    status = await drilled(restores, 5 * DAY)
    assert len(await drills(restores)) == 2, "those that were missed have one together"
    assert restores.databases() == ["app"]
    assert restores.count() == 1000
    restores.assert_no_run_left()

    await restores.schedule(verify={"schedule": "0 4 * * *"}, suspend=True)
    await restores.at(restores.world.now() + 2 * DAY)
    assert len(await drills(restores)) == 2
    assert "nextVerification" not in await restores.world.status(schedule_key())
    assert (await restores.world.status(schedule_key()))["lastVerifiedRestore"] == status["lastVerifiedRestore"]

    await restores.world.delete(schedule_key())
    await restores.settle()
    assert await drills(restores) == []


@scenario
async def test_a_schedule_tells_of_a_drill_that_failed_until_a_later_one_is_good(restores: Restores) -> None:
    await restores.app()
    await restores.schedule(verify={"schedule": "0 4 * * *"}, failedHistoryLimit=0)
    await restores.settle()
    await restores.night()
    (path,) = (restores.folder / "backups").rglob("*.sql.gz")
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(20))
    status = await drilled(restores)
    assert await verified(restores) == ("False", "VerificationFailed", "VerificationFailed")
    assert status["phase"] == "Active"
    assert "lastVerifiedRestore" not in status
    assert [event.reason for event in restores.world.store.events(schedule_key())].count("VerificationFailed") == 1
    (failed,) = await drills(restores)
    assert stuck([*await restores.world.store.list("BackupSchedule"), failed]) == [failed]
    assert restores.databases() == ["app"]
    restores.assert_no_run_left()

    path.write_bytes(data)
    await drilled(restores)
    assert await verified(restores) == ("True", "Verified", "Ready")
    await restores.settle()
    assert [one.status["phase"] for one in await drills(restores)] == ["Completed"]
    assert stuck([*await restores.world.store.list("BackupSchedule"), failed]) == []


@scenario
async def test_drills_go_to_another_database_and_need_a_backup_to_begin_with(restores: Restores) -> None:
    await restores.app()
    other = {"endpoint": restores.world.admin.server.host, "port": restores.world.admin.server.port}
    cluster = await restores.world.get(restores.world.cluster_key)
    await restores.world.store.apply_resource(Key("DBCluster", "", "scratch"), {**cluster.spec, **other})
    await restores.world.database("scratch", clusterRef={"name": "scratch"})
    await restores.schedule(verify={"schedule": "0 1 * * *", "target": {"databaseRef": restores.world.ref("scratch")}})
    await restores.settle()
    await drilled(restores)
    assert await drills(restores) == []
    assert "VerificationSkipped" in [event.reason for event in restores.world.store.events(schedule_key())]
    await restores.night()
    await drilled(restores)
    (drill,) = await drills(restores)
    assert (drill.status["phase"], drill.spec["target"]["databaseRef"]) == ("Completed", restores.world.ref("scratch"))
    assert restores.databases() == ["app", "scratch"]
    restores.assert_no_run_left()


@scenario
async def test_drills_beside_another_namespaces_database_need_a_target(restores: Restores) -> None:
    spec = {
        "databaseRef": {"name": "shop", "namespace": "production"},
        "storageRef": {"name": "main"},
        "schedule": "@daily",
        "verify": {"schedule": "@weekly"},
    }
    _, (problem,) = check(BackupScheduleSpec, schedule_key(), spec)
    assert "needs target" in problem.sentence
