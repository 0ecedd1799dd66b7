"""From manifests to working logins, whatever the order, and nothing more to do afterwards."""

from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest
from tests.controllers.world import SETTINGS, World, both_stores, scenario
from tests.controllers.wrappers import CountingStore, Keeping, is_write

from dbtether.controllers.engine import opened_engine


async def apply_readme(world: World) -> None:
    """The README's own manifests, and one user of each further level."""
    await world.cluster()
    await world.database(databaseName=world.named(), extensions=["pg_trgm"], deletionPolicy="Delete")
    for level in ("readonly", "readwrite", "admin"):
        await world.user(level, privileges=level)


@both_stores
@scenario
async def test_the_forms_of_the_readme_become_ready_and_work_and_go_without_a_trace(world: World) -> None:
    await apply_readme(world)
    await world.settled_and_ready()
    database, user = await world.status(world.database_key()), await world.status(world.user_key("readonly"))
    assert database["databaseName"] == world.named()
    assert database["extensions"][0]["name"] == "pg_trgm"
    assert user["username"] == world.login("readonly")
    assert user["privilegesSummary"] == "readonly"
    assert user["databasesSummary"] == world.database_key().name
    assert user["secretName"] == f"{world.login('readonly')}-credentials"
    assert user["loginVerified"] is True
    for level in ("readonly", "readwrite", "admin"):
        assert await world.login_works(level)
    await world.delete(*[resource.key for resource in await world.everything()])
    await world.settle()
    await world.assert_nothing_left()


@scenario
async def test_what_was_planned_is_what_is_run_and_then_nothing_is_left_to_plan(world: World) -> None:
    await apply_readme(world)
    before = world.admin.server.mark()
    planned = await world.plan()
    assert [resource.status for resource in await world.everything()] == [{}] * 5
    assert len(await world.store.list_secrets()) == 1
    written = [text for text in world.admin.server.statements_since(before) if is_write(text)]
    assert written == []

    executor = Keeping()
    await world.settle(executor=executor)
    await world.assert_ready()
    assert {key: [s.text for s in p.statements] for key, p in planned.items()} == executor.run_by_key()
    assert await world.plan() == {}


@pytest.mark.majors(15, 18)
@scenario
async def test_what_is_planned_for_a_deletion_is_what_is_run(world: World) -> None:
    await apply_readme(world)
    await world.settle()
    await world.delete(world.user_key("admin"))
    planned = await world.plan()
    executor = Keeping()
    await world.settle(executor=executor)
    assert {key: [s.text for s in p.statements] for key, p in planned.items()} == executor.run_by_key()


@scenario
async def test_a_second_pass_writes_nothing_anywhere(world: World) -> None:
    await apply_readme(world)
    await world.settle()
    counting = CountingStore(world.store)
    mark = world.admin.server.mark()
    await world.settle(store=counting)
    assert counting.writes == []
    sent = world.admin.server.statements_since(mark)
    assert [text for text in sent if is_write(text)] == []


@pytest.mark.majors(15, 18)
@scenario
async def test_a_second_pass_takes_at_most_three_round_trips_a_database(world: World) -> None:
    await apply_readme(world)
    await world.settle()
    async with opened_engine(world.store, settings=SETTINGS) as engine:
        await engine.loop.run_until_settled(20)
        (server,) = engine.world.servers.opened().values()
        before = server.pool.usage.uses
        engine.loop.wake(world.database_key())
        for level in ("readonly", "readwrite", "admin"):
            engine.loop.wake(world.user_key(level))
        await engine.loop.run_until_settled(20)
        assert server.pool.usage.uses - before <= 3


# The Secret comes first in half of them, last in the others.
_ORDERS = [
    ("secret", *order) if number % 2 else (*order, "secret")
    for number, order in enumerate(permutations(("cluster", "database", "user")))
]


@pytest.mark.majors(18)
@pytest.mark.parametrize("order", _ORDERS, ids="-".join)
@scenario
async def test_resources_may_come_in_any_order(world: World, order: tuple[str, ...]) -> None:
    """Each is woken by what it waited for: one engine, nothing but changes of the store."""
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "cluster": world.cluster_without_secret,
        "secret": world.admin_secret,
        "database": world.database,
        "user": world.user,
    }
    async with opened_engine(world.store, settings=SETTINGS) as engine:
        for step in order:
            await steps[step]()
            await engine.loop.run_until_settled(20)
    await world.assert_ready()
    assert await world.login_works()
