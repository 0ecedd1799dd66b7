"""The statements of a restore around the load itself: its login, the staging database, the swap, and what goes. Pure.

A swap is three steps. The databases are made alike and closed, in one transaction that also says so in the
comment of the one to come in; then their sessions end; then both get their names, and the new one is opened and
recorded, in one transaction. Stopped anywhere, the old one or the new one is whole, and planning again goes on;
`plan_open` goes back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from psycopg import sql

from dbtether.api.names import Group, Marker
from dbtether.postgres.borrow import inheritance
from dbtether.postgres.databases.drop import ObservedDatabaseDrop, dropped_database, ended_sessions_in
from dbtether.postgres.databases.extensions import extension_statements
from dbtether.postgres.databases.model import (
    AvailableExtension,
    Database,
    DesiredDatabase,
    DesiredExtension,
    DesiredSchema,
    Inside,
    ObservedDatabase,
    new_database_acl,
)
from dbtether.postgres.databases.plan import created_database, inside_statements
from dbtether.postgres.databases.powers import acting_as
from dbtether.postgres.dumps.model import DesiredRunLogin, ObservedRunLogin
from dbtether.postgres.dumps.plan import plan as plan_run_login
from dbtether.postgres.grants.acl import PUBLIC
from dbtether.postgres.grants.model import ObjectKind
from dbtether.postgres.grants.plan import object_grants
from dbtether.postgres.restores.model import (
    Completed,
    DesiredStaging,
    DesiredSwap,
    ObservedSwap,
    record_comment,
    record_in,
    replaced_comment,
    replaced_in,
    run_beside,
    staging_comment,
    staging_in,
)
from dbtether.postgres.restores.properties import copied_properties
from dbtether.postgres.roles.model import Role, RoleNames
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.settings import SettingChange, setting_statement
from dbtether.postgres.statement import Statement, in_new_transaction, statement

# ---- the login of the load


def plan_login(desired: DesiredRunLogin, observed: ObservedRunLogin) -> tuple[Statement, ...]:
    """What makes the login of a load, or gives that of an earlier attempt a new password and time.

    Its sessions work as the admins' group from their beginning; as itself it may connect to the one database, and
    become the group.
    """
    owner = acting_as(observed.server, desired.roles.owner)
    role = observed.role
    has = () if role is None else next((p.acl for p in role.on_databases if p.database == desired.database), ())
    statements = [*plan_run_login(replace(desired, groups=(Group.ADMIN,), inherits=False), observed)]
    if not any(item.privilege == "CONNECT" for item in has):
        statements.append(
            statement(
                f"Let {desired.name} connect to database {desired.database}",
                "",
                "GRANT CONNECT ON DATABASE {place} TO {name}",
                as_role=owner,
                place=sql.Identifier(desired.database),
                name=sql.Identifier(desired.name),
            )
        )
    group = desired.roles.groups[Group.ADMIN]
    if role is None or f"role={group}" not in role.settings.get(desired.database, ()):
        statements.append(
            setting_statement(
                SettingChange("role", group),
                sql.SQL("ALTER ROLE {} IN DATABASE {}").format(
                    sql.Identifier(desired.name), sql.Identifier(desired.database)
                ),
                f"login {desired.name} in database {desired.database}",
                as_role=owner if role is None else administrator_of(role, (), observed.server),
            )
        )
    return tuple(statements)


# ---- extensions, which only the admin makes


def extensions_for(
    target: DesiredDatabase, source: Sequence[DesiredExtension], available: Sequence[AvailableExtension]
) -> tuple[DesiredExtension, ...]:
    """What the Database wants, then what the backup had beside: in its version where the server has that one."""
    versions = {extension.name: extension.versions for extension in available}
    wanted = {extension.name: extension for extension in target.extensions}
    for extension in source:
        if extension.name != "plpgsql" and extension.name not in wanted:
            known = extension.version in versions.get(extension.name, ())
            wanted[extension.name] = extension if known else replace(extension, version=None)
    return tuple(wanted.values())


def plan_extensions(
    target: DesiredDatabase, extensions: Sequence[DesiredExtension], server: ServerFacts, inside: Inside
) -> tuple[Statement, ...]:
    """What installs those that are missing in the database that is loaded into; the others stay as they are."""
    installed = {extension.name for extension in inside.extensions}
    missing = tuple(extension for extension in extensions if extension.name not in installed)
    as_role = acting_as(server, target.roles.owner)
    desired = replace(target, extensions=missing, drop_extensions=False)
    return tuple(extension_statements(desired, inside, as_role=as_role))


# ---- the staging database


def staging_database(desired: DesiredStaging, server: ServerFacts) -> DesiredDatabase:
    """The staging database as a database to be made: the target's insides under another name, the owner role's."""
    locale = desired.locale
    known = {schema.name for schema in desired.target.schemas} | {"public"}
    schemas = {extension.schema for extension in desired.extensions if extension.schema is not None} - known
    return replace(
        desired.target,
        name=desired.name,
        extensions=desired.extensions,
        drop_extensions=False,
        schemas=(*desired.target.schemas, *(DesiredSchema(name) for name in sorted(schemas))),
        template="template0",
        encoding=locale.encoding,
        lc_collate=locale.collate,
        lc_ctype=locale.ctype,
        # Before 15 there is nothing but libc, and no word for it.
        locale_provider=locale.provider if server.major >= 15 else None,
        icu_locale=locale.locale,
        connection_limit=-1,
        settings=(),
        previous_settings=frozenset(),
        owner=None,
        known_owners=frozenset(),
        adopts=False,
    )


def plan_staging(desired: DesiredStaging, observed: ObservedDatabase) -> tuple[Statement, ...]:
    """What makes the staging database, closed until nobody but the run's login can get in; empty when it is there."""
    server, database = observed.server, observed.database
    wanted = staging_database(desired, server)
    if database is not None and _is_closed_for_a_swap(database):
        return ()
    statements: list[Statement] = []
    if database is None:
        statements.append(created_database(wanted))
    statements += _staging_access(desired, observed, wanted)
    if observed.inside is not None:
        statements += inside_statements(wanted, replace(observed, database=database), observed.inside)
    return tuple(statements)


def _is_closed_for_a_swap(database: Database) -> bool:
    found = staging_in(database.name, database.comment)
    return found is not None and found.is_swapping


def _staging_access(
    desired: DesiredStaging, observed: ObservedDatabase, wanted: DesiredDatabase
) -> Iterator[Statement]:
    server, database, roles = observed.server, observed.database, wanted.roles
    as_role, name = acting_as(server, roles.owner), sql.Identifier(wanted.name)
    privileges: dict[str, frozenset[str]] = {group: frozenset() for group in roles.groups.values()}
    # Whoever is in the admins' group must not get in either: only what a load does as the group is allowed.
    privileges[roles.groups[Group.ADMIN]] = frozenset({"CREATE", "TEMPORARY"})
    privileges[PUBLIC] = frozenset()
    if server.acts_as_owner:
        privileges[server.admin] = frozenset({"CONNECT"})
    yield from object_grants(
        ObjectKind.DATABASE,
        wanted.name,
        [(wanted.name,)],
        privileges,
        new_database_acl(roles.owner) if database is None else database.acl,
        roles.owner,
        as_role=as_role,
        run_in="",
    )
    comment = staging_comment(desired.target.marker, desired.run_id)
    if database is None or database.comment != comment:
        yield _comment(wanted.name, comment, as_role, f"Say whose staging database {wanted.name} is")
    if database is None or not database.allows_connections:
        yield statement(
            f"Open database {wanted.name} for the load",
            "",
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true",
            as_role=as_role,
            name=name,
        )


# ---- the swap


def plan_swap(desired: DesiredSwap, observed: ObservedSwap) -> tuple[Statement, ...]:
    """What puts the incoming database in the target's place and keeps the target; empty when that is done.

    To go back is a swap, too: the replaced database comes in.
    """
    target, incoming = observed.target, observed.incoming
    if target is None or incoming is None:
        return ()
    return (
        *_closed(desired, observed, target, incoming),
        *_ended(observed, target, incoming),
        *_renamed(desired, observed, target, incoming),
    )


def _closed(desired: DesiredSwap, observed: ObservedSwap, target: Database, incoming: Database) -> Iterator[Statement]:
    """One transaction: closed first, for nobody may come in by the privileges that it gets."""
    as_role = acting_as(observed.server, desired.roles.owner)
    if incoming.allows_connections:
        yield _allowance(incoming.name, as_role, f"Let nobody connect to database {incoming.name}", allow=False)
    yield from copied_properties(desired, observed, target, incoming)
    if not observed.is_swapping:
        comment = _incoming_comment(desired, incoming, is_swapping=True)
        yield _comment(incoming.name, comment, as_role, f"Say that {incoming.name} takes the place of {target.name}")
    if target.allows_connections:
        yield _allowance(
            target.name, as_role, f"Let nobody connect to database {target.name} during the swap", allow=False
        )


def _ended(observed: ObservedSwap, target: Database, incoming: Database) -> Iterator[Statement]:
    for database in (target, incoming):
        sessions = observed.sessions.get(database.name, ())
        looked = ObservedDatabaseDrop(observed.server, database, observed.roles, sessions)
        yield from ended_sessions_in(database.name, looked)


def _renamed(desired: DesiredSwap, observed: ObservedSwap, target: Database, incoming: Database) -> Iterator[Statement]:
    """One transaction, begun when everybody is out. RENAME asks for the owner's rights without SET ROLE (16+)."""
    server, owner = observed.server, desired.roles.owner
    as_role, lends = acting_as(server, owner), server.acts_as_owner
    statements: list[Statement] = []
    if lends:
        statements.append(inheritance(owner, server.admin, "", on=True))
    statements += [_rename(target.name, desired.outgoing), _rename(incoming.name, desired.database)]
    if incoming.owner != target.owner:
        statements.append(
            statement(
                f"Make {target.owner} the owner of database {desired.database}, as of the one before",
                "",
                "ALTER DATABASE {name} OWNER TO {owner}",
                name=sql.Identifier(desired.database),
                owner=sql.Identifier(target.owner),
            )
        )
    if lends:
        statements.append(inheritance(owner, server.admin, "", on=False))
    kept = replaced_comment(desired.marker, desired.run_id, desired.expires)
    statements += [
        _comment(desired.outgoing, kept, as_role, f"Say how long database {desired.outgoing} is kept"),
        _comment(desired.database, target.comment, as_role, f"Give database {desired.database} its comment"),
        *_recorded(desired.roles, desired.completed, observed.record, server),
        _allowance(
            desired.database, as_role, f"Open database {desired.database}, which has the restored data", allow=True
        ),
    ]
    yield in_new_transaction(statements[0])
    yield from statements[1:]


def plan_open(desired: DesiredSwap, observed: ObservedSwap) -> tuple[Statement, ...]:
    """What opens the target again when a swap has closed it and will not go on; the incoming one stays closed."""
    target, incoming = observed.target, observed.incoming
    if target is None or incoming is None or not observed.is_swapping:
        return ()
    as_role = acting_as(observed.server, desired.roles.owner)
    comment = _incoming_comment(desired, incoming, is_swapping=False)
    statements = [_comment(incoming.name, comment, as_role, f"Say that {incoming.name} takes no place any more")]
    if not target.allows_connections:
        purpose = f"Open database {target.name} again as it was"
        statements.append(_allowance(target.name, as_role, purpose, allow=True))
    return tuple(statements)


def _incoming_comment(desired: DesiredSwap, incoming: Database, *, is_swapping: bool) -> str:
    """A staging database's, or a replaced one's that comes back: it keeps its own run and time."""
    found = replaced_in(incoming.name, incoming.comment)
    if found is not None:
        return replaced_comment(found.marker, found.run_id, found.expires, is_swapping=is_swapping)
    return staging_comment(desired.marker, desired.run_id, is_swapping=is_swapping)


# ---- the record


def plan_record(
    roles: RoleNames, completed: Completed, readwrite: Role | None, server: ServerFacts
) -> tuple[Statement, ...]:
    """What records a completed restore that needed no swap; `readwrite` is the group as observed."""
    return tuple(_recorded(roles, completed, record_in(readwrite.comment if readwrite else None), server))


def _recorded(
    roles: RoleNames, completed: Completed | None, record: Sequence[Completed], server: ServerFacts
) -> Iterator[Statement]:
    if completed is None or completed in record:
        return
    group = roles.groups[Group.READWRITE]
    yield statement(
        f"Record in the comment of {group} that run {completed.run_id} was completed",
        "",
        "COMMENT ON ROLE {name} IS {comment}",
        as_role=acting_as(server, roles.owner),
        name=sql.Identifier(group),
        comment=sql.Literal(record_comment(record, completed)),
    )


# ---- what goes


def plan_drop_staging(
    database: str, run_id: str, roles: RoleNames, observed: ObservedDatabaseDrop
) -> tuple[Statement, ...]:
    """What drops a run's staging database; empty when it is gone, or is not the run's.

    One without a comment was never opened: its creation was interrupted. Before, `plan_open` opens the target that
    was closed for it.
    """
    found = observed.database
    if found is None or run_beside(database, found.name) != run_id or found.owner != roles.owner:
        return ()
    told = staging_in(found.name, found.comment)
    is_unfinished = found.comment is None and not found.allows_connections
    if not is_unfinished and (told is None or told.run_id != run_id):
        return ()
    return tuple(dropped_database(observed, acting_as(observed.server, roles.owner)))


def plan_drop_replaced(
    database: str, marker: Marker, roles: RoleNames, observed: ObservedDatabaseDrop
) -> tuple[Statement, ...]:
    """What drops a replaced database; empty when it is gone, is not this resource's, or comes back right now."""
    found = observed.database
    if found is None or found.owner not in {roles.owner, *observed.known_owners}:
        return ()
    told = replaced_in(found.name, found.comment)
    if told is None or told.is_swapping or told.marker != marker or run_beside(database, found.name) != told.run_id:
        return ()
    return tuple(dropped_database(observed, acting_as(observed.server, roles.owner)))


# ---- words that several need


def _rename(name: str, new_name: str) -> Statement:
    return statement(
        f"Rename database {name} to {new_name}",
        "",
        "ALTER DATABASE {name} RENAME TO {new_name}",
        name=sql.Identifier(name),
        new_name=sql.Identifier(new_name),
    )


def _allowance(name: str, as_role: str | None, purpose: str, *, allow: bool) -> Statement:
    return statement(
        purpose,
        "",
        "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allow}",
        as_role=as_role,
        name=sql.Identifier(name),
        allow=sql.SQL("true" if allow else "false"),
    )


def _comment(name: str, comment: str | None, as_role: str | None, purpose: str) -> Statement:
    return statement(
        purpose,
        "",
        "COMMENT ON DATABASE {name} IS {comment}",
        as_role=as_role,
        name=sql.Identifier(name),
        comment=sql.SQL("NULL") if comment is None else sql.Literal(comment),
    )
