"""A resync: one picture of the server for all that is settled, and what it finds is acted on as it is then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from tests.controllers.world import CLUSTER, SETTINGS, World, condition, scenario

from dbtether.controllers.engine import Engine, opened_engine

pytestmark = pytest.mark.majors(18)

_USERS = 24


@asynccontextmanager
async def resyncing(world: World, seconds: float, jitter: float = 0.0) -> AsyncIterator[Engine]:
    """An engine that has settled and then looks at everything again and again."""
    settings = replace(SETTINGS, resync_seconds=seconds, resync_jitter=jitter)
    async with opened_engine(
        world.store,
        settings=settings,
        on_outcome=lambda key, label, error, _: world.outcomes.append((key, label, error)),
    ) as engine:
        await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
        running = asyncio.create_task(engine.loop.run_forever())
        try:
            yield engine
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    for _ in range(600):
        if await check():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"never: {what}")


async def looked_at(world: World, times: int) -> None:
    """Wait until every user was looked at so often."""

    async def enough() -> bool:
        users = [key for key, _, _ in world.outcomes if key.kind == "DatabaseUser"]
        return len(users) >= times * _USERS and min(map(users.count, set(users))) >= times

    world.outcomes.clear()
    await until(enough, "a resync")


async def settled_users(world: World) -> None:
    await world.cluster()
    await world.database()
    for number in range(_USERS):
        await world.user(f"u{number}")
    await world.settled_and_ready()


@scenario
async def test_a_few_pictures_serve_every_user_of_a_settled_server(world: World) -> None:
    await settled_users(world)
    # Spread over two seconds by the jitter, with pictures that may be half a second old.
    async with resyncing(world, 10.0, 0.2) as engine:
        server = engine.world.servers.opened()[CLUSTER]
        before, mark = server.catalog_queries, world.admin.server.mark()
        await looked_at(world, 1)
        assert server.catalog_queries - before <= 5
        texts = world.admin.server.statements_since(mark)
    assert not [text for text in texts if text.startswith(("ALTER", "CREATE", "DROP", "GRANT", "REVOKE", "COMMENT"))]


@scenario
async def test_what_was_changed_by_hand_is_found_and_undone(world: World) -> None:
    await settled_users(world)
    async with resyncing(world, 0.5):
        await looked_at(world, 1)
        world.execute("ALTER ROLE {} CONNECTION LIMIT 7", world.login("u3"))
        world.execute("REVOKE {} FROM {}", f"dbtether_{world.named()}_readonly", world.login("u4"))

        async def repaired() -> bool:
            limits = world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login("u3"))
            return limits == [(-1,)] and await world.login_works("u4")

        await until(repaired, "repaired")


@scenario
async def test_a_login_that_is_gone_comes_back(world: World) -> None:
    await settled_users(world)
    async with resyncing(world, 0.5):
        world.execute("DROP ROLE {}", world.login("u5"))
        await until(lambda: world.login_works("u5"), "the login is there again")
    assert condition(await world.get(world.user_key("u5"))) is not None


@scenario
async def test_what_this_process_has_just_changed_is_never_taken_from_an_older_picture(world: World) -> None:
    await settled_users(world)
    async with resyncing(world, 2.0) as engine:
        await looked_at(world, 1)
        await world.change(world.user_key("u1"), connectionLimit=5)

        async def applied() -> bool:
            return world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login("u1")) == [(5,)]

        await until(applied, "applied")
        mark = world.admin.server.mark()
        await looked_at(world, 1)
        del engine
        texts = world.admin.server.statements_since(mark)
    assert not [text for text in texts if text.startswith("ALTER ROLE")], "the older limit was never seen again"
    await world.assert_ready()
