"""The SQL for grant groups, as tables: what makes one, what it gets, what goes, and what is told instead."""

from dataclasses import replace
from typing import Any

import pytest
from tests.postgres.core import desired_database, desired_login
from tests.postgres.databases.test_plan import lines
from tests.postgres.facts import database, edge, role, server

from dbtether.api.names import Group, is_grant_group
from dbtether.postgres.databases.drop import ObservedDatabaseDrop, plan_drop
from dbtether.postgres.databases.grantgroups import held_back, missing_grants, plan_grant_groups
from dbtether.postgres.databases.model import DesiredSchema, Inside, ObservedDatabase
from dbtether.postgres.grants.acl import Acl, AclItem
from dbtether.postgres.grants.groups import GrantGroup, TableGrant, grant_group
from dbtether.postgres.grants.model import DefaultAcl, ObjectKind, RelationGroup, Schema
from dbtether.postgres.roles.model import Access, DatabasePrivileges, Dependents, ObservedLogin, Role, role_names
from dbtether.postgres.roles.plan import plan as plan_login
from dbtether.postgres.server.model import ServerFacts

NAMES = role_names("app")
ADMINS, READONLY = NAMES.groups[Group.ADMIN], NAMES.groups[Group.READONLY]


def group(*grants: tuple[str, str, tuple[str, ...]], level: Group = Group.READONLY) -> GrantGroup:
    found = grant_group("app", level, [TableGrant(*one) for one in grants])
    assert found is not None
    return found


ORDERS = group(("public", "orders", ("INSERT",)))
ALL = group(("public", "*", ("INSERT",)))


def made(name: str, *, owner: bool = False, users: tuple[str, ...] = (), **changes: Any) -> Role:
    """A grant group as dbtether made it."""
    ruled = (edge(name, NAMES.owner, "postgres", "A"),) if owner else ()
    return role(
        name,
        memberships=(edge(READONLY, name, "rds", "IS"),),
        members=(*ruled, *(edge(name, user, NAMES.owner, "IS") for user in users)),
        **changes,
    )


def tables(*names: str, acl: Acl = (), schema: str = "public", owner: str = ADMINS) -> RelationGroup:
    return RelationGroup(schema, ObjectKind.TABLE, owner, acl, names)


def inside(*relations: RelationGroup, defaults: tuple[DefaultAcl, ...] = ()) -> Inside:
    return Inside(schemas=(Schema("public", "pg_database_owner", ()),), relations=relations, default_acls=defaults)


def item(grantee: str, privilege: str, grantor: str = ADMINS) -> AclItem:
    return AclItem(grantee, privilege, False, grantor)


def planned(
    facts: ServerFacts,
    groups: tuple[GrantGroup, ...],
    found: Inside,
    *roles: Role,
    left: dict[str, Dependents] | None = None,
) -> list[str]:
    observed = ObservedDatabase(
        facts, database("app", NAMES.owner), {one.name: one for one in roles}, found, left_over=left or {}
    )
    return lines(plan_grant_groups(desired_database("app", grant_groups=groups), observed))


def short(name: str) -> str:
    return name.removeprefix("dbtether_")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            server(15),
            [
                f"CREATE ROLE {short(ORDERS.name)} NOLOGIN",
                f"GRANT app_readonly TO {short(ORDERS.name)}",
                f"app: GRANT INSERT ON TABLE public.orders TO {short(ORDERS.name)}",
            ],
            id="before 16 the admin makes it",
        ),
        pytest.param(
            server(16),
            [
                f"(app_owner) CREATE ROLE {short(ORDERS.name)} NOLOGIN",
                f"(app_owner) GRANT app_readonly TO {short(ORDERS.name)} WITH INHERIT TRUE, SET TRUE",
                f"(app_admin) app: GRANT INSERT ON TABLE public.orders TO {short(ORDERS.name)}",
            ],
            id="since 16 the owner role makes it",
        ),
    ],
)
def test_a_grant_group_is_made_and_gets_what_it_names(facts: ServerFacts, expected: list[str]) -> None:
    assert planned(facts, (ORDERS,), inside(tables("bills", "orders"))) == expected


def test_a_group_as_it_should_be_needs_nothing() -> None:
    found = inside(tables("bills"), tables("orders", acl=(item(ORDERS.name, "INSERT"),)))
    assert planned(server(16), (ORDERS,), found, made(ORDERS.name, owner=True)) == []


def test_all_tables_are_those_of_the_future_too() -> None:
    name = short(ALL.name)
    assert planned(server(15), (ALL,), inside(tables("bills", "orders")), made(ALL.name)) == [
        f"app: ALTER DEFAULT PRIVILEGES FOR ROLE app_admin IN SCHEMA public GRANT INSERT ON TABLES TO {name}",
        f"app: GRANT INSERT ON TABLE public.bills, public.orders TO {name}",
    ]


def test_groups_that_want_the_same_on_the_same_tables_share_a_statement() -> None:
    other = group(("public", "orders", ("INSERT",)), ("public", "bills", ("DELETE",)))
    roles = (made(ORDERS.name), made(other.name))
    both = ", ".join(sorted((short(ORDERS.name), short(other.name))))
    assert planned(server(15), tuple(sorted((ORDERS, other))), inside(tables("bills", "orders")), *roles) == [
        f"app: GRANT DELETE ON TABLE public.bills TO {short(other.name)}",
        f"app: GRANT INSERT ON TABLE public.orders TO {both}",
    ]


def test_what_is_beyond_the_definition_is_revoked_and_a_strangers_grant_is_not() -> None:
    acl = (item(ORDERS.name, "INSERT"), item(ORDERS.name, "DELETE"), item("stranger", "DELETE"))
    found = inside(tables("orders", acl=acl), tables("bills", acl=(item(ORDERS.name, "REFERENCES"),)))
    assert planned(server(15), (ORDERS,), found, made(ORDERS.name)) == [
        f"app: REVOKE DELETE ON TABLE public.orders FROM {short(ORDERS.name)}",
        f"app: REVOKE REFERENCES ON TABLE public.bills FROM {short(ORDERS.name)}",
    ]


def test_a_group_that_still_has_members_is_left_as_it_is_when_nobody_wants_it() -> None:
    found = inside(tables("orders", acl=(item(ORDERS.name, "INSERT"),)))
    assert planned(server(15), (), found, made(ORDERS.name, users=("u",))) == []


def test_an_unused_group_is_emptied_and_dropped() -> None:
    found = inside(
        tables("orders", acl=(item(ALL.name, "INSERT"),)),
        defaults=(DefaultAcl(ADMINS, ObjectKind.TABLE, (item(ALL.name, "INSERT"),), "public"),),
    )
    left = {ALL.name: Dependents(granted={"app": 2})}
    assert planned(server(16), (), found, made(ALL.name, owner=True), left=left) == [
        (
            f"(app_admin) app: ALTER DEFAULT PRIVILEGES FOR ROLE app_admin IN SCHEMA public REVOKE INSERT ON TABLES "
            f"FROM {short(ALL.name)}"
        ),
        f"(app_admin) app: REVOKE INSERT ON TABLE public.orders FROM {short(ALL.name)}",
        f"(app_owner) DROP ROLE {short(ALL.name)}",
    ]


@pytest.mark.parametrize(
    "dependents",
    [
        pytest.param(Dependents(granted={"app": 2}), id="a function here"),
        pytest.param(Dependents(granted={"app": 1, "other": 1}), id="something in another database"),
        pytest.param(Dependents(granted={"app": 1}, owned={"app": 1}), id="an object of its own"),
    ],
)
def test_an_unused_group_that_has_more_is_emptied_and_named(dependents: Dependents) -> None:
    found = inside(tables("orders", acl=(item(ALL.name, "INSERT"),)))
    assert planned(server(15), (), found, made(ALL.name), left={ALL.name: dependents}) == [
        f"app: REVOKE INSERT ON TABLE public.orders FROM {short(ALL.name)}",
    ]
    observed = ObservedDatabase(server(15), None, {}, found, left_over={ALL.name: dependents})
    assert held_back(desired_database("app"), observed) == (ALL.name,)


@pytest.mark.parametrize(
    ("grant", "found", "expected"),
    [
        pytest.param(("public", "orders"), inside(), "table public.orders does not exist", id="no table"),
        pytest.param(("public", "*"), inside(), None, id="all tables of an empty schema"),
        pytest.param(("old", "*"), inside(), "schema old does not exist", id="no schema"),
        pytest.param(("new", "*"), inside(), None, id="a schema that the same plan makes"),
        pytest.param(
            ("public", "orders"),
            inside(tables("orders", owner="dba")),
            "table public.orders belongs to dba, for whom the admin cannot grant",
            id="a stranger's table",
        ),
        pytest.param(
            ("public", "orders"),
            Inside(schemas=(Schema("public", "dba", ()),), relations=(tables("orders"),)),
            "schema public belongs to dba, for whom the admin cannot grant",
            id="a stranger's closed schema",
        ),
        pytest.param(
            ("public", "orders"),
            Inside(schemas=(Schema("public", "dba", (item("", "USAGE", "dba"),)),), relations=(tables("orders"),)),
            None,
            id="a stranger's open schema",
        ),
    ],
)
def test_what_cannot_be_granted_yet_is_named(grant: tuple[str, str], found: Inside, expected: str | None) -> None:
    one = group((*grant, ("INSERT",)))
    desired = desired_database("app", grant_groups=(one,), schemas=(DesiredSchema("new"),))
    told = missing_grants(desired, ObservedDatabase(server(15), database("app", NAMES.owner), {}, found))
    assert told == ({} if expected is None else {one.name: (expected,)})


def test_the_groups_go_with_the_database() -> None:
    owner = role(
        NAMES.owner,
        comment=str(desired_database("app").marker),
        memberships=(edge(ORDERS.name, NAMES.owner, "postgres", "A"), edge(READONLY, NAMES.owner, "postgres", "A")),
    )
    readonly = role(READONLY, members=(edge(READONLY, ORDERS.name, NAMES.owner, "IS"),))
    observed = ObservedDatabaseDrop(server(16), None, {NAMES.owner: owner, READONLY: readonly})
    assert lines(plan_drop("app", desired_database("app").marker, NAMES, observed)) == [
        f"(app_owner) DROP ROLE {short(ORDERS.name)}",
        "(app_owner) DROP ROLE app_readonly",
        "DROP ROLE app_owner",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            [("public", "a", ("INSERT", "DELETE"))],
            [("public", "a", ("DELETE",)), ("public", "a", ("INSERT", "SELECT"))],
            id="split, in another order, with what the level has",
        ),
        pytest.param(
            [("public", "*", ("INSERT",))],
            [("public", "*", ("INSERT",)), ("public", "a", ("INSERT",))],
            id="a table that `*` covers",
        ),
    ],
)
def test_the_same_grants_give_the_same_group(one: list[Any], other: list[Any]) -> None:
    assert group(*one) == group(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([("a", "b.c", ("INSERT",))], [("a.b", "c", ("INSERT",))], id="dots in names"),
        pytest.param([("public", "a", ("INSERT",))], [("public", "a", ("DELETE",))], id="privileges"),
        pytest.param(
            [("public", "a6:INSERT6:public1:b", ("INSERT",))],
            [("public", "a", ("INSERT",)), ("public", "b", ("INSERT",))],
            id="a table's name that looks like more",
        ),
    ],
)
def test_other_grants_give_another_group(one: list[Any], other: list[Any]) -> None:
    assert group(*one).name != group(*other).name


@pytest.mark.parametrize("level", [Group.READONLY, Group.READWRITE, Group.ADMIN])
def test_what_the_level_has_makes_no_group(level: Group) -> None:
    assert grant_group("app", level, [TableGrant("public", "*", ("SELECT",))]) is None


def test_an_admin_has_everything() -> None:
    assert grant_group("app", Group.ADMIN, [TableGrant("public", "a", ("MAINTAIN", "TRUNCATE"))]) is None


@pytest.mark.parametrize("name", ["app", "a" * 63, "ä" * 31])
def test_names_fit_and_are_known_again(name: str) -> None:
    found = grant_group(name, Group.READWRITE, [TableGrant("public", "a", ("TRUNCATE",))])
    assert found is not None
    assert len(found.name.encode()) <= 63
    assert is_grant_group(found.name)
    assert not any(is_grant_group(one) for one in role_names(name).all)
    assert found.name != getattr(grant_group(name + "b", found.level, found.grants), "name", None)


def _mixed(working_as: str, *, wanted: str | None) -> list[str]:
    """The plan for an admin elsewhere, which before 16 works as its role here too."""
    login = role(
        "u",
        can_login=True,
        inherits=False,
        comment="dbtether:team/u@test",
        settings={"app": (f"role={working_as}",), "other": ("role=dbtether_other_admin",)},
        memberships=(edge(working_as, "u", "rds", "S"), edge("dbtether_other_admin", "u", "rds", "S")),
        on_databases=tuple(
            DatabasePrivileges(
                place,
                f"dbtether_{place}_owner",
                tuple(item("u", privilege, f"dbtether_{place}_owner") for privilege in ("CONNECT", "TEMPORARY")),
            )
            for place in ("app", "other")
        ),
    )
    access = (Access("app", Group.READONLY, wanted), Access("other", Group.ADMIN))
    roles = {name: role(name) for place in ("app", "other") for name in role_names(place).all}
    desired = replace(desired_login("u", verifier=None), access=access)
    return lines(plan_login(desired, ObservedLogin(server(15, superuser=True), login, roles)))


def test_who_comes_into_a_grant_group_keeps_the_sessions() -> None:
    assert _mixed(READONLY, wanted=ORDERS.name) == [
        "REVOKE app_readonly FROM u",
        f"GRANT {short(ORDERS.name)} TO u",
        f"ALTER ROLE u IN DATABASE app SET role TO '{short(ORDERS.name)}'",
    ]


def test_who_leaves_a_grant_group_that_its_sessions_work_as_loses_them() -> None:
    statements = _mixed(ORDERS.name, wanted=None)
    assert statements[:2] == [f"REVOKE {short(ORDERS.name)} FROM u", "GRANT app_readonly TO u"]
    assert any("pg_terminate_backend" in text for text in statements)
