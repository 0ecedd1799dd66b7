"""Taking over a role that exists: who may never be taken, and what becomes of what it owns. Pure."""

from collections.abc import Iterator

from psycopg import sql

from dbtether.api.names import Group, parse_marker
from dbtether.errors import Blocked
from dbtether.postgres.borrow import borrowed
from dbtether.postgres.guards import Verdict, quoted
from dbtether.postgres.roles.model import DesiredLogin, ObservedLogin, Role, role_names
from dbtether.postgres.roles.sessions import ended_sessions
from dbtether.postgres.statement import Statement, in_new_transaction, statement


def takes_over(desired: DesiredLogin, role: Role) -> bool:
    """Whether the role is there without the login's marker, and is to get it."""
    return desired.adopts and parse_marker(role.comment) != desired.marker


def role_rules_the_server(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """A tenant's Secret must never open a superuser, the admin, or a role that can act as one."""
    role = observed.role
    if role is None or not takes_over(desired, role):
        return None
    flags = (
        ("a superuser", role.is_superuser),
        ("one that may replicate", role.can_replicate),
        ("one that passes over row security", role.bypasses_rls),
        ("the DBCluster's admin", role.name == observed.server.admin),
    )
    found = [text for text, holds in flags if holds]
    if observed.belongings is not None:
        found += [f"a member of {name}, which has power over the server" for name in observed.belongings.powerful]
    if not found:
        return None
    return Blocked(
        "AdoptionNotAllowed",
        f"spec.adopt: role {role.name} is {found[0]}, and nobody may take that over: choose another spec.username",
    )


def adopted_role_owns_a_database(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """An owner can drop its database and let everybody in; REASSIGN OWNED would move it along, too."""
    if observed.role is None or not takes_over(desired, observed.role) or observed.belongings is None:
        return None
    databases = observed.belongings.dependents.owned_databases
    if not databases:
        return None
    return Blocked(
        "RoleHasDependents",
        f"spec.adopt: role {desired.name} owns database {', '.join(databases)}: adopt the database first, with its "
        f"spec.owner left out until the role is adopted too, or have a DBA run "
        f"ALTER DATABASE {quoted(databases[0])} OWNER TO {quoted(observed.server.admin)}",
    )


def handed_over(desired: DesiredLogin, observed: ObservedLogin, administrator: str | None) -> Iterator[Statement]:
    """Where the login works as the admins' group, what it owns itself goes to that group.

    Else its own sessions could not use it any more. Those that are open work as the login, so they end first:
    they come back as the group. Elsewhere it keeps what it owns.
    """
    role, server = observed.role, observed.server
    if role is None or observed.belongings is None:
        return
    for item in desired.access:
        if item.group is not Group.ADMIN or not observed.belongings.dependents.owned.get(item.database):
            continue
        names = role_names(item.database)
        heir = names.groups[Group.ADMIN]
        work = [
            statement(
                f"Hand over what {role.name} owns in database {item.database} to {heir}",
                item.database,
                "REASSIGN OWNED BY {name} TO {heir}",
                name=sql.Identifier(role.name),
                heir=sql.Identifier(heir),
            )
        ]
        if (heir_role := observed.roles.get(heir)) is not None:
            acting = names.owner if server.acts_as_owner else None
            work = list(borrowed(server, heir_role, acting, item.database, work))
        yield from ended_sessions(server, role, administrator, item.database)
        first, *rest = borrowed(server, role, administrator, item.database, work)
        yield in_new_transaction(first)
        yield from rest
