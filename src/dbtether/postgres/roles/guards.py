"""What stops a login's plan: a role that is not ours, or one the admin has no power over."""

from collections.abc import Callable

from dbtether.api.names import ROLE_PREFIX, Group, parse_marker
from dbtether.errors import Blocked
from dbtether.postgres.guards import Verdict, quoted
from dbtether.postgres.roles.adopt import adopted_role_owns_a_database, role_rules_the_server
from dbtether.postgres.roles.model import DesiredLogin, ObservedLogin, role_names
from dbtether.postgres.roles.plan import administrator_of, unwanted_memberships
from dbtether.postgres.server.cures import grant_of_role
from dbtether.postgres.server.guards import no_createrole, read_only_server

Guard = Callable[[DesiredLogin, ObservedLogin], Verdict]


def server_is_read_only(_: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """Nothing can be changed there."""
    return read_only_server(observed.server)


def role_not_ours(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """An existing role without this resource's marker is never touched: it may be another tenant's."""
    role = observed.role
    if role is None or parse_marker(role.comment) == desired.marker or desired.adopts:
        return None
    return Blocked(
        "RoleNotOurs",
        f"Role {role.name} exists already and was not made for this resource: nothing was changed; "
        f"choose another spec.username",
    )


def role_is_too_powerful(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """Attributes that only a superuser may take away again."""
    role = observed.role
    if role is None or observed.server.is_superuser:
        return None
    flags = (
        ("NOSUPERUSER", role.is_superuser),
        ("NOREPLICATION", role.can_replicate),
        ("NOBYPASSRLS", role.bypasses_rls),
        # On 16+ only who may create databases itself takes that away, and owner roles may not.
        (
            "NOCREATEDB",
            role.can_create_databases and administrator_of(role, desired.access, observed.server) is not None,
        ),
    )
    wrong = [flag for flag, is_set in flags if is_set]
    if not wrong:
        return None
    return Blocked(
        "MissingPrivileges",
        f"Somebody gave role {role.name} rights that no tenant may have: a superuser must run "
        f"ALTER ROLE {quoted(role.name)} {' '.join(wrong)}",
    )


def admin_lacks_createrole(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """Without it there are no logins."""
    return no_createrole(observed.server, f"login {desired.name}")


def admin_lacks_login(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """On 16+ ADMIN on the login is needed: by the admin itself or by an owner role it can act as."""
    role, server = observed.role, observed.server
    if role is None or not server.acts_as_owner:
        return None
    if any(e.admin_option and (e.member == server.admin or e.member.startswith(ROLE_PREFIX)) for e in role.members):
        return None
    owner = role_names(desired.access[0].database).owner if desired.access else server.admin
    return Blocked(
        "MissingPrivileges",
        f"The admin has no rights on role {role.name}: a DBA must run {grant_of_role(role.name, owner)}",
    )


def membership_of_another_grantor(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """On 16+ only its grantor, or who has the grantor's rights, takes a membership away."""
    server = observed.server
    if not server.acts_as_owner:
        return None
    for edge in unwanted_memberships(desired, observed):
        if edge.grantor != server.admin and not edge.grantor.startswith(ROLE_PREFIX):
            return Blocked(
                "MissingPrivileges",
                f"{edge.grantor} put {edge.member} into {edge.role}, and only {edge.grantor} or a superuser can end "
                f"that: run REVOKE {quoted(edge.role)} FROM {quoted(edge.member)} "
                f"GRANTED BY {quoted(edge.grantor)}",
            )
    return None


def group_is_missing(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """The Database's own reconcile makes the groups; until it has, there is nothing to grant."""
    for item in desired.access:
        names = role_names(item.database)
        needed = {names.owner, names.groups[item.group], names.groups[Group.READONLY]}
        if missing := sorted(needed - set(observed.roles)):
            return Blocked(
                "DatabaseNotReady",
                f"Database {item.database} has lost its role {missing[0]}: it is made again by its Database resource",
            )
    return None


def grant_group_is_missing(desired: DesiredLogin, observed: ObservedLogin) -> Verdict:
    """The Database's reconcile makes the roles for additional grants, and wakes who waits for one."""
    for item in desired.access:
        if item.role not in observed.roles:
            return Blocked(
                "GrantsNotReady",
                f"Database {item.database} has no role for spec.additionalGrants yet: its Database resource makes it",
            )
    return None


GUARDS: tuple[Guard, ...] = (
    server_is_read_only,
    role_not_ours,
    role_rules_the_server,
    adopted_role_owns_a_database,
    role_is_too_powerful,
    admin_lacks_createrole,
    admin_lacks_login,
    membership_of_another_grantor,
    group_is_missing,
    grant_group_is_missing,
)
