"""Which rights a dump needs, or why nobody's are enough. Pure."""

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.dumps.model import DumpSource, Hindrances
from dbtether.postgres.guards import quoted
from dbtether.postgres.roles.model import RoleNames

_SHOWN = 3


def needed_groups(database: str, roles: RoleNames, source: DumpSource) -> tuple[Group, ...]:
    """The groups that the run's login must be in: readonly alone wherever that is enough.

    The admins' group sees what it owns in spite of policies, and large objects, which before PostgreSQL 18
    nobody else can be given beforehand. Raises Blocked with what hinders even that.
    """
    if not source.hindrances[Group.READONLY].count:
        return (Group.READONLY,)
    rest = source.hindrances[Group.ADMIN]
    if not rest.count:
        return (Group.READONLY, Group.ADMIN)
    raise Blocked("BackupNotAllowed", _sentence(database, roles.groups[Group.ADMIN], rest))


def _sentence(database: str, admins: str, found: Hindrances) -> str:
    parts = []
    if found.unreadable:
        first = found.unreadable[0]
        parts.append(
            f"no right to read {_listed(found.unreadable)} (their owner or a DBA must run, in database {database}, "
            f"ALTER TABLE {first} OWNER TO {quoted(admins)}, or GRANT SELECT ON {first} TO {quoted(admins)})"
        )
    if found.row_security:
        first = found.row_security[0]
        parts.append(
            f"row security hides rows of {_listed(found.row_security)} (ALTER TABLE {first} OWNER TO "
            f"{quoted(admins)}, or ALTER TABLE {first} NO FORCE ROW LEVEL SECURITY)"
        )
    if found.large_objects:
        parts.append(
            f"no right to read {found.large_objects} large objects (their owner or a DBA must run "
            f"GRANT SELECT ON LARGE OBJECT ... TO {quoted(admins)})"
        )
    return f"A backup of database {database} would have holes: {'; '.join(parts)}"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
