"""A server that is busy, full, locked or gone: what is raised, what stays, and that nothing is left dirty."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql
from tests.postgres.core import (
    desired_database,
    desired_login,
    drop_database,
    execute,
    left_of,
    make_database,
    make_login,
    opened,
    parameters,
    plan_database,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers import server as private_server
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import statement

_HOLD_LOCK = "SELECT pg_advisory_lock(1684173925, 1)"


def test_a_held_advisory_lock_is_waited_for_and_then_tried_again_later(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        with admin.server.connect() as holder:
            holder.execute(_HOLD_LOCK)
            with pytest.raises(Retryable) as refused:
                await make_database(server, database)
            assert refused.value.reason == "LockNotAvailable"
            assert left_of(admin, unique) == []
        await settle_database(server, database)

    run(admin, scenario, lock_timeout_seconds=0.2)


def test_open_ddl_of_a_tenant_holds_nobody_else_up(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        names = role_names(database.name)
        admins, readonly = names.groups[Group.ADMIN], names.groups[Group.READONLY]
        execute(
            admin, "SET ROLE {}; CREATE TABLE public.t (); CREATE TABLE public.free ()", admins, dbname=database.name
        )
        execute(admin, "REVOKE ALL ON public.t, public.free FROM {}", readonly, dbname=database.name)
        with psycopg.connect(admin.server.dsn(dbname=database.name)) as ddl:
            ddl.execute("ALTER TABLE public.t ADD x int")
            work = asyncio.create_task(make_database(server, database))
            await asyncio.sleep(0.1)
            with admin.server.connect(dbname=database.name) as reader:
                reader.execute("SET lock_timeout = '1s'; SELECT * FROM public.free")
                reader.execute("GRANT SELECT ON public.free TO pg_monitor")
            with pytest.raises(Retryable) as refused:
                await work
            assert refused.value.reason == "LockNotAvailable"
            ddl.rollback()
        await settle_database(server, database)

    run(admin, scenario, lock_timeout_seconds=0.3)


def test_connection_slots_used_up_are_retried(admin: Admin, unique: str) -> None:
    """Of a database, for everybody but superusers; reserved slots give the same SQLSTATE."""
    name = f"{unique}_limited"
    with admin.server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE CONNECTION LIMIT 0 PASSWORD 'Correct7Horse'").format(
                sql.Identifier(name)
            )
        )

    async def main() -> None:
        with pytest.raises(Retryable) as refused:
            async with opened(Admin(admin.server, name, "Correct7Horse", is_superuser=False)):
                pass
        assert refused.value.reason == "TooManyConnections"

    asyncio.run(main())


def test_the_pool_never_has_more_connections_than_its_limit(admin: Admin, unique: str) -> None:
    most = 0

    async def scenario(server: Server) -> None:
        nonlocal most
        names = [f"{unique}_{number}" for number in range(3)]
        for name in names:
            await settle_database(server, desired_database(name))

        async def use(number: int) -> None:
            nonlocal most
            async with server.pool.connection(names[number % 3]) as connection:
                most = max(most, server.pool.open_connections)
                await connection.execute("SELECT pg_sleep(0.001)")
                if number % 7 == 0:
                    raise RuntimeError

        await asyncio.gather(*(use(number) for number in range(60)), return_exceptions=True)
        assert 1 <= most <= 2
        assert server.pool.open_connections <= 2
        await server.pool.close_idle(0)
        assert server.pool.open_connections == 0

    run(admin, scenario, limit=2)


@pytest.mark.majors(16)
def test_a_cancelled_apply_gives_its_slot_back_and_no_dirty_connection(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        sleep = statement("Sleep", "postgres", "SELECT pg_catalog.pg_sleep(30)")
        role = statement("Leave a trace", "postgres", "SET LOCAL work_mem TO '77MB'")
        alone = statement("Sleep alone", "postgres", "SELECT pg_catalog.pg_sleep(30)", transactional=False)
        for plan in ((role, sleep), (alone,)):
            for _ in range(3):
                task = asyncio.create_task(server.apply(plan, "test"))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        async with server.pool.connection("postgres") as connection:
            row = await (await connection.execute("SELECT current_setting('work_mem'), current_user")).fetchone()
            assert row == ("4MB", admin.user)
        assert server.pool.open_connections <= 1
        # The server was told to stop as well: nothing runs on for nobody.
        busy = "SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()"
        for _ in range(100):
            if not rows(admin, busy, "%pg_sleep(30)%"):
                break
            await asyncio.sleep(0.02)
        assert rows(admin, busy, "%pg_sleep(30)%") == []

    run(admin, scenario, limit=1)


@pytest.mark.majors(16)
def test_a_cancelled_caller_leaves_the_others_their_answer(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        first = asyncio.create_task(server.shared([admin.user]))
        await asyncio.sleep(0)
        second = asyncio.create_task(server.shared(["postgres"]))
        third = asyncio.create_task(server.shared(["postgres", f"{unique}_none"]))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        assert set((await third).roles) >= {"postgres"}
        with pytest.raises(asyncio.CancelledError):
            await first
        assert set((await server.shared([admin.user])).roles) == {admin.user}

    run(admin, scenario)


def test_one_failing_writer_does_not_spoil_those_it_is_sent_with(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        def create(number: int) -> list[object]:
            name = sql.Identifier("postgres" if number == 3 else f"{unique}_{number}")
            return [statement("Create", "", "CREATE ROLE {name}", name=name)]

        plans = [create(number) for number in range(8)]
        done = await asyncio.gather(
            *(server.apply(plan, "test") for plan in plans),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert [type(one) for one in done] == [type(None)] * 3 + [Blocked] + [type(None)] * 4
        assert len(left_of(admin, unique)) == 7

    run(admin, scenario)


def test_a_server_killed_in_the_middle_of_a_batch_leaves_nothing_half_done(
    fresh_server: Callable[[int], private_server.Server],
) -> None:
    private = fresh_server(16)
    admin = Admin(private, private.admin.user, private.admin.password, is_superuser=False)

    async def main() -> None:
        database, other = desired_database("killed_app"), desired_database("killed_other")
        user = desired_login("killed-u", (database.name, Group.ADMIN))
        async with opened(admin) as server:
            await settle_database(server, database)
            holder = psycopg.connect(private.dsn(), autocommit=True)
            holder.execute(_HOLD_LOCK)
            work = [asyncio.create_task(make_login(server, user)), asyncio.create_task(make_database(server, other))]
            await asyncio.sleep(0.2)
            private.stop(signal.SIGQUIT)
            for task in work:
                with pytest.raises(Retryable) as refused:
                    await task
                assert refused.value.reason == "ConnectionFailed"
            with pytest.raises(Retryable):
                await plan_database(server, database)
            with contextlib.suppress(psycopg.Error):
                holder.close()
            private.start()
            assert left_of(admin, "killed") == sorted([database.name, *role_names(database.name).all])
            await settle_login(server, user)
            await settle_database(server, other)
            await drop_database(server, other)

    asyncio.run(main())


def test_whoever_has_to_stop_commits_nothing_more(admin: Admin, unique: str) -> None:
    """The fence falls at every place where it is asked: what was committed before stays, nothing else happens."""

    class Replaced(Exception):
        """Somebody else has taken over."""

    async def main() -> None:
        made: list[int] = []
        # Two transactions, each asked before its first statement and before its COMMIT; then one that stands alone.
        names = {part: sql.Identifier(f"{unique}_{part}") for part in "abc"}
        plan = (
            statement("Create a", "", "CREATE ROLE {a}", a=names["a"]),
            statement("Create b", "", "CREATE ROLE {b}", b=names["b"], new_transaction=True),
            statement("Create c", "", "CREATE DATABASE {c} TEMPLATE template0", c=names["c"], transactional=False),
        )
        for allowed in range(7):
            left = [allowed]

            def fence(left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise Replaced

            server = await Server.open(parameters(admin), "postgres", 2, "test", fence)
            try:
                with contextlib.suppress(Replaced):
                    await server.apply(plan, "test")
            finally:
                await server.close()
            made.append(len(left_of(admin, unique)))
            execute(admin, "DROP DATABASE IF EXISTS {}", f"{unique}_c")
            execute(admin, "DROP ROLE IF EXISTS {}, {}", f"{unique}_a", f"{unique}_b")
        assert made == [0, 0, 1, 1, 2, 2, 3]

    asyncio.run(main())
