"""The statements that drop a login and leave nothing of it behind. Pure.

NOLOGIN, end its sessions, then in each database hand over what it owns and drop what it was granted, then
DROP ROLE. DROP OWNED before REASSIGN OWNED would drop tables (PostgreSQL documentation, section 22.4).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from dbtether.api.names import Group, Marker, parse_marker
from dbtether.errors import Blocked
from dbtether.postgres.borrow import borrowed
from dbtether.postgres.guards import Verdict
from dbtether.postgres.roles.model import Dependents, Role, role_names
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.roles.sessions import ended_sessions
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, in_new_transaction, statement


@dataclass(frozen=True, slots=True)
class ObservedDrop:
    """Everything the drop of a login looks at."""

    server: ServerFacts
    role: Role | None
    dependents: Dependents
    roles: Mapping[str, Role] = field(default_factory=dict)
    """The owner and group roles of the databases where the login owns something, as far as they exist."""


def plan_drop(name: str, marker: Marker, observed: ObservedDrop) -> tuple[Statement, ...]:
    """What to run so that the login is gone; empty when it is, or was never ours."""
    role = observed.role
    if role is None or parse_marker(role.comment) != marker:
        return ()
    return drop_of(role, observed, f"Drop login {name}")


def drop_of(
    role: Role, observed: ObservedDrop, purpose: str, privileges: Sequence[Statement] = ()
) -> tuple[Statement, ...]:
    """What drops a login, whosever it is; `privileges` are what it must lose first by its grantors' doing."""
    administrator = administrator_of(role, (), observed.server)
    return (
        *_close(observed, role, administrator),
        *privileges,
        *_hand_over(observed, role, administrator),
        statement(
            purpose,
            "",
            "DROP ROLE {name}",
            as_role=administrator,
            destructive=True,
            new_transaction=True,
            name=sql.Identifier(role.name),
        ),
    )


def _close(observed: ObservedDrop, role: Role, administrator: str | None) -> Iterator[Statement]:
    if role.can_login:
        yield statement(
            f"Let nobody log in as {role.name} any more",
            "",
            "ALTER ROLE {name} NOLOGIN",
            as_role=administrator,
            name=sql.Identifier(role.name),
        )
    # Always: a session that began after the observation would keep the role it works as for ever.
    yield from ended_sessions(observed.server, role, administrator)


def _hand_over(observed: ObservedDrop, role: Role, administrator: str | None) -> Iterator[Statement]:
    dependents = observed.dependents
    places = list(dependents.databases)
    if not places and (dependents.owned.get("") or dependents.granted.get("")):
        # Shared objects only (privileges on databases): DROP OWNED in any database drops those.
        places = [""]
    name = sql.Identifier(role.name)
    for place in places:
        heir = _heir(observed, place)
        work = [
            statement(
                f"Hand over what {role.name} owns in database {place} to {heir}",
                place,
                "REASSIGN OWNED BY {name} TO {heir}",
                name=name,
                heir=sql.Identifier(heir),
            )
        ]
        if not dependents.owned.get(place):
            work = []
        work.append(
            statement(
                f"Drop the privileges of {role.name}" + (f" in database {place}" if place else ""),
                place,
                "DROP OWNED BY {name}",
                destructive=True,
                name=name,
            )
        )
        heir_role = observed.roles.get(heir)
        if heir_role is not None and len(work) > 1:
            owner = role_names(place).owner
            acting = owner if observed.server.acts_as_owner else None
            work = list(borrowed(observed.server, heir_role, acting, place, work))
        items = list(borrowed(observed.server, role, administrator, place, [*_granted(role, place), *work]))
        yield in_new_transaction(items[0])
        yield from items[1:]


def _heir(observed: ObservedDrop, database: str) -> str:
    """Who gets a login's objects: the admins' group of the database, the admin itself where we have none."""
    group = role_names(database).groups[Group.ADMIN]
    return group if group in observed.roles else observed.server.admin


def _granted(role: Role, database: str) -> Iterator[Statement]:
    """Memberships the login granted to others hold it back on 16+ (2BP01)."""
    for edge in role.granted:
        yield statement(
            f"Take {edge.role} back from {edge.member}, who has it from {role.name}",
            database,
            "REVOKE {role} FROM {member} GRANTED BY {grantor} CASCADE",
            role=sql.Identifier(edge.role),
            member=sql.Identifier(edge.member),
            grantor=sql.Identifier(edge.grantor),
        )


def owns_a_database(name: str, observed: ObservedDrop) -> Verdict:
    """REASSIGN OWNED would move whole databases, wherever it runs: a person must decide who gets them."""
    databases = observed.dependents.owned_databases
    if not databases:
        return None
    quoted = sql.Identifier(databases[0]).as_string(None)
    return Blocked(
        "RoleHasDependents",
        f"Login {name} owns database {', '.join(databases)}: give it another owner first, "
        f"for example ALTER DATABASE {quoted} OWNER TO {sql.Identifier(observed.server.admin).as_string(None)}",
    )
