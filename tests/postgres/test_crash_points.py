"""A connection that breaks at any statement: nothing half-done stays, and the next reconcile finishes."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
from tests.postgres.core import (
    PASSWORD,
    additional,
    desired_database,
    desired_login,
    drop_database,
    drop_login,
    execute,
    left_of,
    make_database,
    make_login,
    opened,
    parameters,
    plan_database,
    plan_login,
    rows,
    settle_database,
    settle_login,
)
from tests.postgres.crash import Proxy, proxied
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Retryable
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension, DesiredSchema
from dbtether.postgres.grants.groups import GrantGroup
from dbtether.postgres.roles.model import Access, DesiredLogin
from dbtether.postgres.server.access import Server

Step = Callable[[Server], Awaitable[None]]

# More than any of the four operations sends; the loop ends at the first run that is not cut.
_MOST_STATEMENTS = 120


@asynccontextmanager
async def behind_proxy(admin: Admin) -> AsyncIterator[tuple[Server, Proxy]]:
    async with proxied(admin.server.host, admin.server.port) as proxy:
        direct = parameters(admin)
        server = await Server.open(replace(direct, host="127.0.0.1", port=proxy.port), "postgres", 4, "crash")
        try:
            yield server, proxy
        finally:
            proxy.heal()
            await server.close()


def _database(unique: str) -> DesiredDatabase:
    return desired_database(
        f"{unique}_app",
        extensions=(DesiredExtension("pg_trgm"),),
        schemas=(DesiredSchema("app"),),
        settings=(("work_mem", "8MB"),),
        connection_limit=20,
    )


def _login(unique: str, *databases: DesiredDatabase) -> DesiredLogin:
    places = [(database.name, Group.ADMIN) for database in databases]
    return desired_login(f"{unique}-u", *places, connection_limit=3)


async def until_gone(admin: Admin) -> None:
    """A statement that was delivered is executed to its end, whoever is gone by then."""
    for _ in range(200):
        if rows(admin, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'dbtether: crash'") == []:
            return
        await asyncio.sleep(0.05)
    pytest.fail("a cut session goes on and on")


async def _each_point(
    admin: Admin,
    step: int,
    prepare: Step,
    operation: Step,
    finish: Step,
) -> None:
    """Run the operation cut at every so many-th statement, and let a new process finish and check it.

    Each major begins at another statement, so that together they try more; `--every-statement` tries all.
    """
    for point in range(admin.server.major % step, _MOST_STATEMENTS, step):
        async with opened(admin) as server:
            await prepare(server)
        async with behind_proxy(admin) as (server, proxy):
            proxy.end_after(point, deliver=point % 2 == 0)
            with contextlib.suppress(Retryable):
                await operation(server)
            was_cut = proxy.cut > 0
        await until_gone(admin)
        async with opened(admin) as server:
            await finish(server)
        if not was_cut:
            return
    pytest.fail(f"an operation of more than {_MOST_STATEMENTS} statements")


@pytest.mark.majors(15, 16, 18)
def test_a_creation_cut_at_any_statement_is_finished(admin: Admin, unique: str, every_statement: bool) -> None:
    database = _database(unique)
    login = _login(unique, database)

    async def nothing(server: Server) -> None:
        assert left_of(admin, unique) == []

    async def create(server: Server) -> None:
        await make_database(server, database)
        await make_login(server, login)

    async def finish(server: Server) -> None:
        await settle_database(server, database)
        await settle_login(server, login)
        with psycopg.connect(admin.server.dsn(login.name, PASSWORD, database.name)) as connection:
            connection.execute("CREATE TABLE t ()")
        await drop_login(server, login)
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    asyncio.run(_each_point(admin, 1 if every_statement else 9, nothing, create, finish))


@pytest.mark.majors(15, 16, 18)
def test_a_deletion_cut_at_any_statement_is_finished(admin: Admin, unique: str, every_statement: bool) -> None:
    first, second = _database(unique), desired_database(f"{unique}_second")
    login = _login(unique, first, second)

    async def full(server: Server) -> None:
        await make_database(server, first)
        await make_database(server, second)
        await make_login(server, login)
        for database in (first, second):
            with psycopg.connect(admin.server.dsn(login.name, PASSWORD, database.name)) as connection:
                connection.execute("CREATE TABLE t (id serial); CREATE POLICY p ON t; SELECT lo_create(0)")

    async def delete(server: Server) -> None:
        await drop_login(server, login)
        await drop_database(server, first)
        await drop_database(server, second)

    async def finish(server: Server) -> None:
        await delete(server)
        assert left_of(admin, unique) == []

    asyncio.run(_each_point(admin, 1 if every_statement else 9, full, delete, finish))


@pytest.mark.majors(15, 16, 18)
def test_a_change_of_a_login_cut_at_any_statement_is_all_or_nothing(
    admin: Admin, unique: str, every_statement: bool
) -> None:
    first, second = desired_database(f"{unique}_one"), desired_database(f"{unique}_two")
    before = desired_login(f"{unique}-u", (first.name, Group.ADMIN), verifier=None)
    after = desired_login(f"{unique}-u", (second.name, Group.READWRITE), connection_limit=4, verifier=None)

    async def prepare(server: Server) -> None:
        await settle_database(server, first)
        await settle_database(server, second)
        await settle_login(server, before)

    async def change(server: Server) -> None:
        await make_login(server, after)

    async def finish(server: Server) -> None:
        # But for sessions, which end when the change is committed: then the setting of the lost group goes, too.
        first_plan = await plan_login(server, before)
        rest = " ".join(item.text for item in await plan_login(server, after))
        assert not first_plan or not rest or ("pg_terminate_backend" in rest and "GRANT" not in _without_loan(rest))
        await settle_login(server, after)
        assert await plan_database(server, first) == ()

    asyncio.run(_each_point(admin, 1 if every_statement else 3, prepare, change, finish))


@pytest.mark.majors(15, 16, 18)
def test_a_change_of_grants_cut_at_any_statement_is_finished(admin: Admin, unique: str, every_statement: bool) -> None:
    """One grant group is left for another: made, joined, and the first dropped."""
    plain = desired_database(f"{unique}_app")
    old = additional(plain, Group.READONLY, ("public", "*", ("INSERT",)))
    new = additional(plain, Group.READONLY, ("public", "t", ("DELETE",)))
    first, both, last = (replace(plain, grant_groups=groups) for groups in ((old,), tuple(sorted((old, new))), (new,)))
    login = desired_login(f"{unique}-u", verifier=None)

    def having(group: GrantGroup) -> DesiredLogin:
        return replace(login, access=(Access(plain.name, Group.READONLY, group.name),))

    async def prepare(server: Server) -> None:
        await settle_database(server, both)
        await settle_login(server, having(old))
        await settle_database(server, first)
        execute(
            admin,
            "SET ROLE {}; CREATE TABLE IF NOT EXISTS public.t (id int)",
            plain.roles.groups[Group.ADMIN],
            dbname=plain.name,
        )

    async def change(server: Server) -> None:
        await make_database(server, last)
        await make_login(server, having(new))
        await make_database(server, last)

    async def finish(server: Server) -> None:
        await settle_database(server, last)
        await settle_login(server, having(new))
        await settle_database(server, last)
        assert old.name not in left_of(admin, unique)

    asyncio.run(_each_point(admin, 1 if every_statement else 4, prepare, change, finish))


def _without_loan(text: str) -> str:
    """The statements without the memberships that the admin takes for a moment."""
    return re.sub(
        r'(GRANT|REVOKE) "[^"]+-u" (TO|FROM) "[^"]+"( WITH INHERIT TRUE, SET FALSE| GRANTED BY "[^"]+")?', "", text
    )
