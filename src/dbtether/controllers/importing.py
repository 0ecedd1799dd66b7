"""Rebuilds Database and DatabaseUser resources from what a server tells: markers, owners, memberships.

Reads only. Passwords cannot be read back, and neither can what only matters to dbtether, such as a
deletionPolicy: those come back with the manifests.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from dbtether.api.names import Group, Marker, group_role, parse_marker, second_login
from dbtether.api.resource import Key
from dbtether.api.times import instant_text
from dbtether.controllers.importedgrants import GrantRole, additional_grants, grants_in
from dbtether.postgres.errors import ConnectError, classify, connect_failure
from dbtether.postgres.markers import (
    MarkedRole,
    OwnedDatabase,
    observe_contents,
    observe_databases_of,
    observe_grant_roles,
    observe_marked_roles,
)
from dbtether.postgres.pool import Connection
from dbtether.postgres.restores.model import run_beside
from dbtether.postgres.server.access import Server

# The strongest first: an admin is in the group of the readers as well.
_RANKING = (Group.ADMIN, Group.READWRITE, Group.READONLY)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A resource as the server tells it."""

    key: Key
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    """What a deletion must know even when nothing was applied since."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one server holds."""

    resources: tuple[Rebuilt, ...] = ()
    notes: tuple[str, ...] = ()
    """What was seen and cannot be rebuilt, a sentence each."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The marked roles of one server, and the databases that they own."""

    cluster: str
    roles: tuple[tuple[Marker, MarkedRole], ...]
    databases: Mapping[str, OwnedDatabase]
    """By owner."""
    contents: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    """Extensions and schemas, by database."""
    grants: Mapping[str, GrantRole] = field(default_factory=dict)
    """The roles for additional grants, by name."""

    @property
    def installations(self) -> frozenset[str]:
        """The installations that the markers name."""
        return frozenset(mark.installation for mark, _ in self.roles if mark.installation is not None)


async def survey(cluster: str, server: Server) -> Survey:
    """Look at the server of a DBCluster. Raises Retryable or Blocked."""
    async with _use(server, server.maintenance_database, "read the ownership markers") as connection:
        found = await observe_marked_roles(connection)
        roles = tuple((mark, role) for role in found if (mark := parse_marker(role.comment)) is not None)
        owners = [role.name for _, role in roles if not role.can_login]
        databases = _by_owner(await observe_databases_of(connection, owners))
        grant_roles = await observe_grant_roles(connection)
    contents = {}
    grants: dict[str, GrantRole] = {}
    for owner, database in databases.items():
        if database.allows_connections and database.connection_limit != -2:
            async with _use(server, database.name, f"look into database {database.name}") as connection:
                # Schemas of a manifest belong to the admins' group, which creates them.
                makers = (owner, group_role(database.name, Group.ADMIN))
                contents[database.name] = await observe_contents(connection, makers)
                grants |= await grants_in(connection, database.name, grant_roles)
    return Survey(cluster, roles, databases, contents, grants)


def _by_owner(databases: Sequence[OwnedDatabase]) -> dict[str, OwnedDatabase]:
    """Each owner's own database: those that restores have left beside it belong to the same owner."""
    return {
        database.owner: database
        for database in databases
        if not any(
            other.owner == database.owner and run_beside(other.name, database.name) is not None for other in databases
        )
    }


@asynccontextmanager
async def _use(server: Server, database: str, doing: str) -> AsyncIterator[Connection]:
    try:
        async with server.pool.connection(database) as connection:
            yield connection
    except ConnectError as error:
        raise connect_failure(error, doing) from None
    except psycopg.Error as error:
        raise classify(error, doing) from None


def rebuild(surveyed: Survey, installation: str) -> Found:
    """The resources of one installation, databases first. Pure."""
    ours = [(mark, role) for mark, role in surveyed.roles if mark.installation == installation]
    notes: list[str] = []
    databases: dict[Key, tuple[Rebuilt, OwnedDatabase]] = {}
    for mark, role in ours:
        if role.can_login:
            continue
        database = surveyed.databases.get(role.name)
        if database is None:
            notes.append(f"role {role.name} is marked for Database {mark.namespace}/{mark.name}, but owns no database")
            continue
        key = Key("Database", mark.namespace, mark.name)
        databases[key] = (_database(key, database, surveyed), database)
    groups = _groups((key, database.name) for key, (_, database) in databases.items())
    groups |= {name: groups[role.base] for name, role in surveyed.grants.items() if role.base in groups}
    users: dict[Key, Rebuilt] = {}
    for mark, role in ours:
        if not role.can_login:
            continue
        key = Key("DatabaseUser", mark.namespace, mark.name)
        access = _access(role.member_of, groups)
        if not access:
            notes.append(f"login {role.name} is marked for {key}, but is in no group of a database found here")
        elif key in users and _take_turns(users[key], role):
            users[key] = replace(users[key], status={**users[key].status, "secondLogin": role.name})
        elif key in users:
            notes.append(f"login {role.name} is marked for {key}, as another login is; it was left out")
        else:
            grants = additional_grants(role.member_of, access, surveyed.grants)
            if grants is None:
                notes.append(f"login {role.name} ({key}) has additionalGrants that could not be read back in full")
            users[key] = _user(key, role, access, surveyed.cluster, grants or [])
    return Found((*(rebuilt for rebuilt, _ in databases.values()), *users.values()), tuple(notes))


def _take_turns(user: Rebuilt, role: MarkedRole) -> bool:
    """Whether the login is the second one of the user, by its name; it sorts after the first."""
    return role.name == second_login(str(user.status["username"]))


def _database(key: Key, database: OwnedDatabase, surveyed: Survey) -> Rebuilt:
    spec: dict[str, Any] = {"clusterRef": {"name": surveyed.cluster}, "databaseName": database.name}
    extensions, schemas = surveyed.contents.get(database.name, ((), ()))
    if extensions:
        spec["extensions"] = list(extensions)
    if schemas:
        spec["schemas"] = [{"name": schema} for schema in schemas]
    if database.connection_limit > -1:
        spec["connectionLimit"] = database.connection_limit
    if database.is_open_to_public:
        # The default would take from PUBLIC what somebody has left to it.
        spec["revokePublicConnect"] = False
    return Rebuilt(key, spec, {"databaseName": database.name})


Groups = dict[str, tuple[Key, Group]]


def _groups(databases: Iterable[tuple[Key, str]]) -> Groups:
    return {group_role(name, group): (key, group) for key, name in databases for group in _RANKING}


def _access(member_of: Sequence[str], groups: Groups) -> dict[Key, Group]:
    """The strongest group of each database that the login is in."""
    access: dict[Key, Group] = {}
    for name in member_of:
        if name in groups:
            key, group = groups[name]
            access[key] = min(group, access.get(key, group), key=_RANKING.index)
    return access


def _user(
    key: Key, role: MarkedRole, access: Mapping[Key, Group], cluster: str, grants: list[dict[str, Any]]
) -> Rebuilt:
    spec: dict[str, Any] = {}
    if len(access) == 1:
        (database, group), *_ = access.items()
        spec |= {"databaseRef": _reference(database, key), "privileges": group.value}
    else:
        spec["databases"] = [
            {**_reference(database, key), "privileges": access[database].value} for database in sorted(access)
        ]
    if grants:
        spec["additionalGrants"] = grants
    if role.name != key.name:
        spec["username"] = role.name
    if role.connection_limit > -1:
        spec["connectionLimit"] = role.connection_limit
    if role.valid_until is not None:
        spec["validUntil"] = instant_text(role.valid_until)
    return Rebuilt(key, spec, {"clusterName": cluster, "username": role.name})


def _reference(database: Key, user: Key) -> dict[str, str]:
    if database.namespace == user.namespace:
        return {"name": database.name}
    return {"name": database.name, "namespace": database.namespace}
