"""Additional grants on real servers: shared roles, tables that come and go, and what is left when they go."""

import asyncio
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest
from tests.postgres.core import (
    PASSWORD,
    additional,
    desired_database,
    desired_login,
    drop_database,
    execute,
    left_of,
    make_database,
    make_login,
    observe_database,
    plan_database,
    plan_login,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Retryable
from dbtether.postgres.databases.grantgroups import missing_grants
from dbtether.postgres.databases.model import DesiredDatabase
from dbtether.postgres.grants.groups import GrantGroup
from dbtether.postgres.roles.model import Access, DesiredLogin
from dbtether.postgres.server.access import Server

_GROUPS = (Group.READONLY, Group.READWRITE, Group.ADMIN)


def _member(name: str, database: DesiredDatabase, group: GrantGroup) -> DesiredLogin:
    return replace(desired_login(name), access=(Access(database.name, group.level, group.name),))


def _as(admin: Admin, login: str, database: str, *queries: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(admin.server.dsn(login, PASSWORD, database), autocommit=True) as connection:
        for query in queries:
            cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


async def _with_table(server: Server, admin: Admin, database: DesiredDatabase, *names: str) -> None:
    """Tables as an admin user of the database makes them."""
    for name in names:
        text: LiteralString = "SET ROLE {}; CREATE TABLE public.{} (id int)"
        execute(admin, text, database.roles.groups[Group.ADMIN], name, dbname=database.name)
    del server


def test_a_grant_on_one_table_reaches_just_that_one(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders", "bills")
        group = additional(database, Group.READONLY, ("public", "orders", ("INSERT",)))
        database = replace(database, grant_groups=(group,))
        await settle_database(server, database)
        for name in (f"{unique}-one", f"{unique}-two"):
            await settle_login(server, _member(name, database, group))
            _as(admin, name, unique, "INSERT INTO orders VALUES (1)", "SELECT * FROM bills")
            for refused in ("INSERT INTO bills VALUES (1)", "DELETE FROM orders", "TRUNCATE bills"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    _as(admin, name, unique, refused)
        acl = rows(admin, "SELECT relacl::text FROM pg_class WHERE relname = 'orders'", dbname=unique)[0][0]
        assert unique + "-one" not in acl

    run(admin, scenario)


def test_all_tables_of_a_schema_hold_for_those_that_an_admin_creates_later(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        group = additional(database, Group.READWRITE, ("public", "*", ("TRUNCATE",)))
        database = replace(database, grant_groups=(group,))
        await settle_database(server, database)
        maker = desired_login(f"{unique}-maker", (unique, Group.ADMIN))
        await settle_login(server, maker)
        user = _member(f"{unique}-user", database, group)
        await settle_login(server, user)
        _as(admin, maker.name, unique, "CREATE TABLE later (id int)")
        _as(admin, user.name, unique, "INSERT INTO later VALUES (1)", "TRUNCATE later")
        assert await plan_database(server, database) == ()

    run(admin, scenario)


def test_a_table_that_is_not_there_is_named_and_granted_when_it_appears(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        group = additional(database, Group.READONLY, ("public", "later", ("INSERT",)), ("nowhere", "*", ("INSERT",)))
        database = replace(database, grant_groups=(group,))
        await settle_database(server, database)
        observed = await observe_database(server, database)
        assert missing_grants(database, observed) == {
            group.name: ("schema nowhere does not exist", "table public.later does not exist")
        }
        await _with_table(server, admin, database, "later")
        assert [item.purpose for item in await plan_database(server, database)][-1] == (
            f"Grant INSERT on table public.later to {group.name}"
        )
        await settle_database(server, database)
        assert missing_grants(database, await observe_database(server, database)) == {
            group.name: ("schema nowhere does not exist",)
        }

    run(admin, scenario)


def test_what_left_the_spec_is_revoked_and_its_role_goes_with_its_last_member(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        first = additional(database, Group.READONLY, ("public", "*", ("INSERT", "DELETE")))
        second = additional(database, Group.READONLY, ("public", "*", ("INSERT",)))
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders")
        await settle_database(server, replace(database, grant_groups=(first,)))
        user = _member(f"{unique}-user", database, first)
        await settle_login(server, user)

        database = replace(database, grant_groups=(second,))
        await settle_database(server, database)
        assert first.name in left_of(admin, unique)
        await settle_login(server, _member(user.name, database, second))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _as(admin, user.name, unique, "DELETE FROM orders")
        await settle_database(server, database)
        assert first.name not in left_of(admin, unique)

        database = replace(database, grant_groups=())
        plain = replace(user, access=(Access(unique, Group.READONLY),))
        await settle_login(server, plain)
        await settle_database(server, database)
        assert sorted(left_of(admin, unique)) == sorted([unique, *database.roles.all, user.name])

    run(admin, scenario)


def test_privileges_given_by_hand_to_a_grant_group_go_and_those_of_others_stay(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        group = additional(database, Group.READONLY, ("public", "orders", ("INSERT",)))
        database = replace(database, grant_groups=(group,))
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders", "bills")
        await settle_database(server, database)
        other = f"{unique}-other"
        execute(admin, "CREATE ROLE {}", other)
        execute(admin, "GRANT ALL ON bills TO {0}; GRANT TRUNCATE ON orders TO {0}", other, dbname=unique)
        execute(admin, "GRANT UPDATE ON orders, bills TO {}", group.name, dbname=unique)
        if server.facts.is_superuser or server.facts.major >= 15:
            execute(admin, "GRANT CREATE ON SCHEMA public TO {}", group.name, dbname=unique)
        execute(admin, "GRANT CREATE ON DATABASE {} TO {}", unique, group.name)
        purposes = [item.purpose for item in await plan_database(server, database)]
        assert any("Revoke UPDATE on table public.bills" in purpose for purpose in purposes)
        await settle_database(server, database)
        text = rows(admin, "SELECT relacl::text FROM pg_class WHERE relname = 'bills'", dbname=unique)[0][0]
        assert group.name not in text
        assert other in text
        execute(admin, "DROP OWNED BY {0}; DROP ROLE {0}", other, dbname=unique)

    run(admin, scenario)


def test_an_unused_role_that_somebody_granted_more_stays_and_stops_nothing(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        group = additional(database, Group.READONLY, ("public", "*", ("INSERT",)))
        await settle_database(server, replace(database, grant_groups=(group,)))
        execute(admin, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", dbname=unique)
        execute(admin, "GRANT EXECUTE ON FUNCTION f() TO {}", group.name, dbname=unique)
        await settle_database(server, database)
        assert group.name in left_of(admin, unique)
        execute(admin, "REVOKE EXECUTE ON FUNCTION f() FROM {}", group.name, dbname=unique)
        await settle_database(server, database)
        assert group.name not in left_of(admin, unique)

    run(admin, scenario)


def test_the_roles_go_with_the_database(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        groups = [additional(database, level, ("public", "*", ("TRUNCATE",))) for level in _GROUPS[:2]]
        await settle_database(server, replace(database, grant_groups=tuple(groups)))
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_before_16_a_mix_works_as_its_grant_group(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database, other = desired_database(unique), desired_database(f"{unique}_b")
        group = additional(database, Group.READONLY, ("public", "orders", ("INSERT",)))
        await settle_database(server, other)
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders")
        await settle_database(server, replace(database, grant_groups=(group,)))
        login = desired_login(f"{unique}-mix")
        access = (Access(unique, Group.READONLY, group.name), Access(other.name, Group.ADMIN))
        await settle_login(server, replace(login, access=access))
        _as(admin, login.name, unique, "INSERT INTO orders VALUES (1)", "SELECT * FROM orders")
        works_as = _as(admin, login.name, unique, "SELECT current_user::text")
        assert works_as == [(login.name if server.facts.memberships_have_options else group.name,)]

    run(admin, scenario)


def test_five_hundred_tables_make_the_second_user_no_dearer(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        await settle_database(server, database)
        names = [f"t{number}" for number in range(500)]
        await _with_table(server, admin, database, *names)
        group = additional(database, Group.READONLY, *(("public", name, ("INSERT",)) for name in names[:250]))
        database = replace(database, grant_groups=(group,))
        # One statement for up to 200 tables.
        granted = [item for item in await plan_database(server, database) if item.purpose.startswith("Grant INSERT")]
        assert len(granted) == 2
        await settle_database(server, database)
        await make_login(server, _member(f"{unique}-one", database, group))
        second = await plan_login(server, _member(f"{unique}-two", database, group))
        assert [item.purpose.split()[0] for item in second] == ["Create", "Mark", "Put"]
        assert await plan_database(server, database) == ()

    run(admin, scenario)


def test_open_ddl_on_a_named_table_is_tried_again_and_holds_no_reader_up(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders")
        group = additional(database, Group.READONLY, ("public", "orders", ("INSERT",)))
        wanted = replace(database, grant_groups=(group,))
        with psycopg.connect(admin.server.dsn(dbname=unique)) as ddl:
            # Conflicts with no reader, but its row of pg_class is being changed.
            ddl.execute("ALTER TABLE orders ALTER COLUMN id SET STATISTICS 10, SET (autovacuum_enabled = false)")
            work = asyncio.create_task(make_database(server, wanted))
            await asyncio.sleep(0.1)
            assert not work.done()
            with admin.server.connect(dbname=unique) as reader:
                reader.execute("SET lock_timeout = '50ms'; SELECT * FROM orders")
            with pytest.raises(Retryable) as refused:
                await work
            assert refused.value.reason == "LockNotAvailable"
            ddl.rollback()
        await settle_database(server, wanted)

    run(admin, scenario, lock_timeout_seconds=0.3)


def test_a_reader_of_the_table_delays_no_grant(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(unique)
        await settle_database(server, database)
        await _with_table(server, admin, database, "orders")
        group = additional(database, Group.READONLY, ("public", "orders", ("INSERT",)))
        with psycopg.connect(admin.server.dsn(dbname=unique)) as reader:
            reader.execute("SELECT * FROM orders; INSERT INTO orders VALUES (1)")
            await settle_database(server, replace(database, grant_groups=(group,)))

    run(admin, scenario, lock_timeout_seconds=0.3)
