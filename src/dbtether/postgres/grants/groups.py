"""Grant groups: one NOLOGIN role for each set of additional grants that users of a database ask for. Pure.

Users that ask for the same share the role, so one more user costs one membership, however many tables there
are, and no access control list grows with the number of users.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dbtether.api.names import Group, grant_group_role
from dbtether.postgres.grants.model import ObjectKind, group_privileges

ALL_TABLES = "*"
"""Stands for every table of a schema, future ones too."""


@dataclass(frozen=True, slots=True, order=True)
class TableGrant:
    """Privileges on one table, or on all tables of a schema."""

    schema: str
    table: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class GrantGroup:
    """A role with the rights of a level and the additional grants."""

    name: str
    level: Group
    grants: tuple[TableGrant, ...]


def grant_group(database: str, level: Group, grants: Iterable[TableGrant]) -> GrantGroup | None:
    """The group for these grants; None when the level covers them all, as that of the admins does.

    The same grants written otherwise (split, repeated, in another order) give the same group.
    """
    wanted = _beyond(level, grants)
    if not wanted:
        return None
    # Parts of a hash, not one text: a table's name may hold anything, also what looks like another grant.
    parts = [part for grant in wanted for part in (grant.schema, grant.table, ",".join(grant.privileges))]
    return GrantGroup(grant_group_role(database, level, *parts), level, wanted)


def _beyond(level: Group, grants: Iterable[TableGrant]) -> tuple[TableGrant, ...]:
    """What the grants add to the level, sorted, one entry for each table."""
    if level is Group.ADMIN:
        return ()
    # The privileges of readonly and readwrite are the same in every version.
    covered = group_privileges(ObjectKind.TABLE, level, 0)
    together: dict[tuple[str, str], set[str]] = {}
    for grant in grants:
        together.setdefault((grant.schema, grant.table), set()).update(set(grant.privileges) - covered)
    for (schema, table), privileges in together.items():
        if table != ALL_TABLES:
            privileges -= together.get((schema, ALL_TABLES), set())
    return tuple(
        TableGrant(schema, table, tuple(sorted(privileges)))
        for (schema, table), privileges in sorted(together.items())
        if privileges
    )
