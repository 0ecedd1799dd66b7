"""A DBCluster that is being deleted is looked after as long as something needs it, so that this can go."""

import pytest
from tests.controllers.world import PLATFORM, World, phase, reason_of, scenario

pytestmark = pytest.mark.majors(18)


async def apply_all(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()


async def delete_all(world: World) -> None:
    await world.delete(*[resource.key for resource in await world.everything()])


@scenario
async def test_what_is_deleted_while_the_server_is_away_goes_once_it_is_back(fresh: World) -> None:
    world = fresh
    await apply_all(world)
    await world.settled_and_ready()
    world.admin.server.stop()
    async with world.running() as engine:
        await world.annotate(world.cluster_key, reconcile="1")
        await engine.loop.run_until_settled(2)
        await delete_all(world)
        await engine.loop.run_until_settled(2)
        cluster = await world.get(world.cluster_key)
        assert (phase(cluster), reason_of(cluster)) == ("Failed", "ConnectionFailed")
        assert str(world.database_key()) in cluster.status["message"]
        world.admin.server.start()
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@scenario
async def test_what_is_deleted_together_with_the_admins_secret_goes(world: World) -> None:
    await apply_all(world)
    async with world.running() as engine:
        await engine.loop.run_until_settled(20)
        await world.store.delete_secret(await world.secret("admin", PLATFORM))
        await engine.loop.run_until_settled(20)
        assert await world.reason(world.cluster_key) == "SecretNotFound"
        await delete_all(world)
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@scenario
async def test_a_missing_secret_takes_the_server_away_from_a_cluster_that_stays(world: World) -> None:
    await apply_all(world)
    async with world.running() as engine:
        await engine.loop.run_until_settled(20)
        await world.store.delete_secret(await world.secret("admin", PLATFORM))
        await world.delete(world.user_key(), world.database_key())
        await engine.loop.run_until_settled(5)
        assert {world.named(), world.login()} <= set(world.left())
        await world.admin_secret()
        await engine.loop.run_until_settled(20)
        await world.delete(world.cluster_key)
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@scenario
async def test_after_a_restart_the_admins_secret_is_asked_for_and_taken_when_it_is_back(world: World) -> None:
    await apply_all(world)
    await world.settled_and_ready()
    await world.store.delete_secret(await world.secret("admin", PLATFORM))
    await delete_all(world)
    async with world.running() as engine:
        await engine.loop.run_until_settled(5)
        cluster = await world.get(world.cluster_key)
        assert (phase(cluster), reason_of(cluster)) == ("Failed", "SecretNotFound")
        assert f"Secret {PLATFORM}/admin does not exist" in cluster.status["message"]
        await world.admin_secret()
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@scenario
async def test_what_was_last_used_is_not_used_for_another_endpoint(world: World) -> None:
    await apply_all(world)
    async with world.running() as engine:
        await engine.loop.run_until_settled(20)
        await world.store.delete_secret(await world.secret("admin", PLATFORM))
        await world.change(world.cluster_key, endpoint="localhost")
        await delete_all(world)
        await engine.loop.run_until_settled(5)
        assert await world.reason(world.cluster_key) == "SecretNotFound"
        assert {world.named(), world.login()} <= set(world.left())
