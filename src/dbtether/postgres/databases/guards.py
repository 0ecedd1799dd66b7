"""What stops a database's plan: not ours, not possible on this server, or only a person may decide."""

from collections.abc import Callable

from dbtether.api.names import Group, parse_marker
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.databases.ownership import (
    allies,
    is_ours,
    owner_not_theirs_to_name,
    owner_too_powerful,
    previous_owner_out_of_reach,
)
from dbtether.postgres.databases.plan import is_unfinished
from dbtether.postgres.databases.powers import manageable_owners
from dbtether.postgres.grants.acl import PUBLIC
from dbtether.postgres.guards import Verdict, quoted
from dbtether.postgres.server.cures import attribute, grant_of_owner, grant_of_role
from dbtether.postgres.server.guards import no_createrole, read_only_server

Guard = Callable[[DesiredDatabase, ObservedDatabase], Verdict]


def server_is_read_only(_: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Nothing can be changed there."""
    return read_only_server(observed.server)


def owner_role_not_ours(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """The trusted marker is the owner role's comment: its members cannot change it."""
    role = observed.roles.get(desired.roles.owner)
    if role is None or parse_marker(role.comment) == desired.marker or desired.adopts:
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Role {role.name} exists and is marked {_owner_text(role.comment)}, so database {desired.name} belongs "
        f"to another resource: choose another spec.databaseName, or delete that resource first",
    )


def database_not_ours(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """A database that exists and is not owned by our marked owner role is somebody else's."""
    database = observed.database
    if database is None:
        return None
    if desired.adopts or is_ours(desired, observed):
        return None
    return Blocked(
        "DatabaseNotOurs",
        f"Database {desired.name} exists already (owner {database.owner}) and was not made for this resource: "
        f"nothing was changed; choose another spec.databaseName, or set spec.adopt and have the DBCluster's "
        f"spec.adoptable list it for this namespace",
    )


def group_role_not_ours(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Owner and groups are made in one transaction: a group without its owner role is foreign."""
    if desired.roles.owner in observed.roles:
        return None
    found = [name for name in desired.roles.groups.values() if name in observed.roles]
    if not found:
        return None
    return Blocked(
        "RoleNotOurs",
        f"Role {found[0]} exists, but was not made by this installation: somebody could be in it already; "
        f"drop or rename it ({_drop(found)})",
    )


def database_is_invalid(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """datconnlimit -2: DROP DATABASE was interrupted, the data is partly gone."""
    if observed.database is None or observed.database.connection_limit != -2:
        return None
    return Blocked(
        "DatabaseInvalid",
        f"A DROP of database {desired.name} was interrupted and it cannot be used any more: "
        f"run DROP DATABASE {quoted(desired.name)}; it is then created anew",
    )


def database_is_closed(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """A person closed it (or a restore holds it): opening it is not ours to decide."""
    database = observed.database
    if database is None or database.allows_connections or is_unfinished(desired, database):
        return None
    return Blocked(
        "DatabaseClosed",
        f"Database {desired.name} does not allow connections: when that is no longer wanted, "
        f"run ALTER DATABASE {quoted(desired.name)} WITH ALLOW_CONNECTIONS true",
    )


def limit_keeps_the_admin_out(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """A superuser's sessions do not count (PostgreSQL, CREATE DATABASE); any other admin could not look in again."""
    if desired.connection_limit != 0 or observed.server.is_superuser:
        return None
    return Blocked(
        "MissingPrivileges",
        f"spec.connectionLimit: with 0 nobody but a superuser gets into database {desired.name}, and the DBCluster's "
        f"admin is none: give at least 1, or connect the DBCluster as a superuser",
    )


def admin_lacks_createrole(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Needed for the owner and group roles."""
    return no_createrole(observed.server, f"the roles of database {desired.name}")


def admin_lacks_createdb(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Needed only while the database is not there."""
    server = observed.server
    if observed.database is not None or server.is_superuser or server.can_create_databases:
        return None
    return Blocked(
        "MissingPrivileges",
        f"The admin cannot create database {desired.name}: a DBA must run {attribute(server.admin, 'CREATEDB')}",
    )


def admin_lacks_membership(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """On 16+ a new admin login has no rights on the roles that an earlier one made.

    Being a member is not enough, as an upgrade from 15 leaves it: the owner role must be altered and dropped.
    """
    server, owner = observed.server, observed.roles.get(desired.roles.owner)
    if owner is None or not server.acts_as_owner:
        return None
    if any(edge.member == server.admin and edge.admin_option for edge in owner.members):
        return None
    return Blocked(
        "MissingPrivileges",
        f"The admin {server.admin} has no rights on role {owner.name}: a DBA must run "
        f"{grant_of_owner(owner.name, server.admin)}",
    )


def owner_lacks_group(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """On 16+ the owner role rules the groups it created; those a superuser made need a grant."""
    if not observed.server.acts_as_owner:
        return None
    for name in desired.own_roles:
        role = observed.roles.get(name)
        if name == desired.roles.owner or role is None:
            continue
        if any(e.member == desired.roles.owner and e.admin_option for e in role.members):
            continue
        return Blocked(
            "MissingPrivileges",
            f"Role {desired.roles.owner} has no rights on group {name}: a DBA must run "
            f"{grant_of_role(name, desired.roles.owner)}",
        )
    return None


def property_cannot_change(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Encoding and locale are fixed at creation (PostgreSQL documentation, section 24.1 and 24.3)."""
    database = observed.database
    if database is None:
        return None
    pairs = (
        ("encoding", desired.encoding, database.encoding, _encoding),
        ("lcCollate", desired.lc_collate, database.lc_collate, _as_it_is),
        ("lcCtype", desired.lc_ctype, database.lc_ctype, _as_it_is),
        ("localeProvider", desired.locale_provider, database.locale_provider, _as_it_is),
        ("icuLocale", desired.icu_locale, database.icu_locale, _language_tag),
    )
    for field, wanted, has, plain in pairs:
        if wanted is not None and plain(wanted) != plain(has):
            return Blocked(
                "ImmutableDatabaseProperty",
                f"spec.{field}: database {desired.name} has {has}, and PostgreSQL cannot change it to {wanted}: "
                f"restore the value, or move the data to a new database",
            )
    return None


def _as_it_is(value: str | None) -> str | None:
    return value


def _encoding(name: str | None) -> str | None:
    # PostgreSQL takes names without regard to case and punctuation (`pg_char_to_encoding`).
    if name is None:
        return None
    plain = "".join(character for character in name.upper() if character.isalnum())
    return {"UNICODE": "UTF8"}.get(plain, plain)


def _language_tag(locale: str | None) -> str | None:
    # Since 16 the server stores de_DE as the language tag de-DE.
    return None if locale is None else locale.replace("_", "-").lower()


def extension_not_available(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """The server has no files for it: only whoever runs the server can install them."""
    if observed.inside is None:
        return None
    known = {e.name for e in observed.inside.extensions} | {e.name for e in observed.inside.available}
    missing = [extension.name for extension in desired.extensions if extension.name not in known]
    if not missing:
        return None
    return Blocked(
        "ExtensionNotAvailable",
        f"Extension {', '.join(missing)} is not available on this server: take it out of spec.extensions, "
        f"or have its package installed on the server",
    )


def extension_not_allowed(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """An untrusted extension runs with a superuser's power: the platform must have allowed it."""
    if observed.inside is None:
        return None
    installed = {extension.name for extension in observed.inside.extensions}
    for extension in desired.extensions:
        found = next((e for e in observed.inside.available if e.name == extension.name), None)
        if (
            found is None
            or found.trusted
            or extension.name in installed
            or extension.name in desired.allowed_extensions
        ):
            continue
        return Blocked(
            "ExtensionNotAllowed",
            f"Extension {extension.name} is not a trusted one (it runs with the admin's power): "
            f"ask for it in the DBCluster's spec.allowedExtensions",
        )
    return None


def untrusted_needs_superuser(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Allowed, but the admin is no superuser: a DBA installs it (managed servers have their own lists)."""
    if observed.inside is None or observed.server.is_superuser:
        return None
    wanted = {extension.name for extension in desired.extensions}
    installed = {extension.name for extension in observed.inside.extensions}
    for found in observed.inside.available:
        if found.name in wanted - installed and not found.trusted and not _may_try(desired, found.name):
            return Blocked(
                "MissingPrivileges",
                f"Extension {found.name} needs a superuser: a DBA must run, in database {desired.name}, "
                f"CREATE EXTENSION {quoted(found.name)}",
            )
    return None


NEED_PRELOAD = frozenset({"pg_stat_statements", "pg_stat_monitor", "pg_cron", "pgaudit", "timescaledb", "citus"})
"""They can be installed without, and then every use of them fails."""


def extension_needs_preload(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Only whoever runs the server can have a library loaded at its start."""
    installed = {extension.name for extension in (observed.inside.extensions if observed.inside else ())}
    for extension in desired.extensions:
        if extension.name in NEED_PRELOAD - installed and observed.server.lacks_preloaded(extension.name):
            return Blocked(
                "ExtensionNeedsPreload",
                f"Extension {extension.name} works only when the server loads it at start: have {extension.name} added "
                f"to shared_preload_libraries and the server restarted, or take it out of spec.extensions",
            )
    return None


def _may_try(desired: DesiredDatabase, name: str) -> bool:
    # RDS, Cloud SQL and Azure let their admins create listed extensions that PostgreSQL does not trust.
    return name in desired.allowed_extensions


def template_not_public(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """A template is copied with all its data: only what its owner has opened to everybody may be.

    PostgreSQL asks the same of whoever does not own it (CREATE DATABASE, "Notes"), but not of a superuser.
    One sentence whether or not it exists: a refusal does not tell.
    """
    if observed.database is not None or desired.template == "template0":
        return None
    if observed.template is not None and observed.template.is_template:
        return None
    return Blocked(
        "TemplateNotAllowed",
        f"spec.template: {desired.template} is no template that everybody may copy: use template0 or template1, or "
        f"have a DBA run ALTER DATABASE {quoted(desired.template)} IS_TEMPLATE true",
    )


def extension_version_not_available(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Before anything is made: an extension of a version that the server lacks."""
    available = {e.name: e for e in observed.inside.available} if observed.inside is not None else {}
    for extension in desired.extensions:
        found = available.get(extension.name)
        if found is None or extension.version is None or not found.versions or extension.version in found.versions:
            continue
        return Blocked(
            "ExtensionNotAvailable",
            f"Extension {extension.name} has no version {extension.version} on this server: "
            f"use one of {', '.join(found.versions)}, or leave spec.extensionOptions.{extension.name}.version out",
        )
    return None


def extension_schema_missing(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """CREATE EXTENSION makes no schema of its own accord."""
    if observed.inside is None:
        return None
    known = {schema.name for schema in observed.inside.schemas} | {schema.name for schema in desired.schemas}
    installed = {extension.name for extension in observed.inside.extensions}
    for extension in desired.extensions:
        if extension.schema is None or extension.schema in known or extension.name in installed:
            continue
        return Blocked(
            "SchemaNotFound",
            f"spec.extensionOptions.{extension.name}.schema: {extension.schema} does not exist in database "
            f"{desired.name}: add it to spec.schemas",
        )
    return None


def public_left_open(desired: DesiredDatabase, observed: ObservedDatabase) -> str | None:
    """The statement that closes schema public, where the admin cannot: it is the bootstrap superuser's before 15.

    No guard: the database works. What is planned for it now is not the superuser's to do.
    """
    schemas = observed.inside.schemas if observed.inside is not None else ()
    public = next((schema for schema in schemas if schema.name == "public"), None)
    if public is None or observed.server.is_superuser:
        return None
    if public.owner in manageable_owners(desired, observed, allies(desired, observed)):
        return None
    if not any(item.grantee == PUBLIC and item.privilege == "CREATE" for item in public.acl):
        return None
    admins = quoted(desired.roles.groups[Group.ADMIN])
    return f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO {admins}"


GUARDS: tuple[Guard, ...] = (
    server_is_read_only,
    owner_role_not_ours,
    database_not_ours,
    group_role_not_ours,
    database_is_invalid,
    database_is_closed,
    limit_keeps_the_admin_out,
    admin_lacks_createrole,
    admin_lacks_createdb,
    admin_lacks_membership,
    owner_lacks_group,
    property_cannot_change,
    extension_not_available,
    extension_not_allowed,
    untrusted_needs_superuser,
    extension_needs_preload,
    template_not_public,
    owner_not_theirs_to_name,
    owner_too_powerful,
    previous_owner_out_of_reach,
    extension_version_not_available,
    extension_schema_missing,
)


def _owner_text(comment: str | None) -> str:
    found = parse_marker(comment)
    if found is None:
        return "by nobody"
    return "for another resource" if found.installation else "by an older installation"


def _drop(names: list[str]) -> str:
    return f"DROP ROLE {', '.join(quoted(name) for name in names)}"
