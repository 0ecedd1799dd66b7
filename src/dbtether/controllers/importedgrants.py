"""Reads a user's additionalGrants back from the roles that carry them, where these tell all of them.

The name of such a role is a hash of what it holds, so what was read back is either proven or given up: a table
that was not there yet was never granted, and nothing on the server tells its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbtether.api.names import Group, group_role
from dbtether.api.resource import Key
from dbtether.postgres.grants.groups import ALL_TABLES, TableGrant, grant_group
from dbtether.postgres.markers import observe_grants
from dbtether.postgres.pool import Connection

# As many as one entry of a manifest may name.
_TABLES_PER_ENTRY = 256
_LEVELS = (Group.READONLY, Group.READWRITE)


@dataclass(frozen=True, slots=True)
class GrantRole:
    """A role for additional grants."""

    database: str
    base: str
    """The group that it is in."""
    level: Group
    grants: tuple[TableGrant, ...]
    """What it has by now."""


async def grants_in(connection: Connection, database: str, bases: Mapping[str, str]) -> dict[str, GrantRole]:
    """Those of the roles (with their groups) that belong to the connection's database. Raises psycopg.Error."""
    levels = {group_role(database, level): level for level in _LEVELS}
    ours = {name: base for name, base in bases.items() if base in levels}
    if not ours:
        return {}
    found = await observe_grants(connection, sorted(ours))
    return {name: GrantRole(database, base, levels[base], found.get(name, ())) for name, base in ours.items()}


def additional_grants(
    member_of: Sequence[str], access: Mapping[Key, Group], roles: Mapping[str, GrantRole]
) -> list[dict[str, Any]] | None:
    """The spec's list for a login in these roles; empty when it has none, None when it cannot be told.

    Pure. The list holds for all databases of the user, so what is told by one must be right for each.
    """
    held = {name: roles[name] for name in member_of if name in roles}
    everything = sorted({grant for role in held.values() for grant in role.grants})
    for name, role in held.items():
        group = grant_group(role.database, role.level, everything)
        if group is None or group.name != name:
            return None
    beyond_admin = sum(level is not Group.ADMIN for level in access.values())
    if held and len(held) != beyond_admin:
        return None
    return list(_entries(everything)) if held else []


def _entries(grants: Iterable[TableGrant]) -> Iterable[dict[str, Any]]:
    together: dict[tuple[str, str], set[str]] = {}
    for grant in grants:
        together.setdefault((grant.schema, grant.table), set()).update(grant.privileges)
    for schema, table in together:
        if table != ALL_TABLES:
            together[schema, table] -= together.get((schema, ALL_TABLES), set())
    by_privileges: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}
    for (schema, table), privileges in sorted(together.items()):
        if privileges:
            by_privileges.setdefault((schema, tuple(sorted(privileges)), table == ALL_TABLES), []).append(table)
    for (schema, listed, _), tables in sorted(by_privileges.items()):
        for start in range(0, len(tables), _TABLES_PER_ENTRY):
            part = tables[start : start + _TABLES_PER_ENTRY]
            yield {"schema": schema, "tables": part, "privileges": list(listed)}
