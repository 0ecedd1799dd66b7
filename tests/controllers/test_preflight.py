"""What the admin lacks is told with the statement that cures it; what needs it waits and then goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.controllers.world import SETTINGS, World, condition, phase, scenario

from dbtether.api.resource import Key
from dbtether.controllers.engine import Engine, opened_engine

PASSWORD = "Correct7Horse"


@contextmanager
def doors_open_afterwards(world: World) -> Iterator[None]:
    """The maintenance databases are shared with other tests."""
    try:
        yield
    finally:
        world.execute("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")


def run_as_dba(world: World, statement: str) -> None:
    with world.admin.server.connect() as connection:
        connection.execute(statement.encode())


async def missing(world: World) -> dict[str, dict[str, str]]:
    found = (await world.status(world.cluster_key)).get("missingPrivileges", ())
    return {entry["privilege"]: dict(entry) for entry in found}


async def with_new_admin(world: World, attributes: str = "") -> str:
    """The DBCluster's Secret names another login from now on."""
    name = f'{world.unique} new"admin'
    quoted = name.replace('"', '""')
    run_as_dba(world, f"CREATE ROLE \"{quoted}\" LOGIN {attributes} PASSWORD '{PASSWORD}'")
    await world.admin_secret(username=name.encode(), password=PASSWORD.encode())
    return name


@pytest.mark.majors(13, 15, 16, 18)
@scenario
async def test_every_entry_vanishes_when_a_dba_has_run_its_statement(world: World) -> None:
    """The admin's login was replaced by one without any right; a superuser hears the advice alone."""
    await world.cluster()
    await world.database()
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    if not world.admin.is_superuser:
        await with_new_admin(world)
    expected = ["CONNECT on postgres left to PUBLIC", "CONNECT on template1 left to PUBLIC"]
    if not world.admin.is_superuser:
        is_new = world.admin.server.major >= 16
        owner = f"dbtether_{world.named()}_owner"
        required = ["CREATEROLE", "CREATEDB", *([f"ADMIN on {owner}"] if is_new else [])]
        expected = [*required, *(["pg_signal_backend"] if is_new else []), *expected]
    with doors_open_afterwards(world):
        await world.settle()
        assert list(await missing(world)) == expected
        while left := await missing(world):
            name, entry = next(iter(left.items()))
            is_advice = "PUBLIC" in name or name == "pg_signal_backend"
            assert entry["severity"] == ("Advice" if is_advice else "Required")
            assert (await world.status(world.cluster_key))["missingPrivilegesCount"] == len(left)
            run_as_dba(world, entry["statement"])
            await world.settle()
            assert name not in await missing(world)
        assert (await world.status(world.cluster_key))["message"].count("lacks") == 0
        # And it was all that is needed: for what was there, for something new, and for the end of both.
        await world.database("second")
        await world.user("second", databaseRef=world.ref("second"))
        await world.settled_and_ready()
        assert await world.login_works("maker")
        assert not world.works(world.login("maker"), await world.password("maker"), "postgres")
        await world.delete(*[resource.key for resource in await world.everything() if resource.key.namespace])
        await world.settle()
        assert [name for name in world.left() if "admin" not in name] == []


@pytest.mark.majors(16, 18)
@scenario
async def test_roles_that_a_superuser_made_are_named_for_a_lesser_admin(world: World) -> None:
    """Groups and logins too: nobody but their creator has ADMIN on them. The rest is counted."""
    if not world.admin.is_superuser:
        pytest.skip("the roles are a superuser's here")
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    run_as_dba(
        world,
        f"DO $$ BEGIN FOR n IN 1..60 LOOP EXECUTE format('CREATE ROLE %I', '{world.unique}_' || n); EXECUTE format("
        f"'COMMENT ON ROLE %I IS %L', '{world.unique}_' || n, 'dbtether:team/u' || n || '@test'); END LOOP; END $$",
    )
    run_as_dba(world, f"CREATE ROLE {world.unique}_foreign; COMMENT ON ROLE {world.unique}_foreign IS 'dbtether:a/b@c'")
    await with_new_admin(world, "CREATEROLE CREATEDB")
    await world.settle()
    prefix = f"dbtether_{world.named()}"
    wanted = [f"{prefix}_owner", f"{prefix}_admin", f"{prefix}_readonly", f"{prefix}_readwrite", world.login()]
    status = await world.status(world.cluster_key)
    assert len(status["missingPrivileges"]) == 50
    assert status["missingPrivilegesCount"] == len(wanted) + 60 + 3
    assert f"and {len(wanted) + 60 - 2} more" in status["message"]
    seen = set[str]()
    while required := {
        name: entry for name, entry in (await missing(world)).items() if entry["severity"] == "Required"
    }:
        assert not seen & set(required), "each statement cures its entry"
        seen |= set(required)
        for entry in required.values():
            run_as_dba(world, entry["statement"])
        await world.settle()
    assert seen == {f"ADMIN on {name}" for name in (*wanted, *(f"{world.unique}_{n}" for n in range(1, 61)))}
    await world.assert_ready()
    assert await world.plan() == {}


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[tuple[Engine, Callable[[Key], int]]]:
    """An engine that polls nothing, and how often each key was reconciled."""
    counted: dict[Key, int] = {}

    def count(key: Key, *_: Any) -> None:
        counted[key] = counted.get(key, 0) + 1

    settings = replace(SETTINGS, blocked_again_seconds=None)
    async with opened_engine(world.store, settings=settings, on_outcome=count) as engine:
        await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
        forever = asyncio.create_task(engine.loop.run_forever())
        try:
            yield engine, lambda key: counted.get(key, 0)
        finally:
            forever.cancel()
            await asyncio.gather(forever, return_exceptions=True)


async def until_ready(world: World, *keys: Key) -> None:
    async with asyncio.timeout(20):
        while not all([phase(await world.get(key)) == "Ready" for key in keys]):
            await asyncio.sleep(0.02)


@pytest.mark.majors(15, 18)
@scenario
async def test_blocked_work_is_left_alone_until_the_check_sees_that_it_may_go_on(world: World) -> None:
    if world.admin.is_superuser:
        pytest.skip("a superuser lacks nothing")
    database, user = world.database_key(), world.user_key()
    name = await with_new_admin(world, "CREATEDB")
    await world.cluster_without_secret()
    await world.database()
    await world.user()
    async with watched(world) as (_, reconciles):
        assert await world.reason(database) == "MissingPrivileges"
        assert condition(await world.get(database), "Stalled") is not None
        entry = (await missing(world))["CREATEROLE"]
        assert entry["statement"] in (await world.status(database))["message"]
        before = reconciles(database), reconciles(user)
        await world.annotate(world.cluster_key, reconcile="1")
        await asyncio.sleep(1)
        assert (reconciles(database), reconciles(user)) <= (before[0] + 1, before[1] + 1)
        assert before[0] <= 3

        run_as_dba(world, entry["statement"])
        await world.annotate(world.cluster_key, reconcile="2")
        await until_ready(world, database, user)
        assert "CREATEROLE" not in await missing(world)
    assert name in world.left()


@pytest.mark.majors(16, 18)
@scenario
async def test_a_user_whose_login_the_admin_lost_goes_on_when_it_is_given_back(world: World) -> None:
    if world.admin.is_superuser:
        pytest.skip("a superuser rules every role")
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    world.execute("REVOKE {} FROM {}", world.login(), f"dbtether_{world.named()}_owner")
    await world.change(world.user_key(), connectionLimit=3)
    async with watched(world) as (_, reconciles):
        assert await world.reason(world.user_key()) == "MissingPrivileges"
        entry = (await missing(world))[f"ADMIN on {world.login()}"]
        assert entry["statement"] in (await world.status(world.user_key()))["message"]
        before = reconciles(world.user_key())
        await asyncio.sleep(0.6)
        assert reconciles(world.user_key()) == before <= 3
        run_as_dba(world, entry["statement"])
        await world.annotate(world.cluster_key, reconcile="1")
        await until_ready(world, world.user_key())
    await world.delete(world.user_key(), world.database_key())
    await world.settle()
    assert world.left() == []


@pytest.mark.majors(15, 18)
@scenario
async def test_a_session_that_the_admin_may_not_end_is_named_with_what_lets_it(world: World) -> None:
    """Before 16 the admin makes itself a member of whomever it must end."""
    await world.cluster()
    await world.database()
    await world.settled_and_ready()
    stranger = f"{world.unique}_stranger"
    run_as_dba(world, f"CREATE ROLE {stranger} LOGIN PASSWORD '{PASSWORD}'")
    world.execute("GRANT CONNECT ON DATABASE {} TO {}", world.named(), stranger)
    with psycopg.connect(world.admin.server.dsn(stranger, PASSWORD, world.named())):
        await world.delete(world.database_key())
        await world.settle()
        if not world.admin.is_superuser and world.admin.server.major >= 16:
            assert await world.reason(world.database_key()) == "MissingPrivileges"
            entry = (await missing(world))["pg_signal_backend"]
            assert entry["statement"] in (await world.status(world.database_key()))["message"]
            try:
                run_as_dba(world, entry["statement"])
                await world.settle()
                assert "pg_signal_backend" not in await missing(world)
            finally:
                world.execute("REVOKE pg_signal_backend FROM {}", world.admin.user)
        assert await world.is_gone(world.database_key())
    assert world.left() == [stranger]


@pytest.mark.majors(13, 14, 15)
@scenario
async def test_a_schema_public_that_the_admin_cannot_close_is_told_until_a_dba_has_closed_it(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    message = str((await world.status(world.database_key()))["message"])
    if world.admin.is_superuser or world.admin.server.major >= 15:
        assert "may create in schema public" not in message
    else:
        _, _, statements = message.partition(f"in database {world.named()}, ")
        assert statements.startswith("REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT ")
        with world.admin.server.connect(dbname=world.named()) as connection:
            connection.execute(statements.encode())
        await world.settle()
        assert (await world.status(world.database_key()))["message"] == f"Database {world.named()} is ready"
    assert not world.works(world.login(), await world.password(), world.named(), "CREATE TABLE public.mine ()")
    assert world.works(world.login("maker"), await world.password("maker"), world.named(), "CREATE TABLE public.t ()")
    assert world.works(world.login(), await world.password(), world.named(), "SELECT * FROM public.t")


@pytest.mark.majors(18)
@scenario
async def test_a_check_asks_once_for_what_is_missing_and_writes_nothing_when_nothing_changed(world: World) -> None:
    await world.cluster()
    await world.settled_and_ready()
    version = (await world.get(world.cluster_key)).resource_version
    async with watched(world) as (engine, reconciles):
        mark, before = world.admin.server.mark(), reconciles(world.cluster_key)
        engine.loop.wake(world.cluster_key)
        async with asyncio.timeout(10):
            while reconciles(world.cluster_key) == before:
                await asyncio.sleep(0.02)
        asked = world.admin.server.statements_since(mark, f"dbtether: {world.cluster_key}")
    # However many roles there are; beside it the version is asked for, and which marked roles nobody needs.
    assert len([text for text in asked if "'door'" in text]) == 1
    assert len(asked) <= 3
    assert (await world.get(world.cluster_key)).resource_version == version
