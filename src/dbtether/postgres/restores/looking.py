"""Everything that the plans of a restore look at, read from the server."""

from collections.abc import Collection

from dbtether.api.names import Group
from dbtether.postgres.databases.drop import ObservedDatabaseDrop
from dbtether.postgres.databases.model import ObservedDatabase, Session
from dbtether.postgres.dumps.model import ObservedRunLogin
from dbtether.postgres.restores.model import DesiredStaging, DesiredSwap, ObservedSwap, record_in
from dbtether.postgres.restores.plan import staging_database
from dbtether.postgres.roles.model import RoleNames, role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.server.looking import look_from_outside, look_inside


async def look_at_login(server: Server, name: str) -> ObservedRunLogin:
    """A run's login, with what a dump that it has restored may have given it. Raises Retryable or Blocked."""
    role = (await server.shared([name])).roles.get(name)
    if role is None:
        return ObservedRunLogin(server.facts, None)
    dependents = await server.dependents(name)
    owners = [own for database in dependents.databases for own in role_names(database).all]
    roles = (await server.shared(owners)).roles if owners else {}
    return ObservedRunLogin(server.facts, role, dependents, roles)


async def look_at_staging(server: Server, desired: DesiredStaging) -> ObservedDatabase:
    """A run's staging database, as far as it is there. Raises Retryable or Blocked."""
    wanted = staging_database(desired, server.facts)
    return await look_inside(server, wanted, await look_from_outside(server, wanted))


async def look_at_swap(server: Server, desired: DesiredSwap) -> ObservedSwap:
    """Both databases of a swap and who is in them; our own idle connections to them are closed before.

    Raises Retryable or Blocked.
    """
    names = [desired.database, desired.incoming, desired.outgoing]
    for name in names[:2]:
        await server.pool.close_database(name)
    surroundings = await server.surroundings(names)
    sessions = surroundings.sessions
    users = {one.user for found in sessions.values() for one in found if one.user}
    with_settings = {role for found in surroundings.role_settings.values() for role in found}
    shared = await server.shared([*desired.roles.all, *desired.known_owners, *users, *with_settings], names)
    databases = [shared.databases.get(name) for name in names]
    roles = dict(shared.roles)
    if missing := {found.owner for found in databases if found is not None} - set(roles):
        roles |= (await server.shared(sorted(missing))).roles
    group = roles.get(desired.roles.groups[Group.READWRITE])
    return ObservedSwap(
        server=server.facts,
        target=databases[0],
        incoming=databases[1],
        outgoing=databases[2],
        roles=roles,
        sessions=sessions,
        role_settings=surroundings.role_settings,
        obstacles=surroundings.obstacles,
        superuser_settings=surroundings.superuser_settings,
        record=record_in(None if group is None else group.comment),
        maintenance_database=server.maintenance_database,
    )


async def look_at_drop(
    server: Server, name: str, roles: RoleNames, known_owners: Collection[str] = ()
) -> ObservedDatabaseDrop:
    """A staging or a replaced database that is to go, and who is in it. Raises Retryable or Blocked."""
    await server.pool.close_database(name)
    sessions: tuple[Session, ...] = await server.sessions(name)
    users = [session.user for session in sessions if session.user]
    shared = await server.shared([*roles.all, *users], [name])
    return ObservedDatabaseDrop(
        server.facts, shared.databases.get(name), shared.roles, sessions, frozenset(known_owners)
    )
