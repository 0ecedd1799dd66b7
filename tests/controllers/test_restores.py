"""Restores by child processes: proven first, whole or not at all, with every right back before they are done."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.controllers.restores import Restores, restore_key
from tests.controllers.world import World, phase, scenario

pytestmark = pytest.mark.majors(18)


@pytest.fixture
def restores(world: World, tmp_path: Path) -> Restores:
    return Restores(world, tmp_path)


@scenario
async def test_a_backup_comes_back_into_an_empty_database(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await restores.as_maker("DROP TABLE orders")
    status = await restores.restored()
    assert status["phase"] == "Completed", status
    assert restores.count() == 1000
    assert (status["tables"], status["rows"], status["way"]) == (1, 1000, "transaction")
    assert restores.owners() == {restores.admins()}
    assert await restores.world.login_works()
    restores.assert_no_run_left()


@scenario
async def test_a_database_with_objects_is_left_alone(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    status = await restores.restored()
    assert (status["phase"], await restores.restore_reason()) == ("Failed", "TargetNotEmpty")
    assert restores.count() == 10
    restores.assert_no_run_left()


@scenario
async def test_drop_replaces_the_database_and_keeps_the_old_one(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    status = await restores.restored(onConflict="drop")
    assert status["phase"] == "Completed", status
    assert restores.count() == 1000
    assert restores.owners() == {restores.admins()}
    assert restores.databases() == ["app", f"app__before_{status['runId']}"]
    restores.assert_no_run_left()


@scenario
async def test_overwrite_replaces_what_is_in_the_database(restores: Restores) -> None:
    await restores.app()
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    await restores.as_maker("CREATE TABLE later (id int)")
    status = await restores.restored(onConflict="overwrite")
    assert status["phase"] == "Completed", status
    assert restores.count() == 1000
    assert restores.databases() == ["app"]
    restores.assert_no_run_left()


@scenario
async def test_an_undo_puts_the_old_database_back_and_another_undo_the_new_one(restores: Restores) -> None:
    world = restores.world
    await restores.app()
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    run = (await restores.restored(onConflict="drop"))["runId"]
    (entry,) = (await world.status(world.database_key()))["replaced"]
    assert (entry["name"], entry["runId"]) == (f"{world.named()}__before_{run}", run)

    await world.annotate(world.database_key(), undo_restore=run)
    await restores.settle()
    assert restores.count() == 10
    resource = await world.get(world.database_key())
    assert (phase(resource), "dbtether.io/undo-restore" in resource.annotations) == ("Ready", False)
    (kept,) = resource.status["replaced"]
    assert kept["runId"] != run
    assert await world.login_works()
    await world.assert_ready()

    await world.annotate(world.database_key(), undo_restore=kept["runId"])
    await restores.settle()
    assert restores.count() == 1000
    assert len(restores.databases()) == 2


@scenario
async def test_a_replaced_database_is_dropped_after_its_time_and_an_undo_says_so(restores: Restores) -> None:
    world = restores.world
    await restores.app()
    await restores.backed_up()
    run = (await restores.restored(onConflict="drop", keepReplacedFor="1h"))["runId"]
    await restores.settle()
    assert len(restores.databases()) == 2
    world.ahead = timedelta(minutes=61)
    await restores.settle()
    assert restores.databases() == ["app"]
    assert "replaced" not in await world.status(world.database_key())

    await world.annotate(world.database_key(), undo_restore=run)
    await restores.settle()
    assert await world.reason(world.database_key()) == "RestoreExpired"
    assert restores.count() == 1000


@scenario
async def test_a_deleted_database_takes_along_what_restores_have_left(restores: Restores) -> None:
    world = restores.world
    await restores.app()
    await restores.backed_up()
    await restores.restored(onConflict="drop")
    await world.delete(world.database_key(), world.user_key(), world.user_key("maker"))
    await restores.settle()
    assert world.left() == []


@scenario
async def test_protection_refuses_whatever_would_replace_something(restores: Restores) -> None:
    world = restores.world
    await restores.app(deletionProtection=True)
    await restores.backed_up()
    await restores.as_maker("DELETE FROM orders WHERE id > 10")
    for way in ("drop", "overwrite"):
        status = await restores.restored(f"by-{way}", onConflict=way)
        assert (status["phase"], await restores.restore_reason(f"by-{way}")) == ("Failed", "DeletionProtected")
    assert restores.count() == 10
    await world.delete(restore_key("by-drop"), restore_key("by-overwrite"))
    await restores.settle()


@scenario
async def test_a_restore_that_was_done_is_not_done_again_for_a_resource_made_again(restores: Restores) -> None:
    world = restores.world
    await restores.app()
    await restores.backed_up()
    first = await restores.restored(onConflict="drop")
    await restores.as_maker("INSERT INTO orders VALUES (5000, 'since then')")
    await world.delete(restore_key())
    await restores.settle()
    again = await restores.restored(onConflict="drop")
    assert (again["phase"], again["runId"]) == ("Completed", first["runId"])
    assert await restores.restore_reason() == "AlreadyRestored"
    assert restores.count() == 1001

    await world.annotate(restore_key(), run_again="1")
    await restores.settle()
    third = await restores.restore_status()
    assert (third["phase"], await restores.restore_reason()) == ("Completed", "Completed")
    assert third["runId"] != first["runId"]
    assert restores.count() == 1000
