"""The statements that make a database as desired. Pure: no clock, no connection, no randomness.

The order of a new one: owner and groups in one transaction; the database, closed to connections; its
privileges, then open; what is inside. Stopped anywhere, the next observation plans the rest.
"""

from collections.abc import Iterator

from psycopg import sql

from dbtether.api.names import ROLE_PREFIX, Group, marker_in, parse_marker, with_marker
from dbtether.postgres.databases.extensions import extension_statements
from dbtether.postgres.databases.grantgroups import dropped_grant_groups, grant_group_privileges, grant_group_roles
from dbtether.postgres.databases.model import (
    Database,
    DesiredDatabase,
    Inside,
    ObservedDatabase,
    new_database_acl,
)
from dbtether.postgres.databases.ownership import (
    allies,
    desired_schema_owner,
    handover,
    is_adoption,
    join_allies,
    keep_previous_working,
    leave_allies,
    schema_owners,
)
from dbtether.postgres.databases.powers import (
    acting_as,
    acting_as_database_owner,
    acting_for,
    creators,
    manageable_owners,
)
from dbtether.postgres.grants.acl import PUBLIC
from dbtether.postgres.grants.model import ObjectKind, Schema, group_privileges
from dbtether.postgres.grants.plan import default_grants, object_grants
from dbtether.postgres.roles.model import Membership, Role, RoleNames
from dbtether.postgres.roles.plan import leave
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.settings import setting_changes, setting_statement
from dbtether.postgres.statement import Statement, statement

_DEFAULT_KINDS = (ObjectKind.TABLE, ObjectKind.SEQUENCE, ObjectKind.SCHEMA, ObjectKind.LARGE_OBJECT)


def plan(desired: DesiredDatabase, observed: ObservedDatabase) -> tuple[Statement, ...]:
    """What to run so that the database is as desired; empty when it is."""
    inside = observed.inside
    statements = [*_roles(desired, observed), *_database(desired, observed)]
    if inside is not None:
        statements += inside_statements(desired, observed, inside)
        statements += leave_allies(desired, observed)
    statements += dropped_grant_groups(desired, observed)
    return tuple(statements)


def sees_everything(desired: DesiredDatabase, observed: ObservedDatabase) -> bool:
    """Whether the plan is made from all there is to see; otherwise plan again when it has been applied.

    Inside a database that the admin is only about to be let into, and in one made from a template of
    somebody's own, there may be more to do.
    """
    if observed.database is None:
        return desired.template == "template0"
    return observed.inside is not None and not is_adoption(desired, observed)


def _roles(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    names, server = desired.roles, observed.server
    owner = observed.roles.get(names.owner)
    if owner is None:
        yield from _create_owner(desired, server)
    elif parse_marker(owner.comment) != desired.marker:
        yield _mark(desired)
    if owner is not None and server.acts_as_owner and not owner.can_create_roles:
        yield statement(
            f"Let role {names.owner} create the roles of database {desired.name}",
            "",
            "ALTER ROLE {owner} CREATEROLE",
            owner=sql.Identifier(names.owner),
        )
    if not server.is_superuser and not _admin_can_act(server, owner):
        yield _join(server, names.owner, server.admin, as_role=None)
    for group, name in names.groups.items():
        if name not in observed.roles:
            yield statement(
                f"Create group role {name} ({group.value} on database {desired.name})",
                "",
                "CREATE ROLE {name} NOLOGIN",
                as_role=acting_as(server, names.owner),
                name=sql.Identifier(name),
            )
    yield from grant_group_roles(desired, observed)
    yield from _join_admins_group(names, observed)
    yield from join_allies(desired, observed)
    yield from keep_previous_working(desired, observed)
    yield from _role_repairs(desired, observed)


def _role_repairs(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """Nobody logs in as one of a database's own roles, and no group has another's rights."""
    names, server = desired.roles, observed.server
    for name in names.all:
        role = observed.roles.get(name)
        if role is None:
            continue
        as_role = None if name == names.owner else acting_as(server, names.owner)
        if role.can_login:
            yield statement(
                f"Let nobody log in as role {name}",
                "",
                "ALTER ROLE {name} NOLOGIN",
                as_role=as_role,
                name=sql.Identifier(name),
            )
    for edge in unwanted_group_memberships(desired, observed):
        yield leave(edge, server)


def unwanted_group_memberships(desired: DesiredDatabase, observed: ObservedDatabase) -> tuple[Membership, ...]:
    """Groups of ours that were put into a role of ours: their members would have its rights."""
    found = (observed.roles.get(name) for name in desired.roles.groups.values())
    return tuple(
        edge for role in found if role is not None for edge in role.memberships if edge.role.startswith(ROLE_PREFIX)
    )


def _create_owner(desired: DesiredDatabase, server: ServerFacts) -> Iterator[Statement]:
    owner = desired.roles.owner
    options = sql.SQL(" CREATEROLE") if server.acts_as_owner else sql.SQL("")
    yield statement(
        f"Create role {owner}, the owner of database {desired.name} that nobody joins",
        "",
        "CREATE ROLE {owner} NOLOGIN{options}",
        owner=sql.Identifier(owner),
        options=options,
    )
    yield _mark(desired)


def _mark(desired: DesiredDatabase) -> Statement:
    owner = desired.roles.owner
    return statement(
        f"Mark role {owner} as belonging to {desired.marker}",
        "",
        "COMMENT ON ROLE {owner} IS {marker}",
        owner=sql.Identifier(owner),
        marker=sql.Literal(str(desired.marker)),
    )


def _admin_can_act(server: ServerFacts, role: Role | None) -> bool:
    """Whether the admin's own membership in the role lets it act for it."""
    return role is not None and any(
        edge.member == server.admin and (edge.set_option or not server.memberships_have_options)
        for edge in role.members
    )


def _join_admins_group(names: RoleNames, observed: ObservedDatabase) -> Iterator[Statement]:
    """A non-superuser needs the admins' group to set its default privileges and to hand objects to it."""
    server = observed.server
    if server.is_superuser:
        return
    group = names.groups[Group.ADMIN]
    member = names.owner if server.acts_as_owner else server.admin
    role = observed.roles.get(group)
    if role is None or not any(edge.member == member and edge.set_option for edge in role.members):
        yield _join(server, group, member, as_role=acting_as(server, names.owner))


def _join(server: ServerFacts, role: str, member: str, *, as_role: str | None) -> Statement:
    options = sql.SQL(" WITH INHERIT FALSE, SET TRUE") if server.memberships_have_options else sql.SQL("")
    return statement(
        f"Let {member} act as {role}",
        "",
        "GRANT {role} TO {member}{options}",
        as_role=as_role,
        role=sql.Identifier(role),
        member=sql.Identifier(member),
        options=options,
    )


def _database(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    database, owner = observed.database, desired.roles.owner
    if database is None:
        yield created_database(desired)
    else:
        owner = database.owner
    as_role = acting_for(desired, observed.server, owner)
    acl = new_database_acl(owner) if database is None else database.acl
    yield from object_grants(
        ObjectKind.DATABASE,
        desired.name,
        [(desired.name,)],
        _database_privileges(desired, observed.server, owner),
        acl,
        owner,
        as_role=as_role,
        run_in="",
    )
    yield from _properties(desired, database, as_role)
    if database is None or (not database.allows_connections and is_unfinished(desired, database)):
        yield statement(
            f"Open database {desired.name} for connections",
            "",
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true",
            as_role=as_role,
            name=sql.Identifier(desired.name),
        )


def is_unfinished(desired: DesiredDatabase, database: Database) -> bool:
    """Whether this is a creation that was interrupted: closed since CREATE DATABASE, PUBLIC not yet out.

    A database that a person closed has its groups' privileges, or its old comment.
    """
    return marker_in(database.comment) != desired.marker


def created_database(desired: DesiredDatabase) -> Statement:
    """CREATE DATABASE, closed to connections."""
    options: list[sql.Composable] = []
    if desired.encoding:
        options.append(sql.SQL(" ENCODING {}").format(sql.Literal(desired.encoding)))
    if desired.locale_provider:
        options.append(sql.SQL(" LOCALE_PROVIDER {}").format(sql.Identifier(desired.locale_provider)))
    if desired.locale_provider == "builtin":
        # It needs a locale, and everywhere it has these two.
        builtin = desired.icu_locale or ("C.UTF-8" if desired.encoding in (None, "UTF8") else "C")
        options.append(sql.SQL(" BUILTIN_LOCALE {}").format(sql.Literal(builtin)))
    elif desired.icu_locale:
        options.append(sql.SQL(" ICU_LOCALE {}").format(sql.Literal(desired.icu_locale)))
    if desired.lc_collate:
        options.append(sql.SQL(" LC_COLLATE {}").format(sql.Literal(desired.lc_collate)))
    if desired.lc_ctype:
        options.append(sql.SQL(" LC_CTYPE {}").format(sql.Literal(desired.lc_ctype)))
    return statement(
        f"Create database {desired.name}",
        "",
        "CREATE DATABASE {name} WITH OWNER {owner} TEMPLATE {source} ALLOW_CONNECTIONS false{options}",
        transactional=False,
        name=sql.Identifier(desired.name),
        owner=sql.Identifier(desired.roles.owner),
        source=sql.Identifier(desired.template),
        options=sql.Composed(options),
    )


def _database_privileges(desired: DesiredDatabase, server: ServerFacts, owner: str) -> dict[str, frozenset[str]]:
    wanted = {
        name: group_privileges(ObjectKind.DATABASE, group, server.major) for group, name in desired.roles.groups.items()
    }
    if desired.revoke_public_connect:
        wanted[PUBLIC] = frozenset()
    if server.acts_as_owner and owner != server.admin:
        # SET without INHERIT does not open the door at login: the admin needs CONNECT of its own.
        wanted[server.admin] = frozenset({"CONNECT"})
    return wanted


def _properties(desired: DesiredDatabase, database: Database | None, as_role: str | None) -> Iterator[Statement]:
    name = sql.Identifier(desired.name)
    limit = -1 if database is None else database.connection_limit
    if limit != desired.connection_limit:
        yield statement(
            f"Set the connection limit of database {desired.name} to {desired.connection_limit}",
            "",
            "ALTER DATABASE {name} WITH CONNECTION LIMIT {limit}",
            as_role=as_role,
            name=name,
            limit=sql.Literal(desired.connection_limit),
        )
    settings = () if database is None else database.settings
    for change in setting_changes(desired.settings, settings, ours=desired.previous_settings):
        yield setting_statement(
            change,
            sql.SQL("ALTER DATABASE {}").format(name),
            f"database {desired.name}",
            as_role=as_role,
        )
    comment = None if database is None else database.comment
    if (wanted := with_marker(comment, desired.marker)) != comment:
        yield statement(
            f"Say in the comment of database {desired.name} who manages it",
            "",
            "COMMENT ON DATABASE {name} IS {comment}",
            as_role=as_role,
            name=name,
            comment=sql.Literal(wanted),
        )


def inside_statements(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    """What makes schemas, privileges and extensions in the database as desired."""
    yield from _schemas(desired, observed, inside)
    yield from _schema_privileges(desired, observed, inside)
    yield from _default_privileges(desired, observed, inside)
    yield from _relation_privileges(desired, observed, inside)
    yield from grant_group_privileges(desired, observed, inside)
    yield from schema_owners(desired, observed, inside)
    yield from handover(desired, observed, inside)
    yield from extension_statements(desired, inside, as_role=acting_as(observed.server, desired.roles.owner))


def _schemas(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    existing = {schema.name for schema in inside.schemas}
    for schema in desired.schemas:
        if schema.name not in existing:
            owner = desired_schema_owner(desired, observed, schema.owner)
            yield statement(
                f"Create schema {schema.name} in database {desired.name}",
                desired.name,
                "CREATE SCHEMA {name} AUTHORIZATION {owner}",
                as_role=acting_as_database_owner(desired, observed),
                name=sql.Identifier(schema.name),
                owner=sql.Identifier(owner),
            )


def _schema_privileges(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    server = observed.server
    owners = manageable_owners(desired, observed, allies(desired, observed))
    present = list(inside.schemas)
    names = {schema.name for schema in present}
    present += [
        Schema(new.name, desired_schema_owner(desired, observed, new.owner), ())
        for new in desired.schemas
        if new.name not in names
    ]
    for schema in present:
        if schema.owner not in owners and not server.is_superuser:
            continue
        wanted = _for_groups(desired.roles, ObjectKind.SCHEMA, server.major, without=schema.owner)
        if schema.name == "public":
            public = frozenset({item.privilege for item in schema.acl if item.grantee == PUBLIC})
            wanted[PUBLIC] = public - {"CREATE"}
        yield from object_grants(
            ObjectKind.SCHEMA,
            desired.name,
            [(schema.name,)],
            wanted,
            schema.acl,
            schema.owner,
            as_role=owners.get(schema.owner),
        )


def _default_privileges(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    server = observed.server
    for creator in creators(desired, server, allies(desired, observed)):
        for kind in _DEFAULT_KINDS:
            if kind is ObjectKind.LARGE_OBJECT and server.major < 18:
                continue
            acl = next(
                (d.acl for d in inside.default_acls if (d.creator, d.kind, d.schema) == (creator, kind, None)), ()
            )
            yield from default_grants(
                kind,
                desired.name,
                creator,
                _for_groups(desired.roles, kind, server.major, without=creator),
                acl,
                as_role=acting_for(desired, server, creator),
            )


def _relation_privileges(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    server = observed.server
    owners = manageable_owners(desired, observed, allies(desired, observed))
    for group in inside.relations:
        if group.owner in owners or server.is_superuser:
            yield from object_grants(
                group.kind,
                desired.name,
                [(group.schema, name) for name in group.names],
                _for_groups(desired.roles, group.kind, server.major, without=group.owner),
                group.acl,
                group.owner,
                as_role=owners.get(group.owner),
            )


def _for_groups(names: RoleNames, kind: ObjectKind, major: int, *, without: str) -> dict[str, frozenset[str]]:
    """What each group should have; an owner has everything already and is left out."""
    return {name: group_privileges(kind, group, major) for group, name in names.groups.items() if name != without}
