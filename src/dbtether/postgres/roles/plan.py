"""The statements that make a login as desired, and those that drop one. Pure."""

from collections.abc import Iterator, Mapping

from psycopg import sql

from dbtether.api.names import ROLE_PREFIX, Group, grant_group_role, is_grant_group
from dbtether.postgres.grants.model import ObjectKind
from dbtether.postgres.grants.plan import object_grants
from dbtether.postgres.roles.adopt import handed_over, takes_over
from dbtether.postgres.roles.model import (
    Access,
    DesiredLogin,
    Membership,
    ObservedLogin,
    Role,
    role_names,
)
from dbtether.postgres.roles.sessions import ended_lost_sessions
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.settings import SettingChange, setting_changes, setting_statement
from dbtether.postgres.statement import SecretLiteral, Statement, in_new_transaction, statement


def plan(desired: DesiredLogin, observed: ObservedLogin) -> tuple[Statement, ...]:
    """What to run so that the login is as desired; empty when it is."""
    administrator = administrator_of(observed.role, desired.access, observed.server)
    return (
        *_attributes(desired, observed, administrator),
        *_memberships(desired, observed),
        *_settings(desired, observed, administrator),
        *_direct_connects(desired, observed),
        *_ended_sessions(desired, observed, administrator),
        *handed_over(desired, observed, administrator),
    )


def administrator_of(role: Role | None, access: tuple[Access, ...], server: ServerFacts) -> str | None:
    """The role to act as when a login is created, altered or dropped; None for the admin itself.

    On 16+ a non-superuser needs ADMIN on the login, which its creator has: the owner role of the user's
    first database at that time, which may not be in the list any more.
    """
    if not server.acts_as_owner:
        return None
    if role is None:
        return role_names(access[0].database).owner if access else None
    holders = {edge.member for edge in role.members if edge.admin_option}
    owners = sorted(name for name in holders if name.startswith(ROLE_PREFIX))
    own = [name for name in (role_names(item.database).owner for item in access) if name in owners]
    return next(iter([*own, *owners]), None)


def _attributes(desired: DesiredLogin, observed: ObservedLogin, as_role: str | None) -> Iterator[Statement]:
    role, server = observed.role, observed.server
    name = sql.Identifier(desired.name)
    inherit = inherits(desired, server)
    if role is None:
        yield statement(
            f"Create login {desired.name}",
            "",
            "CREATE ROLE {name} WITH LOGIN{options}",
            as_role=as_role,
            name=name,
            options=sql.Composed(list(_new_options(desired, inherit=inherit))),
        )
        yield _mark(desired, as_role)
        return
    if takes_over(desired, role):
        yield _mark(desired, as_role)
    changes = list(_changed_options(desired, role, server, inherit=inherit))
    if changes:
        what = ", ".join(label for label, _ in changes)
        yield statement(
            f"Change login {desired.name}: {what}",
            "",
            "ALTER ROLE {name} WITH{options}",
            as_role=as_role,
            name=name,
            options=sql.Composed([clause for _, clause in changes]),
        )


def _mark(desired: DesiredLogin, as_role: str | None) -> Statement:
    return statement(
        f"Mark role {desired.name} as belonging to {desired.marker}",
        "",
        "COMMENT ON ROLE {name} IS {marker}",
        as_role=as_role,
        name=sql.Identifier(desired.name),
        marker=sql.Literal(str(desired.marker)),
    )


def _new_options(desired: DesiredLogin, *, inherit: bool) -> Iterator[sql.Composable]:
    if not inherit:
        yield sql.SQL(" NOINHERIT")
    if desired.connection_limit != -1:
        yield sql.SQL(" CONNECTION LIMIT {}").format(sql.Literal(desired.connection_limit))
    if desired.valid_until is not None:
        yield sql.SQL(" VALID UNTIL {}").format(sql.Literal(desired.valid_until.isoformat()))
    if desired.verifier is not None:
        yield sql.SQL(" PASSWORD {}").format(SecretLiteral(desired.verifier))


def _changed_options(
    desired: DesiredLogin, role: Role, server: ServerFacts, *, inherit: bool
) -> Iterator[tuple[str, sql.Composable]]:
    """Only what differs: naming an attribute can need more rights than it changes (PostgreSQL, ALTER ROLE)."""
    if not role.can_login:
        yield "may log in", sql.SQL(" LOGIN")
    if role.inherits != inherit:
        yield (
            ("inherits" if inherit else "does not inherit"),
            sql.SQL(" INHERIT" if inherit else " NOINHERIT"),
        )
    if role.can_create_roles:
        yield "may not create roles", sql.SQL(" NOCREATEROLE")
    if role.can_create_databases:
        yield "may not create databases", sql.SQL(" NOCREATEDB")
    if server.is_superuser:
        if role.is_superuser:
            yield "no superuser", sql.SQL(" NOSUPERUSER")
        if role.can_replicate:
            yield "no replication", sql.SQL(" NOREPLICATION")
        if role.bypasses_rls:
            yield "obeys row security", sql.SQL(" NOBYPASSRLS")
    if role.connection_limit != desired.connection_limit:
        limit = sql.SQL(" CONNECTION LIMIT {}").format(sql.Literal(desired.connection_limit))
        yield f"connection limit {desired.connection_limit}", limit
    if role.valid_until != desired.valid_until:
        until = "infinity" if desired.valid_until is None else desired.valid_until.isoformat()
        yield f"valid until {until}", sql.SQL(" VALID UNTIL {}").format(sql.Literal(until))
    if desired.verifier is not None:
        yield "password", sql.SQL(" PASSWORD {}").format(SecretLiteral(desired.verifier))


def inherits(desired: DesiredLogin, server: ServerFacts) -> bool:
    """Whether the login has its groups' rights by itself.

    Before 16 inheritance belongs to the member as a whole. An admin must create nothing outside the admins'
    group, so there it inherits nothing: it connects by a direct grant and works as its group.
    """
    return server.memberships_have_options or all(item.group is not Group.ADMIN for item in desired.access)


def switches_role(desired: DesiredLogin, item: Access, server: ServerFacts) -> bool:
    """Whether the login works as its group in this database (a `role` setting at login)."""
    return item.group is Group.ADMIN or not inherits(desired, server)


def _wanted_memberships(desired: DesiredLogin, server: ServerFacts) -> dict[str, tuple[str, bool]]:
    """Role to (the database's owner role, INHERIT)."""
    wanted: dict[str, tuple[str, bool]] = {}
    for item in desired.access:
        names = role_names(item.database)
        is_admin = item.group is Group.ADMIN
        wanted[item.role] = (names.owner, not is_admin)
        if is_admin and server.memberships_have_options:
            # SET alone does not open the door at login (42501): CONNECT comes with the inherited readonly.
            wanted[names.groups[Group.READONLY]] = (names.owner, True)
    return wanted


def _memberships(desired: DesiredLogin, observed: ObservedLogin) -> Iterator[Statement]:
    server = observed.server
    wanted = _wanted_memberships(desired, server)
    edges = () if observed.role is None else observed.role.memberships
    for edge in unwanted_memberships(desired, observed):
        yield leave(edge, server)
    for edge in edges:
        if edge.admin_option and edge.role in wanted and _is_as_wanted(edge, wanted[edge.role][1], server):
            yield leave(edge, server, only_admin=True)
    for role, (owner, inherit) in sorted(wanted.items()):
        if not any(edge.role == role and _is_as_wanted(edge, inherit, server) for edge in edges):
            options = (
                sql.SQL(" WITH INHERIT {}, SET TRUE").format(sql.SQL("TRUE" if inherit else "FALSE"))
                if server.memberships_have_options
                else sql.SQL("")
            )
            yield statement(
                f"Put {desired.name} into group {role}",
                "",
                "GRANT {role} TO {member}{options}",
                as_role=owner if server.acts_as_owner else None,
                role=sql.Identifier(role),
                member=sql.Identifier(desired.name),
                options=options,
            )


def unwanted_memberships(desired: DesiredLogin, observed: ObservedLogin) -> tuple[Membership, ...]:
    """The login's memberships in roles of ours that must end.

    On 16+ there is a row for each grantor, and one that inherits is enough to inherit.
    """
    server = observed.server
    wanted = _wanted_memberships(desired, server)
    edges = () if observed.role is None else observed.role.memberships
    return tuple(
        edge
        for edge in edges
        if (edge.role.startswith(ROLE_PREFIX) and edge.role not in wanted)
        or (
            server.memberships_have_options and edge.role in wanted and edge.inherit_option and not wanted[edge.role][1]
        )
    )


def _is_as_wanted(edge: Membership, inherit: bool, server: ServerFacts) -> bool:
    if not server.memberships_have_options:
        return True
    return edge.inherit_option == inherit and edge.set_option


def leave(edge: Membership, server: ServerFacts, *, only_admin: bool = False) -> Statement:
    """The REVOKE of exactly this row: another grantor's would be left with no word said."""
    granted_by = (
        sql.SQL(" GRANTED BY {}").format(sql.Identifier(edge.grantor))
        if server.memberships_have_options
        else sql.SQL("")
    )
    what = f"Take the right to grant {edge.role} from" if only_admin else f"Take {edge.role} from"
    return statement(
        f"{what} {edge.member}",
        "",
        "REVOKE {option}{role} FROM {member}{granted_by}",
        as_role=edge.grantor if server.acts_as_owner and edge.grantor.startswith(ROLE_PREFIX) else None,
        option=sql.SQL("ADMIN OPTION FOR ") if only_admin else sql.SQL(""),
        role=sql.Identifier(edge.role),
        member=sql.Identifier(edge.member),
        granted_by=granted_by,
    )


def _settings(desired: DesiredLogin, observed: ObservedLogin, as_role: str | None) -> Iterator[Statement]:
    observed_settings: Mapping[str, tuple[str, ...]] = observed.role.settings if observed.role else {}
    target = sql.SQL("ALTER ROLE {}").format(sql.Identifier(desired.name))
    for change in setting_changes(
        desired.settings, observed_settings.get("", ()), ours=desired.previous_settings | {"role"}
    ):
        yield setting_statement(change, target, f"login {desired.name}", as_role=as_role)
    stale = _stale_working_roles(desired, observed)
    wanted, has = _working_roles(desired, observed)
    for database in sorted({*wanted, *has} - set(stale)):
        if wanted.get(database) != has.get(database):
            yield _working_role(desired, database, wanted.get(database), as_role)


def _working_role(desired: DesiredLogin, database: str, working_as: str | None, as_role: str | None) -> Statement:
    """The role that the login's sessions work as in a database, from their beginning on."""
    return setting_statement(
        SettingChange("role", working_as),
        sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(desired.name), sql.Identifier(database)),
        f"login {desired.name} in database {database}",
        as_role=as_role,
    )


def _working_roles(desired: DesiredLogin, observed: ObservedLogin) -> tuple[dict[str, str], dict[str, str]]:
    """The role that the login's sessions work as, by database: as wanted, and as it is."""
    settings: Mapping[str, tuple[str, ...]] = observed.role.settings if observed.role else {}
    wanted = {item.database: item.role for item in desired.access if switches_role(desired, item, observed.server)}
    has = {
        database: value
        for database, items in settings.items()
        if database and (value := dict(i.split("=", 1) for i in items).get("role")) is not None
    }
    return wanted, has


def _stale_working_roles(desired: DesiredLogin, observed: ObservedLogin) -> dict[str, str | None]:
    """By database, the role that sessions shall work as where they work as one that the login has lost."""
    wanted, has = _working_roles(desired, observed)
    # Who comes into a grant group is still in the group of its level, by way of it.
    levels = {role_names(item.database).groups[item.group] for item in desired.access}
    kept = {*_wanted_memberships(desired, observed.server), *levels}
    return {
        database: wanted.get(database)
        for database, working_as in sorted(has.items())
        if wanted.get(database) != working_as and working_as.startswith(ROLE_PREFIX) and working_as not in kept
    }


def _ended_sessions(desired: DesiredLogin, observed: ObservedLogin, administrator: str | None) -> Iterator[Statement]:
    """Sessions that the login must not keep: those in databases that it has left, and those that work as a role
    that it has lost, which they keep whatever is revoked afterwards.

    Each leaves a trace until it is ended, so that a crash in between is made good: the session itself, in a
    database that its login may not enter any more, and the setting of the lost role, which goes afterwards.
    """
    role = observed.role
    if role is None:
        return
    strays = role.has_stray_sessions or _leaves_a_database(desired, observed)
    stale = _stale_working_roles(desired, observed)
    if strays or stale:
        yield from ended_lost_sessions(observed.server, role, administrator, list(stale), strays=strays)
    for number, (database, working_as) in enumerate(stale.items()):
        item = _working_role(desired, database, working_as, administrator)
        yield item if number else in_new_transaction(item)


def _stem(grant_role: str) -> str:
    """The part of a grant role's name that tells database and level."""
    return grant_role.rpartition("_")[0]


def _leaves_a_database(desired: DesiredLogin, observed: ObservedLogin) -> bool:
    """Whether it loses the groups of a database of ours, or a privilege of its own on one, altogether."""
    databases = {item.database for item in desired.access}
    own = {name for database in databases for name in role_names(database).all}
    own |= {_stem(grant_group_role(database, group, "")) for database in databases for group in Group}
    direct = () if observed.role is None else observed.role.on_databases
    return any(
        edge.role not in own and not (is_grant_group(edge.role) and _stem(edge.role) in own)
        for edge in unwanted_memberships(desired, observed)
    ) or any(item.database not in databases and item.owner == role_names(item.database).owner for item in direct)


def _direct_connects(desired: DesiredLogin, observed: ObservedLogin) -> Iterator[Statement]:
    """A login has no privileges of its own on our databases, with one exception.

    Before 16, one that inherits nothing needs CONNECT by itself. What it has on others' databases is theirs.
    """
    server = observed.server
    inherits_nothing = not inherits(desired, server)
    wanted = {item.database for item in desired.access} if inherits_nothing else set()
    has = {} if observed.role is None else {item.database: item for item in observed.role.on_databases}
    for database in sorted({*wanted, *has}):
        known = has[database].owner if database in has else observed.database_owners.get(database)
        owner = known or role_names(database).owner
        if owner == desired.name or (database not in wanted and owner != role_names(database).owner):
            continue
        yield from object_grants(
            ObjectKind.DATABASE,
            database,
            [(database,)],
            {desired.name: frozenset({"CONNECT", "TEMPORARY"}) if database in wanted else frozenset()},
            has[database].acl if database in has else (),
            owner,
            as_role=owner if server.acts_as_owner else None,
            run_in="",
        )
