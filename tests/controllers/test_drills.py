"""Restore drills: a backup is restored beside its database, compared, and dropped; that one is left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.controllers.backups import STORAGE
from tests.controllers.restores import Restores
from tests.controllers.world import TEAM, World, scenario

from dbtether.backup.manifest import Manifest, manifest_key, run_key, write_manifest

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
