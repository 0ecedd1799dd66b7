"""Each guard of a database: the bad state, the reason, and what the sentence asks a person to do."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.postgres.core import desired_database
from tests.postgres.facts import database, edge, role, server

from dbtether.postgres.databases import guards
from dbtether.postgres.databases.model import (
    AvailableExtension,
    DesiredExtension,
    DesiredSchema,
    Extension,
    Inside,
    ObservedDatabase,
)
from dbtether.postgres.databases.ownership import owner_not_theirs_to_name
from dbtether.postgres.guards import first_blocked

DESIRED = desired_database("app")
OWNER = role(DESIRED.roles.owner, comment=str(DESIRED.marker), members=(edge("o", "rds", "rds", "AS"),))
GROUPS = {
    name: role(name, members=(edge(name, DESIRED.roles.owner, "postgres", "A"),))
    for name in DESIRED.roles.groups.values()
}
ROLES = {OWNER.name: OWNER, **GROUPS}
APP = database("app", OWNER.name, comment=str(DESIRED.marker))


def observed(**changes: Any) -> ObservedDatabase:
    values: dict[str, Any] = {"server": server(16), "database": APP, "roles": ROLES, "inside": Inside()}
    return ObservedDatabase(**{**values, **changes})


def _without(*names: str) -> dict[str, object]:
    return {name: found for name, found in ROLES.items() if name not in names}


@pytest.mark.parametrize(
    ("guard", "wanted", "changes", "reason", "says"),
    [
        pytest.param(
            guards.server_is_read_only,
            {},
            {"server": server(16, is_in_recovery=True)},
            "ServerReadOnly",
            "point spec.endpoint at the primary",
            id="a standby takes no changes",
        ),
        pytest.param(
            guards.owner_role_not_ours,
            {},
            {"roles": {OWNER.name: role(OWNER.name, comment="dbtether:team/app@elsewhere")}},
            "DatabaseNotOurs",
            "choose another spec.databaseName",
            id="marked by another installation",
        ),
        pytest.param(
            guards.database_not_ours,
            {},
            {"database": database("app", "somebody")},
            "DatabaseNotOurs",
            "exists already (owner somebody)",
            id="owned by somebody",
        ),
        pytest.param(
            guards.group_role_not_ours,
            {},
            {"roles": _without(OWNER.name), "database": None},
            "RoleNotOurs",
            'DROP ROLE "dbtether_app_readonly", "dbtether_app_readwrite", "dbtether_app_admin"',
            id="groups without an owner role",
        ),
        pytest.param(
            guards.database_is_invalid,
            {},
            {"database": database("app", OWNER.name, connection_limit=-2)},
            "DatabaseInvalid",
            'run DROP DATABASE "app"',
            id="half dropped",
        ),
        pytest.param(
            guards.database_is_closed,
            {},
            {"database": database("app", OWNER.name, allows_connections=False, comment=str(DESIRED.marker))},
            "DatabaseClosed",
            'run ALTER DATABASE "app" WITH ALLOW_CONNECTIONS true',
            id="closed by a person",
        ),
        pytest.param(
            guards.admin_lacks_createrole,
            {},
            {"server": server(16, can_create_roles=False)},
            "MissingPrivileges",
            'a DBA must run ALTER ROLE "rds" CREATEROLE',
            id="no CREATEROLE",
        ),
        pytest.param(
            guards.admin_lacks_createdb,
            {},
            {"server": server(16, can_create_databases=False), "database": None},
            "MissingPrivileges",
            'a DBA must run ALTER ROLE "rds" CREATEDB',
            id="no CREATEDB",
        ),
        pytest.param(
            guards.admin_lacks_membership,
            {},
            {"roles": {**ROLES, OWNER.name: role(OWNER.name)}},
            "MissingPrivileges",
            'GRANT "dbtether_app_owner" TO "rds" WITH ADMIN TRUE, INHERIT FALSE, SET TRUE',
            id="a new admin login",
        ),
        pytest.param(
            guards.owner_lacks_group,
            {},
            {"roles": {**ROLES, "dbtether_app_readwrite": role("dbtether_app_readwrite")}},
            "MissingPrivileges",
            'GRANT "dbtether_app_readwrite" TO "dbtether_app_owner" WITH ADMIN TRUE',
            id="a group that a superuser made",
        ),
        pytest.param(
            guards.property_cannot_change,
            {"encoding": "LATIN1"},
            {},
            "ImmutableDatabaseProperty",
            "spec.encoding: database app has UTF8",
            id="another encoding",
        ),
        pytest.param(
            guards.property_cannot_change,
            {"encoding": "SQL_ASCII"},
            {},
            "ImmutableDatabaseProperty",
            "PostgreSQL cannot change it to SQL_ASCII",
            id="an encoding as it is written",
        ),
        pytest.param(
            guards.extension_not_available,
            {"extensions": (DesiredExtension("nosuch"),)},
            {},
            "ExtensionNotAvailable",
            "Extension nosuch is not available",
            id="an extension without files",
        ),
        pytest.param(
            guards.extension_not_allowed,
            {"extensions": (DesiredExtension("dblink"),)},
            {"inside": Inside(available=(AvailableExtension("dblink", "1", trusted=False),))},
            "ExtensionNotAllowed",
            "spec.allowedExtensions",
            id="an untrusted extension",
        ),
        pytest.param(
            owner_not_theirs_to_name,
            {"schemas": (DesiredSchema("s", "dbtether_other_admin"),)},
            {},
            "ReferenceNotAllowed",
            "dbtether_other_admin cannot own anything here",
            id="a schema's owner that is another database's role",
        ),
        pytest.param(
            guards.template_not_public,
            {"template": "victim"},
            {"database": None},
            "TemplateNotAllowed",
            "victim is no template that everybody may copy",
            id="a template that is nobody's to copy",
        ),
        pytest.param(
            guards.extension_version_not_available,
            {"extensions": (DesiredExtension("hstore", "99"),)},
            {"inside": Inside(available=(AvailableExtension("hstore", "1.8", True, versions=("1.7", "1.8")),))},
            "ExtensionNotAvailable",
            "use one of 1.7, 1.8",
            id="a version that the server lacks",
        ),
        pytest.param(
            guards.extension_schema_missing,
            {"extensions": (DesiredExtension("hstore", schema="nope"),)},
            {"inside": Inside(available=(AvailableExtension("hstore", "1.8", True),))},
            "SchemaNotFound",
            "nope does not exist in database app",
            id="an extension's schema that is not there",
        ),
    ],
)
def test_guard(
    guard: Callable[..., Any], wanted: dict[str, Any], changes: dict[str, Any], reason: str, says: str
) -> None:
    desired = desired_database("app", **wanted)
    assert guard(desired, observed()) is None or wanted
    blocked = guard(desired, observed(**changes))
    assert blocked is not None
    assert blocked.reason == reason
    assert says in blocked.message
    assert guard in guards.GUARDS


def test_a_settled_database_passes_every_guard() -> None:
    assert first_blocked(guards.GUARDS, DESIRED, observed()) is None


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        pytest.param({"encoding": "utf-8"}, {}, id="utf-8 is UTF8"),
        pytest.param({"icu_locale": "de_DE"}, {"icu_locale": "de-DE"}, id="de_DE is stored as de-DE"),
    ],
)
def test_the_same_property_in_other_words_is_no_change(wanted: dict[str, Any], has: dict[str, Any]) -> None:
    found = observed(database=database("app", OWNER.name, **has))
    assert guards.property_cannot_change(desired_database("app", **wanted), found) is None


def test_an_untrusted_extension_that_a_dba_installed_stays_allowed() -> None:
    names = (DesiredExtension("dblink"), DesiredExtension("pg_trgm"))
    inside = Inside(
        extensions=(Extension("dblink", "1", "public", "postgres"),),
        available=(AvailableExtension("dblink", "1", trusted=False), AvailableExtension("pg_trgm", "1", trusted=True)),
    )
    assert guards.extension_not_allowed(desired_database("app", extensions=names), observed(inside=inside)) is None
