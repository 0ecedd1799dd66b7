"""The whole SQL of a database's plan, for each kind of admin."""

import pytest
from tests.postgres.core import desired_database
from tests.postgres.facts import database, edge, role, server

from dbtether.postgres.databases.drop import ObservedDatabaseDrop, plan_drop
from dbtether.postgres.databases.model import (
    AvailableExtension,
    DesiredExtension,
    ObservedDatabase,
    Session,
    new_inside,
)
from dbtether.postgres.databases.plan import plan, sees_everything
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement

MARK = "'dbtether:team/app@test'"


def lines(statements: tuple[Statement, ...]) -> list[str]:
    """Each statement as `[role] [database:] SQL`, with the quotes and the prefix of our roles left out."""
    return [
        (f"({one.as_role}) " if one.as_role else "").replace("dbtether_", "")
        + (f"{one.database}: " if one.database else "")
        + one.text.replace('"', "").replace("dbtether_", "")
        for one in statements
    ]


_INSIDE = [
    "app: GRANT CREATE, USAGE ON SCHEMA public TO app_admin",
    "app: GRANT USAGE ON SCHEMA public TO app_readonly, app_readwrite",
]
_DEFAULTS = [
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT DELETE, INSERT, SELECT, UPDATE ON TABLES TO app_readwrite",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT SELECT ON TABLES TO app_readonly",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT SELECT ON SEQUENCES TO app_readonly",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT SELECT, UPDATE, USAGE ON SEQUENCES TO app_readwrite",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT USAGE ON SCHEMAS TO app_readonly, app_readwrite",
]
_CREATE = "CREATE DATABASE app WITH OWNER app_owner TEMPLATE template0 ALLOW_CONNECTIONS false"
_GRANTS = [
    "REVOKE CONNECT, TEMPORARY ON DATABASE app FROM PUBLIC",
    "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE app TO app_admin",
    "GRANT CONNECT, TEMPORARY ON DATABASE app TO app_readonly, app_readwrite",
]
_END = [f"COMMENT ON DATABASE app IS {MARK}", "ALTER DATABASE app WITH ALLOW_CONNECTIONS true"]

_SUPERUSERS_OWN = [
    (
        "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, "
        "UPDATE ON TABLES TO app_admin"
    ),
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT DELETE, INSERT, SELECT, UPDATE ON TABLES TO app_readwrite",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO app_readonly",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON SEQUENCES TO app_readonly",
    (
        "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT, UPDATE, USAGE ON SEQUENCES TO app_admin, "
        "app_readwrite"
    ),
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT CREATE, USAGE ON SCHEMAS TO app_admin",
    "app: ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT USAGE ON SCHEMAS TO app_readonly, app_readwrite",
]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            server(16, superuser=True),
            [
                "CREATE ROLE app_owner NOLOGIN",
                f"COMMENT ON ROLE app_owner IS {MARK}",
                "CREATE ROLE app_readonly NOLOGIN",
                "CREATE ROLE app_readwrite NOLOGIN",
                "CREATE ROLE app_admin NOLOGIN",
                _CREATE,
                *_GRANTS,
                *_END,
                *_INSIDE,
                *(line.format("app_admin") for line in _DEFAULTS),
                *_SUPERUSERS_OWN,
            ],
            id="a superuser joins nothing, and its own future tables are for the groups",
        ),
        pytest.param(
            server(15),
            [
                "CREATE ROLE app_owner NOLOGIN",
                f"COMMENT ON ROLE app_owner IS {MARK}",
                "GRANT app_owner TO rds",
                "CREATE ROLE app_readonly NOLOGIN",
                "CREATE ROLE app_readwrite NOLOGIN",
                "CREATE ROLE app_admin NOLOGIN",
                "GRANT app_admin TO rds",
                _CREATE,
                *_GRANTS,
                *_END,
                *_INSIDE,
                *(line.format("app_admin") for line in _DEFAULTS),
            ],
            id="before 16 the admin joins owner and admins",
        ),
        pytest.param(
            server(16),
            [
                "CREATE ROLE app_owner NOLOGIN CREATEROLE",
                f"COMMENT ON ROLE app_owner IS {MARK}",
                "GRANT app_owner TO rds WITH INHERIT FALSE, SET TRUE",
                "(app_owner) CREATE ROLE app_readonly NOLOGIN",
                "(app_owner) CREATE ROLE app_readwrite NOLOGIN",
                "(app_owner) CREATE ROLE app_admin NOLOGIN",
                "(app_owner) GRANT app_admin TO app_owner WITH INHERIT FALSE, SET TRUE",
                _CREATE,
                f"(app_owner) {_GRANTS[0]}",
                "(app_owner) GRANT CONNECT ON DATABASE app TO rds",
                *(f"(app_owner) {line}" for line in _GRANTS[1:]),
                *(f"(app_owner) {line}" for line in _END),
                *(f"(app_owner) {line}" for line in _INSIDE),
                *(f"(app_admin) {line.format('app_admin')}" for line in _DEFAULTS),
            ],
            id="since 16 the owner role makes what is the database's",
        ),
    ],
)
def test_new_database(facts: ServerFacts, expected: list[str]) -> None:
    desired = desired_database("app")
    observed = ObservedDatabase(facts, None, {}, new_inside(facts, ()))
    assert lines(plan(desired, observed)) == expected
    assert sees_everything(desired, observed)


def test_an_admin_that_cannot_look_inside_is_let_in_first() -> None:
    desired = desired_database("app")
    roles = {name: role(name, comment=str(desired.marker)) for name in desired.roles.all}
    observed = ObservedDatabase(server(15), database("app", "dbtether_app_owner", admin_can_connect=False), roles, None)
    assert lines(plan(desired, observed))[:2] == ["GRANT app_owner TO rds", "GRANT app_admin TO rds"]
    assert not sees_everything(desired, observed)


def test_extensions_follow_what_they_require_and_keep_a_fixed_schema() -> None:
    names = ("earthdistance", "cube", "postgis_topology")
    available = (
        AvailableExtension("cube", "1.5", trusted=True),
        AvailableExtension("earthdistance", "1.2", trusted=False, requires=("cube",)),
        AvailableExtension("postgis_topology", "3", trusted=False, schema="topology"),
    )
    facts = server(16, superuser=True)
    desired = desired_database("app", extensions=tuple(DesiredExtension(name) for name in names))
    found = lines(plan(desired, ObservedDatabase(facts, None, {}, new_inside(facts, available))))
    assert [line for line in found if "EXTENSION" in line] == [
        "app: CREATE EXTENSION cube SCHEMA public",
        "app: CREATE EXTENSION earthdistance SCHEMA public",
        "app: CREATE EXTENSION postgis_topology",
    ]


_TERMINATE = "SELECT pg_catalog.pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity WHERE "
_DROP_ROLES = ["DROP ROLE app_readonly", "DROP ROLE app_readwrite", "DROP ROLE app_admin"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            server(16, superuser=True),
            [
                "ALTER DATABASE app WITH ALLOW_CONNECTIONS false",
                _TERMINATE + "datname = 'app' AND usename IS NOT NULL",
                "DROP DATABASE app",
                *_DROP_ROLES,
                "DROP ROLE app_owner",
            ],
            id="a superuser ends whatever session there is",
        ),
        pytest.param(
            server(16),
            [
                "(app_owner) ALTER DATABASE app WITH ALLOW_CONNECTIONS false",
                "(app_owner) GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                _TERMINATE + "usename = 'u' AND datname = 'app'",
                "(app_owner) REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) DROP DATABASE app",
                *(f"(app_owner) {line}" for line in _DROP_ROLES),
            ],
            id="an owner role that administers a login stays",
        ),
    ],
)
def test_drop_of_a_database(facts: ServerFacts, expected: list[str]) -> None:
    desired = desired_database("app")
    owner = desired.roles.owner
    administers = () if facts.is_superuser else (edge("u", owner, "postgres", "A"),)
    roles = {name: role(name) for name in desired.roles.groups.values()}
    roles[owner] = role(owner, comment=str(desired.marker), memberships=administers)
    roles["u"] = role("u", can_login=True, members=administers)
    observed = ObservedDatabaseDrop(facts, database("app", owner), roles, (Session("u", 1), Session(None, 1)))
    assert lines(plan_drop("app", desired.marker, desired.roles, observed)) == expected
