"""What people do by hand on the server and to Secrets: mended, or refused with what to do; never made worse."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg
import pytest
from tests.controllers.world import SETTINGS, World, scenario

from dbtether.api.resource import Key, Owner
from dbtether.controllers.engine import opened_engine
from dbtether.postgres.connection import ConnectParameters
from dbtether.runtime.outcomes import OutcomeLabel
from dbtether.runtime.overlay import MemoryStore


@dataclass(frozen=True, slots=True)
class Deed:
    """SQL of a superuser, with the places that `_names` fills; run in the user's database."""

    sql: Sequence[str]
    reason: str = "Ready"
    """What the user's resource says afterwards; after Ready everything works as before."""


DEEDS = {
    "the login was dropped": Deed(("DROP OWNED BY {login}", "DROP ROLE {login}")),
    "its password was changed": Deed(("ALTER ROLE {login} PASSWORD 'Wrong9Horse'",)),
    "its password was removed": Deed(("ALTER ROLE {login} PASSWORD NULL",)),
    "it was locked": Deed(("ALTER ROLE {login} NOLOGIN CONNECTION LIMIT 0 VALID UNTIL '2001-01-01'",)),
    "it was made more powerful": Deed(("ALTER ROLE {login} CREATEROLE INHERIT",)),
    "it was thrown out of its group": Deed(("REVOKE {group} FROM {login}{by}",)),
    "its settings were changed": Deed(
        ("ALTER ROLE {login} SET role = 'none'", "ALTER ROLE {login} IN DATABASE {db} RESET ALL")
    ),
    "it was given the database": Deed(("GRANT CREATE ON DATABASE {db} TO {login}",)),
    "its comment was removed": Deed(("COMMENT ON ROLE {login} IS NULL",), "RoleNotOurs"),
    "its comment became another's": Deed(("COMMENT ON ROLE {login} IS 'dbtether:other/x@test'",), "RoleNotOurs"),
    "its group was locked out": Deed(("REVOKE CONNECT ON DATABASE {db} FROM {group}",)),
    "its group lost a table": Deed(("REVOKE ALL ON public.t FROM {group}",)),
}


@pytest.mark.majors(13, 18)
@scenario
async def test_what_was_done_to_a_login_is_mended_or_refused(world: World) -> None:
    """One world for all: each deed is followed by a new look at everything."""
    await world.cluster()
    await world.database()
    await world.user(privileges="readwrite")
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    with world.logged_in(world.login("maker"), await world.password("maker"), world.named()) as connection:
        connection.execute("CREATE TABLE public.t ()")
    owner, group = f"dbtether_{world.named()}_owner", f"dbtether_{world.named()}_readwrite"
    # On 16+ a lesser admin's grants are the owner role's; a superuser names the grantor to undo them.
    by_owner = f" GRANTED BY {owner}" if world.admin.server.major >= 16 and not world.admin.is_superuser else ""
    marker = f"dbtether:team/{world.user_key().name}@test"
    for name, deed in DEEDS.items():
        for text in deed.sql:
            places = {"login": f'"{world.login()}"', "db": world.named(), "group": group, "by": by_owner}
            with world.admin.server.connect(dbname=world.named()) as connection:
                connection.execute(text.format(**places).encode())
        await world.settle()
        assert await world.reason(world.user_key()) == deed.reason, (name, await world.status(world.user_key()))
        if deed.reason == "RoleNotOurs":
            world.execute("COMMENT ON ROLE {} IS '" + marker + "'", world.login())
            await world.settle()
        await world.assert_ready()
        password = await world.password()
        assert world.works(world.login(), password, world.named(), "DELETE FROM public.t"), name
        assert not world.works(world.login(), password, world.named(), "CREATE SCHEMA mine"), name
        assert await world.plan() == {}, name


@pytest.mark.majors(13, 18)
@scenario
async def test_a_connection_limit_that_keeps_the_admin_out_is_lifted_from_outside(world: World) -> None:
    """Its owner can set one, and take the only place that is left."""
    await world.cluster()
    await world.database(owner=world.login())
    await world.user(privileges="admin")
    await world.settled_and_ready()
    with world.logged_in(world.login(), await world.password(), world.named()) as connection:
        for limit in (0, 1):
            world.execute(f"ALTER DATABASE {{}} CONNECTION LIMIT {limit}", world.named())
            connection.execute(f"CREATE TABLE made_under_{limit} ()")
            await world.settled_and_ready()
            assert world.rows("SELECT datconnlimit FROM pg_database WHERE datname = %s", world.named()) == [(-1,)]
            assert await world.plan() == {}


@pytest.mark.majors(18)
@scenario
async def test_a_limit_under_which_only_a_superuser_could_work_is_refused_to_others(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.settled_and_ready()
    await world.change(world.database_key(), connectionLimit=0)
    await world.settle()
    if world.admin.is_superuser:
        await world.assert_ready(world.database_key())
        return
    assert await world.reason(world.database_key()) == "MissingPrivileges"
    assert "give at least 1" in str((await world.status(world.database_key()))["message"])
    await world.change(world.database_key(), connectionLimit=3)
    await world.settled_and_ready()


@pytest.mark.majors(13, 18)
@scenario
async def test_a_database_renamed_by_hand_is_neither_made_anew_nor_forgotten(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    with world.logged_in(world.login("maker"), await world.password("maker"), world.named()) as connection:
        connection.execute("CREATE TABLE t ()")
    world.execute("ALTER DATABASE {} RENAME TO {}", world.named(), world.named("moved"))
    key = world.database_key()
    for deletes in (False, True):
        if deletes:
            await world.delete(key)
        await world.settle()
        assert await world.reason(key) == "DatabaseRenamed"
        assert world.named() not in world.left()
    _, _, cure = str((await world.status(key))["message"]).partition("must run ")
    with world.admin.server.connect() as connection:
        connection.execute(cure.encode())
    await world.settle()
    assert await world.is_gone(key)
    assert world.named() not in world.left()


@scenario
@pytest.mark.majors(18)
async def test_a_secret_that_another_takes_over_is_left_to_it(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    taken = await world.credentials()
    await world.store.write_secret(replace(taken, owner=Owner("Deployment", "web", "u-1"), data={"mine": b"1"}))
    await world.settle()
    assert await world.reason(world.user_key()) == "SecretConflict"
    assert (await world.credentials()).data == {"mine": b"1"}
    await world.delete(world.user_key())
    await world.settle()
    assert await world.is_gone(world.user_key())
    assert (await world.credentials()).data == {"mine": b"1"}


@pytest.mark.majors(13, 18)
@scenario
async def test_an_open_session_loses_its_rights_with_the_login(world: World) -> None:
    """Lowered, an admin's session ends, since it would keep its group; another's goes on with less."""
    await world.cluster()
    await world.database()
    await world.user(privileges="readwrite")
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    passwords = {name: await world.password(name) for name in ("reader", "maker")}
    with (
        world.logged_in(world.login(), passwords["reader"], world.named()) as writer,
        world.logged_in(world.login("maker"), passwords["maker"], world.named()) as maker,
    ):
        maker.execute("CREATE TABLE public.t ()")
        writer.execute("DELETE FROM public.t")
        await world.change(world.user_key(), privileges="readonly")
        await world.change(world.user_key("maker"), privileges="readonly")
        await world.settled_and_ready()
        writer.execute("SELECT * FROM public.t")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("DELETE FROM public.t")
        with pytest.raises(psycopg.OperationalError):
            maker.execute("SELECT 1")
        await world.delete(world.user_key())
        await world.settle()
        with pytest.raises(psycopg.Error):
            writer.execute("SELECT * FROM public.t")


@pytest.mark.majors(15, 18)
@scenario
async def test_readers_behind_a_lock_that_is_waited_for_wait_no_longer_than_its_time_out(world: World) -> None:
    """A table changes its owner with the end of a login: behind somebody's open SELECT all new readers wait for us."""
    lock_timeout_seconds = ConnectParameters("", 0, "", "").lock_timeout_seconds
    await world.cluster()
    await world.database()
    await world.user()
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()
    password = await world.password("maker")
    with (
        world.logged_in(world.login("maker"), password, world.named()) as holder,
        world.logged_in(world.login("maker"), password, world.named()) as reader,
    ):
        holder.execute("CREATE TABLE public.t ()")
        world.execute("ALTER TABLE public.t OWNER TO {}", world.login(), dbname=world.named())
        world.execute("GRANT SELECT ON public.t TO {}", f"dbtether_{world.named()}_admin", dbname=world.named())
        holder.execute("BEGIN; SELECT * FROM public.t")
        waits: list[float] = []

        async def read() -> None:
            while True:
                started = time.perf_counter()
                await asyncio.to_thread(reader.execute, "SELECT * FROM public.t")
                waits.append(time.perf_counter() - started)
                await asyncio.sleep(0.01)

        reading = asyncio.create_task(read())
        await world.delete(world.user_key())
        await world.settle(seconds=lock_timeout_seconds + 2)
        assert await world.reason(world.user_key()) == "LockNotAvailable"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        # They did wait for us, and got on as soon as we gave up.
        assert lock_timeout_seconds / 2 < max(waits) < lock_timeout_seconds + 1
        holder.execute("COMMIT")
    await world.settle()
    assert await world.is_gone(world.user_key())
    assert world.rows("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'", dbname=world.named()) == [
        (f"dbtether_{world.named()}_admin",)
    ]


@pytest.mark.majors(13, 16, 18)
@scenario
async def test_two_installations_at_work_on_one_server_both_end(world: World) -> None:
    """They share the catalogs, and the lock before them: nobody fails with `tuple concurrently updated`."""
    other = World(world.admin, f"{world.unique}b", MemoryStore(installation="other"))
    for one in (world, other):
        await one.cluster()
        for name in ("one", "two", "three"):
            await one.database(name)
            for level in ("readonly", "admin"):
                await one.user(f"{name}-{level}", databaseRef=one.ref(name), privileges=level)
    assert await at_once(world, other) == []
    await world.assert_ready()
    await other.assert_ready()
    for one in (world, other):
        await one.delete(*[resource.key for resource in await one.everything() if resource.key.namespace])
    assert await at_once(world, other) == []
    assert world.left() == []


async def at_once(*worlds: World) -> list[str]:
    """Let an engine work in each; what failed on the way because of the other."""
    failed: list[str] = []

    def listen(key: Key, _: OutcomeLabel, error: BaseException | None, __: float) -> None:
        if error is not None and ("concurrently" in str(error) or "duplicate key" in str(error)):
            failed.append(f"{key}: {error}")

    async def work(one: World) -> None:
        async with opened_engine(one.store, settings=SETTINGS, on_outcome=listen) as engine:
            await engine.loop.run_until_settled(60, retry_horizon_seconds=1)

    await asyncio.gather(*(work(one) for one in worlds))
    return failed
