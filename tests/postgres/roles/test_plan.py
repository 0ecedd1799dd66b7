"""The whole SQL of a login's plan: made, lowered, moved and dropped, for each kind of admin."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tests.postgres.core import desired_login
from tests.postgres.databases.test_plan import lines
from tests.postgres.facts import VERIFIER, edge, role, server

from dbtether.api.names import Group
from dbtether.postgres.grants.acl import AclItem
from dbtether.postgres.roles.drop import ObservedDrop, plan_drop
from dbtether.postgres.roles.model import DatabasePrivileges, Dependents, Membership, ObservedLogin, Role, role_names
from dbtether.postgres.roles.plan import plan
from dbtether.postgres.server.model import ServerFacts

MARK = "'dbtether:team/u@test'"
GROUPS = {name: role(name) for place in ("app", "other") for name in role_names(place).all}


def login(*memberships: Membership, **changes: Any) -> Role:
    values = {"can_login": True, "comment": "dbtether:team/u@test", "memberships": memberships}
    return role("u", **{**values, **changes})


def planned(facts: ServerFacts, was: Role | None, *access: tuple[str, Group], **changes: Any) -> list[str]:
    desired = desired_login("u", *access, **{"verifier": None, **changes})
    return lines(plan(desired, ObservedLogin(facts, was, GROUPS)))


@pytest.mark.parametrize(
    ("facts", "group", "expected"),
    [
        pytest.param(
            server(16, superuser=True),
            Group.READONLY,
            [
                "CREATE ROLE u WITH LOGIN PASSWORD ********",
                f"COMMENT ON ROLE u IS {MARK}",
                "GRANT app_readonly TO u WITH INHERIT TRUE, SET TRUE",
            ],
            id="a reader is in its group",
        ),
        pytest.param(
            server(15),
            Group.READWRITE,
            [
                "CREATE ROLE u WITH LOGIN PASSWORD ********",
                f"COMMENT ON ROLE u IS {MARK}",
                "GRANT app_readwrite TO u",
            ],
            id="a writer before 16 inherits by itself",
        ),
        pytest.param(
            server(15),
            Group.ADMIN,
            [
                "CREATE ROLE u WITH LOGIN NOINHERIT PASSWORD ********",
                f"COMMENT ON ROLE u IS {MARK}",
                "GRANT app_admin TO u",
                "ALTER ROLE u IN DATABASE app SET role TO 'app_admin'",
                "GRANT CONNECT, TEMPORARY ON DATABASE app TO u",
            ],
            id="an admin before 16 inherits nothing and connects by itself",
        ),
        pytest.param(
            server(16),
            Group.ADMIN,
            [
                "(app_owner) CREATE ROLE u WITH LOGIN PASSWORD ********",
                f"(app_owner) COMMENT ON ROLE u IS {MARK}",
                "(app_owner) GRANT app_admin TO u WITH INHERIT FALSE, SET TRUE",
                "(app_owner) GRANT app_readonly TO u WITH INHERIT TRUE, SET TRUE",
                "(app_owner) ALTER ROLE u IN DATABASE app SET role TO 'app_admin'",
            ],
            id="an admin since 16 reads by itself and creates as its group",
        ),
    ],
)
def test_new_login(facts: ServerFacts, group: Group, expected: list[str]) -> None:
    assert planned(facts, None, ("app", group), verifier=VERIFIER) == expected


ADMIN_15 = login(
    edge("dbtether_app_admin", "u", "rds", "IS"),
    inherits=False,
    settings={"app": ("role=dbtether_app_admin",)},
    on_databases=(
        DatabasePrivileges(
            "app",
            "dbtether_app_owner",
            tuple(AclItem("u", name, False, "dbtether_app_owner") for name in ("CONNECT", "TEMPORARY")),
        ),
    ),
)
ADMIN_16 = login(
    edge("dbtether_app_admin", "u", "dbtether_app_owner", "S"),
    edge("dbtether_app_readonly", "u", "dbtether_app_owner", "IS"),
    settings={"app": ("role=dbtether_app_admin",)},
    members=(edge("u", "dbtether_app_owner", "postgres", "A"),),
)
_END_15 = "SELECT pg_catalog.pg_terminate_backend(pid, 1000) FROM pg_catalog.pg_stat_activity WHERE usename = 'u'"
_END_LOWERED = f"{_END_15} AND (datname = 'app')"
_END_MOVED = f"{_END_15} AND (datname = 'app' OR NOT pg_catalog.has_database_privilege(usesysid, datid, 'CONNECT'))"


@pytest.mark.parametrize(
    ("facts", "was", "access", "expected"),
    [
        pytest.param(server(15), ADMIN_15, ("app", Group.ADMIN), [], id="a settled admin of 15 needs nothing"),
        pytest.param(server(16), ADMIN_16, ("app", Group.ADMIN), [], id="a settled admin of 16 needs nothing"),
        pytest.param(
            server(15),
            ADMIN_15,
            ("app", Group.READONLY),
            [
                "ALTER ROLE u WITH INHERIT",
                "REVOKE app_admin FROM u",
                "GRANT app_readonly TO u",
                "REVOKE CONNECT, TEMPORARY ON DATABASE app FROM u",
                "GRANT u TO rds",
                _END_LOWERED,
                "REVOKE u FROM rds",
                "ALTER ROLE u IN DATABASE app RESET role",
            ],
            id="lowered on 15",
        ),
        pytest.param(
            server(16),
            ADMIN_16,
            ("app", Group.READONLY),
            [
                "(app_owner) REVOKE app_admin FROM u GRANTED BY app_owner",
                "(app_owner) GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                _END_LOWERED,
                "(app_owner) REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) ALTER ROLE u IN DATABASE app RESET role",
            ],
            id="lowered on 16",
        ),
        pytest.param(
            server(15),
            ADMIN_15,
            ("other", Group.ADMIN),
            [
                "REVOKE app_admin FROM u",
                "GRANT other_admin TO u",
                "ALTER ROLE u IN DATABASE other SET role TO 'other_admin'",
                "REVOKE CONNECT, TEMPORARY ON DATABASE app FROM u",
                "GRANT CONNECT, TEMPORARY ON DATABASE other TO u",
                "GRANT u TO rds",
                _END_MOVED,
                "REVOKE u FROM rds",
                "ALTER ROLE u IN DATABASE app RESET role",
            ],
            id="moved on 15",
        ),
        pytest.param(
            server(16),
            ADMIN_16,
            ("other", Group.READWRITE),
            [
                "(app_owner) REVOKE app_admin FROM u GRANTED BY app_owner",
                "(app_owner) REVOKE app_readonly FROM u GRANTED BY app_owner",
                "(other_owner) GRANT other_readwrite TO u WITH INHERIT TRUE, SET TRUE",
                "(app_owner) GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                _END_MOVED,
                "(app_owner) REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) ALTER ROLE u IN DATABASE app RESET role",
            ],
            id="moved on 16",
        ),
    ],
)
def test_changed_login(facts: ServerFacts, was: Role, access: tuple[str, Group], expected: list[str]) -> None:
    assert planned(facts, was, access) == expected


@pytest.mark.parametrize(
    ("name", "was", "changes"),
    [
        pytest.param(
            "valid_until",
            {"valid_until": datetime(2030, 1, 1, 12, tzinfo=UTC)},
            {"valid_until": datetime(2030, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))},
            id="the same moment in another zone",
        ),
        pytest.param(
            "settings",
            {"settings": {"": ('search_path="$user", "a, b"', "TimeZone=UTC", "application_name=a=b c")}},
            {"settings": (("application_name", "a=b c"), ("search_path", '"$user","a, b"'), ("timezone", "UTC"))},
            id="the same settings written otherwise",
        ),
    ],
)
def test_equal_needs_no_statement(name: str, was: dict[str, Any], changes: dict[str, Any]) -> None:
    del name
    reader = login(edge("dbtether_app_readonly", "u", "postgres", "IS"), **was)
    assert planned(server(16, superuser=True), reader, ("app", Group.READONLY), **changes) == []


def test_a_setting_no_more_wanted_is_reset_whatever_its_case_and_a_dbas_own_stays() -> None:
    reader = login(
        edge("dbtether_app_readonly", "u", "postgres", "IS"),
        settings={"": ("TimeZone=UTC", "work_mem=1GB", "role=none")},
    )
    changes = {"previous_settings": frozenset({"timezone"})}
    assert planned(server(16, superuser=True), reader, ("app", Group.READONLY), **changes) == [
        "ALTER ROLE u RESET TimeZone",
        "ALTER ROLE u RESET role",
    ]


@pytest.mark.parametrize(
    ("facts", "was", "expected"),
    [
        pytest.param(
            server(16, superuser=True),
            login(),
            [
                "ALTER ROLE u NOLOGIN",
                _END_15,
                "app: REASSIGN OWNED BY u TO app_admin",
                "app: DROP OWNED BY u",
                "other: DROP OWNED BY u",
                "DROP ROLE u",
            ],
            id="a superuser borrows nothing",
        ),
        pytest.param(
            server(16),
            ADMIN_16,
            [
                "(app_owner) ALTER ROLE u NOLOGIN",
                "(app_owner) GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                _END_15,
                "(app_owner) REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) app: GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                "(app_owner) app: GRANT app_admin TO rds WITH INHERIT TRUE, SET FALSE",
                "app: REASSIGN OWNED BY u TO app_admin",
                "app: DROP OWNED BY u",
                "(app_owner) app: REVOKE app_admin FROM rds GRANTED BY app_owner",
                "(app_owner) app: REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) other: GRANT u TO rds WITH INHERIT TRUE, SET FALSE",
                "other: DROP OWNED BY u",
                "(app_owner) other: REVOKE u FROM rds GRANTED BY app_owner",
                "(app_owner) DROP ROLE u",
            ],
            id="since 16 what is borrowed is given back in the same transaction",
        ),
    ],
)
def test_dropped_login(facts: ServerFacts, was: Role, expected: list[str]) -> None:
    desired = desired_login("u", ("app", Group.ADMIN))
    dependents = Dependents(owned={"app": 3}, granted={"other": 1})
    assert lines(plan_drop("u", desired.marker, ObservedDrop(facts, was, dependents, GROUPS))) == expected
