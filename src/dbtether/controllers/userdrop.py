"""Dropping a login, and the owner role that was kept only for its sake."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from psycopg import sql

from dbtether.api.kinds import FORCE_DELETE
from dbtether.api.names import Marker, parse_marker
from dbtether.api.resource import Resource
from dbtether.controllers.base import World
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.roles.drop import ObservedDrop, owns_a_database, plan_drop
from dbtether.postgres.roles.model import Role, role_names
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement, statement


async def drop_login(world: World, user: Resource, cluster: str, server: Server, name: str, marker: Marker) -> None:
    """Make the login and everything it was granted vanish, unless another resource has it by now.

    Raises Retryable or Blocked; Blocked also when the login lost its marker, since it would go on working.
    """
    observed = await _observe(server, name)
    owners = _owners(observed)
    async with _locked(server, owners):

        async def plan_again() -> Sequence[Statement]:
            return await _plan(server, name, marker, await _observe(server, name))

        observed = await _observe(server, name)
        if not set(_owners(observed)) <= set(owners):
            raise Retryable("Retrying", f"Login {name} is in more databases than a moment ago; trying again")
        if (blocked := lost_marker(observed.role, marker)) is not None:
            raise blocked
        statements = await _plan(server, name, marker, observed)
        if not statements:
            return
        if (blocked := owns_a_database(name, observed)) is not None:
            raise blocked
        await world.run(user, cluster, server, statements, plan_again)
        if not world.executor.only_plans and name in (await server.shared([name])).roles:
            raise Retryable("Retrying", f"Login {name} is still there; trying again")
        if not world.executor.only_plans:
            await _drop_lone_owner(world, user, cluster, server, observed)


async def _drop_lone_owner(world: World, user: Resource, cluster: str, server: Server, before: ObservedDrop) -> None:
    """The owner role of a database that another process has dropped meanwhile: each waited for the other's end."""
    owner = None if before.role is None else administrator_of(before.role, (), server.facts)
    if owner is None:
        return
    if await _is_alone(server, (await server.shared([owner])).roles.get(owner)):
        await world.executor.run(user.key, cluster, server, [_drop_of(owner)])


def lost_marker(role: Role | None, marker: Marker) -> Blocked | None:
    """The complaint about a login that we made and whose comment says by now nothing about whose it is."""
    if role is None:
        return None
    found = parse_marker(role.comment)
    names_this = found is not None and (found.namespace, found.name) == (marker.namespace, marker.name)
    if found == marker or (found is not None and not (names_this and found.is_older_form)):
        return None
    name, mark = sql.Identifier(role.name).as_string(None), sql.Literal(str(marker)).as_string(None)
    return Blocked(
        "RoleNotOurs",
        f"Role {role.name} was made for this resource, but somebody changed its comment, which says whose it is: "
        f"nothing was changed; a DBA must run COMMENT ON ROLE {name} IS {mark} to give it back, or, when the "
        f"resource is deleted, annotate it with {FORCE_DELETE}=true and the role stays",
    )


async def _observe(server: Server, name: str) -> ObservedDrop:
    role = (await server.shared([name])).roles.get(name)
    dependents = await server.dependents(name)
    groups = [group for database in dependents.databases for group in role_names(database).all]
    members = [] if role is None else [edge.member for edge in role.members]
    shared = await server.shared([name, *members, *groups])
    return ObservedDrop(server.facts, shared.roles.get(name), dependents, shared.roles)


def _owners(observed: ObservedDrop) -> list[str]:
    """The owner roles of the databases that are concerned: who holds their locks is alone with them."""
    owners = {role_names(database).owner for database in observed.dependents.databases}
    if observed.role is not None and (administrator := administrator_of(observed.role, (), observed.server)):
        owners.add(administrator)
    return sorted(owners)


@asynccontextmanager
async def _locked(server: Server, names: Iterable[str]) -> AsyncIterator[None]:
    """All these locks, taken in one order by everybody."""
    async with AsyncExitStack() as stack:
        for name in names:
            lock: asyncio.Lock = server.lock(name)
            await stack.enter_async_context(lock)
        yield


async def _plan(server: Server, name: str, marker: Marker, observed: ObservedDrop) -> Sequence[Statement]:
    statements = plan_drop(name, marker, observed)
    if not statements or observed.role is None:
        return statements
    owner = administrator_of(observed.role, (), server.facts)
    if owner is None or not await _is_alone(server, observed.roles.get(owner), but_for=name):
        return statements
    # In the transaction of the login's own DROP: a crash in between would leave the owner role for ever.
    return (*statements, _drop_of(owner))


def _drop_of(owner: str) -> Statement:
    return statement(
        f"Drop role {owner}, whose database and logins are gone",
        "",
        "DROP ROLE {name}",
        destructive=True,
        name=sql.Identifier(owner),
    )


async def _is_alone(server: Server, owner: Role | None, but_for: str = "") -> bool:
    """On 16+ the owner role of a dropped database stays while it administers logins; whether it has no other.

    Who is in it does not matter: nobody but admins is, present and former ones.
    """
    if owner is None or await server.databases_of_owner(owner.name):
        return False
    return not {edge.role for edge in owner.memberships} - {but_for}
