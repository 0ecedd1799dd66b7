"""The statements that drop a database with its groups and its owner role. Pure.

Closed first, so that clients that reconnect don't win the race; then its sessions end; then a plain DROP,
which ends autovacuum by itself (WITH (FORCE) is refused to a non-superuser while one is in there).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from dbtether.api.names import ROLE_PREFIX, Marker, is_grant_group, parse_marker
from dbtether.errors import Blocked
from dbtether.postgres.databases.grantgroups import grant_groups_of
from dbtether.postgres.databases.model import Database, Session
from dbtether.postgres.databases.powers import acting_as
from dbtether.postgres.guards import Verdict
from dbtether.postgres.roles.model import Role, RoleNames
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.roles.sessions import ended_sessions, termination_wait
from dbtether.postgres.server.cures import grant_of_signal
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, statement


@dataclass(frozen=True, slots=True)
class ObservedDatabaseDrop:
    """Everything the drop of a database looks at."""

    server: ServerFacts
    database: Database | None
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Its own roles, and the logins that are connected to it."""
    sessions: tuple[Session, ...] = ()
    known_owners: frozenset[str] = frozenset()
    """Roles beside the owner role that own the database by the resource's own doing."""


def plan_drop(name: str, marker: Marker, names: RoleNames, observed: ObservedDatabaseDrop) -> tuple[Statement, ...]:
    """What to run so that the database and its roles are gone; empty when they are, or were never ours."""
    owner = observed.roles.get(names.owner)
    if owner is None or parse_marker(owner.comment) != marker:
        return ()
    statements: list[Statement] = []
    if observed.database is not None and observed.database.owner in {names.owner, *observed.known_owners}:
        statements += dropped_database(observed, acting_as(observed.server, names.owner))
    statements += _groups(names, observed)
    if not administered_logins(owner, names):
        statements.append(
            statement(
                f"Drop role {names.owner}, the owner of database {name}",
                "",
                "DROP ROLE {name}",
                destructive=True,
                name=sql.Identifier(names.owner),
            )
        )
    return tuple(statements)


def administered_logins(owner: Role, names: RoleNames) -> tuple[str, ...]:
    """Logins that only the owner role can administer (16+, non-superuser): it stays as long as they do."""
    own = {*names.groups.values(), *(e.role for e in owner.memberships if is_grant_group(e.role))}
    return tuple(sorted({e.role for e in owner.memberships if e.admin_option and e.role not in own}))


def dropped_database(observed: ObservedDatabaseDrop, as_role: str | None) -> Iterator[Statement]:
    """What drops the observed database, with the rights of its owner."""
    database = observed.database
    assert database is not None
    if database.allows_connections and database.connection_limit != -2:
        yield statement(
            f"Let nobody connect to database {database.name} any more",
            "",
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false",
            as_role=as_role,
            name=sql.Identifier(database.name),
        )
    yield from ended_sessions_in(database.name, observed)
    yield statement(
        f"Drop database {database.name} with everything in it",
        "",
        "DROP DATABASE {name}",
        as_role=as_role,
        transactional=False,
        destructive=True,
        name=sql.Identifier(database.name),
    )


def ended_sessions_in(name: str, observed: ObservedDatabaseDrop) -> Iterator[Statement]:
    """What ends the sessions in a database that is closed by then."""
    server = observed.server
    if server.is_superuser:
        # All at once: also whoever came in after the look, and would make DROP wait for 5 s.
        yield statement(
            f"End the sessions in database {name}",
            "",
            "SELECT pg_catalog.pg_terminate_backend(pid{wait}) FROM pg_catalog.pg_stat_activity "
            "WHERE datname = {name} AND usename IS NOT NULL",
            destructive=True,
            new_transaction=True,
            wait=termination_wait(server),
            name=sql.Literal(name),
        )
        return
    for session in observed.sessions:
        role = observed.roles.get(session.user or "")
        if role is not None:
            yield from ended_sessions(server, role, administrator_of(role, (), server), name)


def _groups(names: RoleNames, observed: ObservedDatabaseDrop) -> Iterator[Statement]:
    groups = [group for group in names.groups.values() if group in observed.roles]
    for group in [*grant_groups_of(names, observed.roles), *groups]:
        yield statement(
            f"Drop group role {group}",
            "",
            "DROP ROLE {name}",
            as_role=acting_as(observed.server, names.owner),
            destructive=True,
            name=sql.Identifier(group),
        )


def foreign_session(name: str, observed: ObservedDatabaseDrop) -> Verdict:
    """A superuser's session can be ended by a superuser only."""
    if observed.server.is_superuser:
        return None
    for session in observed.sessions:
        role = observed.roles.get(session.user or "")
        if role is not None and role.is_superuser:
            return Blocked(
                "DatabaseInUse",
                f"Superuser {role.name} is connected to database {name}, and only a superuser can end that: "
                f"close the session",
            )
        if role is not None and not _can_end(observed.server, role):
            return Blocked(
                "MissingPrivileges",
                f"Login {role.name}, which dbtether did not make, is connected to database {name}, and the admin may "
                f"not end its session: close it, or let a DBA run {grant_of_signal(observed.server.admin)}",
            )
    return None


def _can_end(server: ServerFacts, role: Role) -> bool:
    """Before 16 an admin makes itself a member of whomever it must end; since then only with ADMIN on the role."""
    if server.can_signal_backends or not server.memberships_have_options or role.name == server.admin:
        return True
    return any(
        (edge.member == server.admin and (edge.admin_option or edge.inherit_option))
        or (edge.admin_option and edge.member.startswith(ROLE_PREFIX))
        for edge in role.members
    )


def marker_lost(marker: Marker, names: RoleNames, observed: ObservedDatabaseDrop) -> Verdict:
    """The owner role is there, but its comment is no marker any more: whose it is only a person can say.

    With another resource's marker it is that one's, and gone for this one.
    """
    owner = observed.roles.get(names.owner)
    if owner is None or parse_marker(owner.comment) is not None:
        return None
    role = sql.Identifier(names.owner).as_string(None)
    return Blocked(
        "DatabaseNotOurs",
        f"Somebody changed the comment of role {names.owner}, which says whose the database is: nothing was dropped; "
        f"a DBA must run COMMENT ON ROLE {role} IS {sql.Literal(str(marker)).as_string(None)}, or annotate the "
        f"resource with dbtether.io/force-delete=true to leave everything on the server",
    )
