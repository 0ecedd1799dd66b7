"""Additional grants of DatabaseUsers, and the roles that carry them in their Databases.

The Database's reconcile makes and drops the roles; the user's only joins and leaves them. Each wakes the other
where it has done what the other waits for, so nobody polls and no user is asked one by one.
"""

from collections.abc import Iterable, Mapping, Sequence

from dbtether.api.database import DatabaseSpec, database_name
from dbtether.api.databaseuser import AdditionalGrant, DatabaseUserSpec, TablePrivilege
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.names import Group, short_id
from dbtether.api.references import Privileges
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.base import World
from dbtether.controllers.directory import database_keys
from dbtether.errors import Blocked
from dbtether.postgres.grants.groups import GrantGroup, TableGrant, grant_group
from dbtether.postgres.server.model import ServerFacts

GROUPS: Mapping[Privileges, Group] = {
    Privileges.READONLY: Group.READONLY,
    Privileges.READWRITE: Group.READWRITE,
    Privileges.ADMIN: Group.ADMIN,
}
_LEVELS = {
    TablePrivilege.SELECT: Privileges.READONLY,
    TablePrivilege.INSERT: Privileges.READWRITE,
    TablePrivilege.UPDATE: Privileges.READWRITE,
    TablePrivilege.DELETE: Privileges.READWRITE,
}
# A table's access control list must fit into a page: far below what breaks it (about 2,400 entries).
MAX_GRANT_ROLES = 500


def grant_group_for(grants: Iterable[AdditionalGrant], level: Privileges, database: str) -> GrantGroup | None:
    """The role for a user's grants in a database; None where its level covers them all."""
    return grant_group(
        database,
        GROUPS[level],
        (
            TableGrant(grant.schema_, table, tuple(privilege.value for privilege in grant.privileges))
            for grant in grants
            for table in grant.tables
        ),
    )


def highest_level(grants: Iterable[AdditionalGrant]) -> Privileges | None:
    """The lowest level that has all these privileges: what a limit is compared with. None without grants."""
    levels = [_LEVELS.get(privilege, Privileges.ADMIN) for grant in grants for privilege in grant.privileges]
    return max(levels, key=lambda level: level.rank, default=None)


def refuse_unknown_privileges(spec: DatabaseUserSpec, facts: ServerFacts) -> None:
    """Raise Blocked for a privilege that the server does not have yet."""
    for index, grant in enumerate(spec.additional_grants):
        if TablePrivilege.MAINTAIN in grant.privileges and facts.major < 17:
            raise Blocked(
                "UnsupportedField",
                f"spec.additionalGrants[{index}].privileges: MAINTAIN exists from PostgreSQL 17 on, and the server "
                f"has {facts.major}: leave it out",
            )


def refuse_too_many(database: Resource) -> None:
    """Raise Blocked when the Database makes no more roles for additional grants."""
    if database.status.get("grantRolesCount", 0) >= MAX_GRANT_ROLES:
        raise Blocked(
            "TooManyGrants",
            f"The users of {database.key} ask for more than {MAX_GRANT_ROLES} different sets of additionalGrants: "
            f"give users the same grants, which they then share, or use * for all tables",
        )


async def wanted_grant_groups(
    world: World, database: Resource, spec: DatabaseSpec, cluster: DBClusterSpec, facts: ServerFacts
) -> dict[GrantGroup, tuple[Key, ...]]:
    """The roles that admitted users ask for in a Database, sorted, each with those users."""
    name = database_name(spec, database.key.name)
    admitted: dict[str, bool] = {}
    found: dict[GrantGroup, list[Key]] = {}
    for user in world.directory.users_with_grants(database.key):
        namespace = user.key.namespace
        if namespace not in admitted:
            labels = await world.namespace_labels(namespace)
            admitted[namespace] = spec.allows(database.key.namespace, namespace) and cluster.allows(namespace, labels)
        if not admitted[namespace] or user.deleted is not None:
            continue
        group = _group_of(world, user, database.key, name, cluster, facts)
        if group is not None and (group in found or len(found) < MAX_GRANT_ROLES):
            found.setdefault(group, []).append(user.key)
    return {group: tuple(found[group]) for group in sorted(found)}


def _group_of(
    world: World, user: Resource, database: Key, name: str, cluster: DBClusterSpec, facts: ServerFacts
) -> GrantGroup | None:
    spec = _checked(world, user)
    if spec is None:
        return None
    limit = cluster.privileges_limit(user.key.namespace)
    highest = highest_level(spec.additional_grants)
    for target in spec.targets(user.key.namespace):
        if (target.namespace, target.name) != (database.namespace, database.name):
            continue
        levels = [level for level in (target.privileges, highest) if level is not None]
        if limit is not None and any(level.rank > limit.rank for level in levels):
            return None
        needs_17 = any(TablePrivilege.MAINTAIN in grant.privileges for grant in spec.additional_grants)
        if needs_17 and facts.major < 17:
            return None
        return grant_group_for(spec.additional_grants, target.privileges, name)
    return None


def _checked(world: World, user: Resource) -> DatabaseUserSpec | None:
    """The user's spec if it is valid; checked once for each generation, not at each look at the Database."""
    known = world.checked_users.get(user.key)
    if known is not None and known[:2] == (user.uid, user.generation):
        return known[2]
    spec, problems = check(DatabaseUserSpec, user.key, user.spec)
    valid = None if problems else spec
    world.checked_users[user.key] = (user.uid, user.generation, valid)
    return valid


def grants_hash(groups: Sequence[GrantGroup]) -> str | None:
    """What tells one set of roles from another; None for none."""
    return short_id(*(group.name for group in groups)) if groups else None


def wake_databases(world: World, user: Resource, login: str, left: Iterable[str]) -> None:
    """Have the user's Databases look which roles for additional grants are still used.

    `left` are those that the login has left, or would have by a plan that is only written down.
    """
    pairs = {(role, login) for role in left}
    if world.executor.only_plans:
        pairs -= world.leaving
        world.leaving.update(pairs)
    if not pairs:
        return
    recorded = [entry for entry in user.status.get("databases", ()) if isinstance(entry, dict)]
    keys = [Key("Database", str(entry.get("namespace")), str(entry.get("name"))) for entry in recorded]
    for key in dict.fromkeys([*keys, *database_keys(user)]):
        world.wake(key)
