"""The core's steps put together for tests: observe, guard, plan, apply, and look again."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, LiteralString

from psycopg import sql
from tests.servers.fixtures import Admin

from dbtether.api.names import Group, marker
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.databases import drop as database_drop
from dbtether.postgres.databases import guards as database_guards
from dbtether.postgres.databases import plan as database_plan
from dbtether.postgres.databases.leftovers import with_left_over
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.grants.groups import GrantGroup, TableGrant, grant_group
from dbtether.postgres.guards import first_blocked
from dbtether.postgres.passwords import scram_verifier
from dbtether.postgres.roles import drop as login_drop
from dbtether.postgres.roles import guards as login_guards
from dbtether.postgres.roles import plan as login_plan
from dbtether.postgres.roles.model import Access, DesiredLogin, ObservedLogin, role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.server.looking import look_from_outside, look_inside
from dbtether.postgres.statement import Statement

INSTALLATION = "test"
PASSWORD = "Correct7Horse"


def parameters(admin: Admin) -> ConnectParameters:
    """How an admin of a test server connects."""
    return ConnectParameters(admin.server.host, admin.server.port, admin.user, admin.password, sslmode="disable")


@asynccontextmanager
async def opened(admin: Admin, *, limit: int = 5, **changes: Any) -> AsyncIterator[Server]:
    """A server as its admin sees it, closed at the end; `changes` of the connection parameters."""
    server = await Server.open(replace(parameters(admin), **changes), "postgres", limit, "test")
    try:
        yield server
    finally:
        await server.close()


def run(admin: Admin, scenario: Callable[[Server], Awaitable[None]], **changes: Any) -> None:
    """Run the scenario on an open server."""

    async def main() -> None:
        async with opened(admin, **changes) as server:
            await scenario(server)

    asyncio.run(main())


def rows(admin: Admin, query: LiteralString, *values: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
    """What the superuser reads; or does, for a statement without rows."""
    with admin.server.connect(dbname=dbname) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def execute(admin: Admin, query: LiteralString, *names: str, dbname: str = "postgres") -> None:
    """Run SQL as the superuser, with names in the places `{}`."""
    with admin.server.connect(dbname=dbname) as connection:
        connection.execute(sql.SQL(query).format(*map(sql.Identifier, names)))


def left_of(admin: Admin, unique: str) -> list[str]:
    """The roles and databases that contain the test's name."""
    found = rows(
        admin,
        "SELECT rolname::text FROM pg_roles WHERE strpos(rolname, %s) > 0 "
        "UNION ALL SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0",
        unique,
        unique,
    )
    return sorted(row[0] for row in found)


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def desired_database(name: str, **changes: object) -> DesiredDatabase:
    """A plain database of namespace `team`, with changes."""
    values: dict[str, object] = {
        "name": name,
        "marker": marker("team", _slug(name), INSTALLATION),
        "roles": role_names(name),
    }
    return DesiredDatabase(**{**values, **changes})  # type: ignore[arg-type]


def additional(database: DesiredDatabase, level: Group, *grants: tuple[str, str, tuple[str, ...]]) -> GrantGroup:
    """The role for additional grants (schema, table, privileges) in a database."""
    found = grant_group(database.name, level, [TableGrant(*grant) for grant in grants])
    assert found is not None
    return found


def desired_login(name: str, *access: tuple[str, Group], **changes: object) -> DesiredLogin:
    """A login of namespace `team` with a known password, with changes."""
    values: dict[str, object] = {
        "name": name,
        "marker": marker("team", _slug(name), INSTALLATION),
        "access": tuple(Access(database, group) for database, group in access),
        "verifier": scram_verifier(PASSWORD, name),
    }
    return DesiredLogin(**{**values, **changes})  # type: ignore[arg-type]


async def observe_database(server: Server, desired: DesiredDatabase) -> ObservedDatabase:
    """What a plan for the database looks at."""
    observed = await look_inside(server, desired, await look_from_outside(server, desired))
    return await with_left_over(server, desired, observed)


async def plan_database(server: Server, desired: DesiredDatabase) -> tuple[Statement, ...]:
    """The plan, after the guards. Raises Blocked."""
    observed = await observe_database(server, desired)
    if (blocked := first_blocked(database_guards.GUARDS, desired, observed)) is not None:
        raise blocked
    return database_plan.plan(desired, observed)


async def observe_login(server: Server, desired: DesiredLogin) -> ObservedLogin:
    """What a plan for the login looks at."""
    names = [name for item in desired.access for name in (*role_names(item.database).all, item.role)]
    shared = await server.shared([desired.name, *names], [item.database for item in desired.access])
    return ObservedLogin(
        server.facts,
        shared.roles.get(desired.name),
        shared.roles,
        {name: database.acl for name, database in shared.databases.items()},
        {name: database.owner for name, database in shared.databases.items()},
    )


async def plan_login(server: Server, desired: DesiredLogin) -> tuple[Statement, ...]:
    """The plan, after the guards. Raises Blocked."""
    observed = await observe_login(server, desired)
    if (blocked := first_blocked(login_guards.GUARDS, desired, observed)) is not None:
        raise blocked
    return login_plan.plan(desired, observed)


async def make_database(server: Server, desired: DesiredDatabase) -> None:
    """Plan and apply once."""
    await server.apply(await plan_database(server, desired), desired.name)


async def make_login(server: Server, desired: DesiredLogin) -> None:
    """Plan and apply once."""
    await server.apply(await plan_login(server, desired), desired.name)


async def settle_database(server: Server, desired: DesiredDatabase) -> None:
    """Apply until all is seen, then be sure that nothing is left to do."""
    observed = await observe_database(server, desired)
    await make_database(server, desired)
    if not database_plan.sees_everything(desired, observed):
        await make_database(server, desired)
    left = await plan_database(server, desired)
    assert left == (), [item.text for item in left]


async def settle_login(server: Server, desired: DesiredLogin) -> None:
    """Apply once, then be sure that nothing is left to do; the password is not read back."""
    await make_login(server, desired)
    left = await plan_login(server, replace(desired, verifier=None))
    assert left == (), [item.text for item in left]


async def plan_login_drop(server: Server, desired: DesiredLogin) -> tuple[Statement, ...]:
    """The plan of a drop, after its guard. Raises Blocked."""
    dependents = await server.dependents(desired.name)
    places = [*dependents.databases, *(item.database for item in desired.access)]
    names = [name for place in places for name in role_names(place).all]
    shared = await server.shared([desired.name, *names])
    observed = login_drop.ObservedDrop(server.facts, shared.roles.get(desired.name), dependents, shared.roles)
    if (blocked := login_drop.owns_a_database(desired.name, observed)) is not None:
        raise blocked
    return login_drop.plan_drop(desired.name, desired.marker, observed)


async def drop_login(server: Server, desired: DesiredLogin) -> tuple[Statement, ...]:
    """Plan the drop and apply it; what was planned."""
    statements = await plan_login_drop(server, desired)
    await server.apply(statements, desired.name)
    return statements


async def drop_database(server: Server, desired: DesiredDatabase) -> tuple[Statement, ...]:
    """Plan the drop and apply it; what was planned."""
    sessions = await server.sessions(desired.name)
    users = [session.user for session in sessions if session.user]
    shared = await server.shared([*desired.roles.all, *users], [desired.name])
    observed = database_drop.ObservedDatabaseDrop(
        server.facts, shared.databases.get(desired.name), shared.roles, sessions, desired.known_owners
    )
    if (blocked := database_drop.foreign_session(desired.name, observed)) is not None:
        raise blocked
    statements = database_drop.plan_drop(desired.name, desired.marker, desired.roles, observed)
    await server.pool.close_database(desired.name)
    await server.apply(statements, desired.name)
    return statements
