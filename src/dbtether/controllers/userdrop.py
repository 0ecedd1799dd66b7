"""Dropping a login, and the owner role that was kept only for its sake."""

from psycopg import sql

from dbtether.api.names import Marker
from dbtether.api.resource import Key
from dbtether.controllers.executor import Executor
from dbtether.errors import Retryable
from dbtether.postgres.roles.drop import ObservedDrop, orphaned_owner, owns_a_database, plan_drop
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import statement


async def drop_login(executor: Executor, key: Key, cluster: str, server: Server, name: str, marker: Marker) -> None:
    """Make the login and everything it was granted vanish, if it is ours. Raises Retryable or Blocked."""
    shared = await server.shared([name])
    role = shared.roles.get(name)
    if role is None:
        return
    dependents = await server.dependents(name)
    owners = [edge.member for edge in role.members]
    groups = [group for database in dependents.databases for group in role_names(database).all]
    shared = await server.shared([name, *owners, *groups])
    observed = ObservedDrop(server.facts, shared.roles.get(name), dependents, shared.roles)
    statements = plan_drop(name, marker, observed)
    if not statements:
        return
    if (blocked := owns_a_database(name, observed)) is not None:
        raise blocked
    administrator = administrator_of(observed.role, (), server.facts)
    await executor.run(key, cluster, server, statements)
    if executor.only_plans:
        return
    after = await server.shared([name])
    if name in after.roles:
        raise Retryable("Deleting", f"Login {name} is still there; trying again")
    if administrator is not None:
        await _drop_orphaned_owner(server, administrator, str(key))


async def _drop_orphaned_owner(server: Server, owner: str, subject: str) -> None:
    """On 16+ the owner role of a dropped database stays while it administers logins; this was the last one."""
    database = await server.database_of_owner(owner)
    shared = await server.shared([owner])
    if not orphaned_owner(shared.roles.get(owner), database_exists=database is not None, admin=server.facts.admin):
        return
    drop = statement(
        f"Drop role {owner}, whose database and logins are gone",
        "",
        "DROP ROLE {name}",
        destructive=True,
        name=sql.Identifier(owner),
    )
    await server.apply([drop], subject)
