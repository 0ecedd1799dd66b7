"""What belongs to a database and not to what is in it: copied to the one that takes its place. Pure.

Settings, privileges, connection limit and the settings of roles in it are kept by the database's OID, so a
renamed one takes them along (PostgreSQL documentation, "pg_db_role_setting").
"""

from collections.abc import Iterable, Iterator, Mapping

from psycopg import sql

from dbtether.postgres.databases.model import Database
from dbtether.postgres.databases.powers import acting_as
from dbtether.postgres.dumps.model import RUN_PREFIX
from dbtether.postgres.grants.model import ObjectKind
from dbtether.postgres.grants.plan import object_grants
from dbtether.postgres.guards import quoted
from dbtether.postgres.restores.model import DesiredSwap, ObservedSwap
from dbtether.postgres.roles.model import Role
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.settings import setting_changes, setting_statement
from dbtether.postgres.statement import Statement, statement


def copied_properties(
    desired: DesiredSwap, observed: ObservedSwap, target: Database, incoming: Database
) -> Iterator[Statement]:
    """What gives the incoming database the properties of the one whose place it takes."""
    as_role = acting_as(observed.server, desired.roles.owner)
    yield from _privileges(target, incoming, as_role)
    if incoming.connection_limit != target.connection_limit:
        yield statement(
            f"Set the connection limit of database {incoming.name} to {target.connection_limit}",
            "",
            "ALTER DATABASE {name} WITH CONNECTION LIMIT {limit}",
            as_role=as_role,
            name=sql.Identifier(incoming.name),
            limit=sql.Literal(target.connection_limit),
        )
    yield from _settings(
        _settable(target.settings, observed),
        _settable(incoming.settings, observed),
        sql.SQL("ALTER DATABASE {}").format(sql.Identifier(incoming.name)),
        f"database {incoming.name}",
        as_role,
    )
    wanted, has = (observed.role_settings.get(name, {}) for name in (target.name, incoming.name))
    for role in sorted({*wanted, *has}):
        found = observed.roles.get(role)
        if found is None or role.startswith(RUN_PREFIX) or not _may_alter(found, observed):
            continue
        yield from _settings(
            _settable(wanted.get(role, ()), observed),
            _settable(has.get(role, ()), observed),
            sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(incoming.name)),
            f"role {role} in database {incoming.name}",
            administrator_of(found, (), observed.server),
        )


def _privileges(target: Database, incoming: Database, as_role: str | None) -> Iterator[Statement]:
    owners = {target.owner, incoming.owner}
    grantees = {item.grantee for item in (*target.acl, *incoming.acl)} - owners
    wanted = {
        grantee: frozenset(item.privilege for item in target.acl if item.grantee == grantee) for grantee in grantees
    }
    yield from object_grants(
        ObjectKind.DATABASE,
        incoming.name,
        [(incoming.name,)],
        wanted,
        incoming.acl,
        incoming.owner,
        as_role=as_role,
        run_in="",
    )


def _settings(
    wanted: Iterable[str], has: tuple[str, ...], target: sql.Composable, of: str, as_role: str | None
) -> Iterator[Statement]:
    pairs = [(name, value) for name, _, value in (item.partition("=") for item in wanted)]
    ours = frozenset(item.partition("=")[0] for item in has)
    for change in setting_changes(pairs, has, ours=ours):
        yield setting_statement(change, target, of, as_role=as_role)


def _settable(items: Iterable[str], observed: ObservedSwap) -> tuple[str, ...]:
    if observed.server.is_superuser:
        return tuple(items)
    return tuple(item for item in items if item.partition("=")[0].lower() not in observed.superuser_settings)


def _may_alter(role: Role, observed: ObservedSwap) -> bool:
    """CREATEROLE is enough before 16, except for superusers; since then ADMIN on the role is needed."""
    server = observed.server
    if server.is_superuser or role.name == server.admin:
        return True
    if role.is_superuser:
        return False
    is_administered = any(edge.admin_option and edge.member == server.admin for edge in role.members)
    return not server.acts_as_owner or is_administered or administrator_of(role, (), server) is not None


def left_behind(desired: DesiredSwap, observed: ObservedSwap) -> tuple[str, ...]:
    """The statements for a DBA that set what the admin may not copy; empty when everything is copied."""
    if observed.target is None:
        return ()
    name = quoted(desired.database)
    statements = [
        f"ALTER DATABASE {name} SET {_assignment(item)}" for item in _beyond(observed.target.settings, observed)
    ]
    by_role: Mapping[str, tuple[str, ...]] = observed.role_settings.get(observed.target.name, {})
    for role, items in sorted(by_role.items()):
        found = observed.roles.get(role)
        if found is None or role.startswith(RUN_PREFIX):
            continue
        left = _beyond(items, observed) if _may_alter(found, observed) else items
        statements += [f"ALTER ROLE {quoted(role)} IN DATABASE {name} SET {_assignment(item)}" for item in left]
    return tuple(statements)


def _beyond(items: Iterable[str], observed: ObservedSwap) -> tuple[str, ...]:
    settable = set(_settable(items, observed))
    return tuple(item for item in items if item not in settable)


def _assignment(item: str) -> str:
    name, _, value = item.partition("=")
    return f"{quoted(name)} TO {sql.Literal(value).as_string(None)}"
