"""Everything that the plan of one database looks at, read from its server."""

from dataclasses import replace

from dbtether.errors import Retryable
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.databases.ownership import previous_owner
from dbtether.postgres.server.access import Server


async def look_inside(server: Server, desired: DesiredDatabase, outside: ObservedDatabase) -> ObservedDatabase:
    """The same, with what is in the database. Raises Retryable or Blocked.

    Never before it is known to be ours, or given to us. A connection limit that is not the wanted one may keep the
    admin out: then what is inside is left out until it is set right, which is done from outside.
    """
    extensions = [extension.name for extension in desired.extensions]
    previous = previous_owner(desired, outside)
    try:
        inside = await server.inside(outside.database, desired.name, extensions, owned_by=previous)
    except Retryable as error:
        database = outside.database
        has_wanted_limit = database is None or database.connection_limit in (-1, desired.connection_limit)
        if error.reason != "TooManyConnections" or has_wanted_limit:
            raise
        return outside
    return replace(outside, inside=inside)


async def look_from_outside(server: Server, desired: DesiredDatabase) -> ObservedDatabase:
    """What the shared catalogs tell. Raises Retryable or Blocked."""
    named = [desired.owner, *(schema.owner for schema in desired.schemas)]
    names = [*desired.own_roles, *(name for name in named if name is not None)]
    shared = await server.shared(names, [desired.name, desired.template])
    database = shared.databases.get(desired.name)
    if database is not None and database.owner not in shared.roles:
        shared = await server.shared([*names, database.owner], [desired.name, desired.template])
        database = shared.databases.get(desired.name)
    roles = {name: shared.roles[name] for name in {*names, *([database.owner] if database else [])} & set(shared.roles)}
    return ObservedDatabase(server.facts, database, roles, template=shared.databases.get(desired.template))
