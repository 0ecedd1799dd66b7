"""Traps of databases: creation, deletion, what stops both, and who else may be there."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from tests.postgres.core import (
    PASSWORD,
    desired_database,
    desired_login,
    drop_database,
    drop_login,
    execute,
    left_of,
    make_database,
    opened,
    plan_database,
    plan_login,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server


def test_drop_database_wins_against_reconnecting_clients(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))
        await settle_login(server, user)
        with reconnecting(admin.server.dsn(user.name, PASSWORD, database.name)):
            query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s AND state = 'idle'"
            while len(rows(admin, query, database.name, user.name)) < 4:
                await asyncio.sleep(0.01)
            for _ in range(5):
                # Somebody may come in between the look and the closing of the door: the next try finds him.
                with contextlib.suppress(Retryable):
                    await drop_database(server, database)
            await drop_login(server, user)
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    run(admin, scenario)


@contextmanager
def reconnecting(dsn: str) -> Iterator[None]:
    """Four clients that come back as soon as they are thrown out."""
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(dsn, autocommit=True) as connection:
                    while not stop.is_set():
                        connection.execute("SELECT 1")
                        stop.wait(0.01)
            except psycopg.OperationalError:
                stop.wait(0.005)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.majors(15, 16, 17, 18)
def test_interrupted_drop_is_finished(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        await server.pool.close_database(database.name)
        rows(admin, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", database.name)
        with pytest.raises(Blocked) as refused:
            await plan_database(server, database)
        assert refused.value.reason == "DatabaseInvalid"
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_a_database_that_is_gone_already_counts_as_dropped(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        await server.pool.close_database(database.name)
        execute(admin, "DROP DATABASE {}", database.name)
        await drop_database(server, database)
        assert left_of(admin, unique) == []
        assert await drop_database(server, database) == ()

    run(admin, scenario)


def test_an_existing_database_is_not_taken_over(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        execute(admin, "CREATE DATABASE {}", database.name)
        with admin.server.connect() as connection:
            # The comment is for people: it proves nothing.
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(database.name), sql.Literal(str(database.marker))
                )
            )
        with pytest.raises(Blocked) as refused:
            await plan_database(server, database)
        assert refused.value.reason == "DatabaseNotOurs"
        assert await drop_database(server, database) == ()
        assert left_of(admin, unique) == [database.name]

    run(admin, scenario)


def test_another_installations_database_is_left_alone(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        other = replace(database, marker=replace(database.marker, installation="elsewhere"))
        with pytest.raises(Blocked) as refused:
            await plan_database(server, other)
        assert refused.value.reason == "DatabaseNotOurs"
        assert await drop_database(server, other) == ()
        assert await plan_database(server, database) == ()

    run(admin, scenario)


@pytest.mark.parametrize("group", [Group.READONLY, Group.READWRITE, Group.ADMIN])
def test_a_group_role_made_beforehand_is_refused(admin: Admin, unique: str, group: Group) -> None:
    """Whoever made it could be in it already."""

    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        name = database.roles.groups[group]
        execute(admin, "CREATE ROLE {}; ", name)
        with pytest.raises(Blocked) as refused:
            await plan_database(server, database)
        assert refused.value.reason == "RoleNotOurs"
        assert f'DROP ROLE "{name}"' in refused.value.message

    run(admin, scenario)


def test_a_session_on_template1_holds_no_creation_up(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        with admin.server.connect(dbname="template1"):
            await settle_database(server, desired_database(f"{unique}_app"))
            if admin.is_superuser and admin.server.major == 16:  # it waits for 5 s
                with pytest.raises(Retryable) as refused:
                    await make_database(server, desired_database(f"{unique}_b", template="template1"))
                assert refused.value.reason == "ObjectInUse"
        await settle_database(server, desired_database(f"{unique}_b", template="template1"))

    run(admin, scenario, statement_timeout_seconds=20)


def _extension_message(admin: Admin, unique: str, name: str, allowed: frozenset[str] = frozenset()) -> Blocked:
    found: list[Blocked] = []

    async def scenario(server: Server) -> None:
        wanted = desired_database(f"{unique}_app", extensions=(DesiredExtension(name),), allowed_extensions=allowed)
        with pytest.raises(Blocked) as refused:
            await plan_database(server, wanted)
        found.append(refused.value)
        assert left_of(admin, unique) == []

    run(admin, scenario)
    return found[0]


def test_an_extension_the_server_does_not_have_is_named(admin: Admin, unique: str) -> None:
    refused = _extension_message(admin, unique, 'no";such')
    assert refused.reason == "ExtensionNotAvailable"


def test_an_untrusted_extension_needs_the_platforms_word(admin: Admin, unique: str) -> None:
    assert _extension_message(admin, unique, "pageinspect").reason == "ExtensionNotAllowed"


def test_extensions_land_in_public_in_the_order_they_need(admin: Admin, unique: str) -> None:
    """Our own search_path begins with pg_catalog, where CREATE EXTENSION would put them."""
    if not admin.is_superuser:
        pytest.skip("earthdistance is not a trusted extension")

    async def scenario(server: Server) -> None:
        names = ("earthdistance", "cube", "pg_trgm")
        database = desired_database(
            f"{unique}_app",
            extensions=tuple(DesiredExtension(name) for name in names),
            allowed_extensions=frozenset(names),
        )
        await settle_database(server, database)
        query = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname <> 'plpgsql'"
        assert rows(admin, query, dbname=database.name) == [("public",)] * 3

    run(admin, scenario)


def test_an_admin_that_lost_connect_lets_itself_in_again(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        await server.pool.close_database(database.name)
        execute(admin, "REVOKE CONNECT ON DATABASE {} FROM {}", database.name, admin.server.admin.user)
        await settle_database(server, database)

    run(admin, scenario)


def test_a_superusers_database_is_carried_on_by_an_admin_without_its_rights(admin: Admin, unique: str) -> None:
    """Each refusal names the statement that cures it; running those is all a DBA has to do. And back again."""
    if admin.is_superuser:
        pytest.skip("this is the way down from the superuser")
    superuser = Admin(admin.server, admin.server.superuser.user, admin.server.superuser.password, is_superuser=True)

    async def main() -> None:
        database = desired_database(f"{unique}_app")
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))
        async with opened(superuser) as server:
            await settle_database(server, database)
            await settle_login(server, user)
            with psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name)) as connection:
                connection.execute("CREATE TABLE public.t ()")
        async with opened(admin) as server:
            await _cured(admin, server, database)
            await settle_login(server, user)
        async with opened(superuser) as server:
            await settle_database(server, database)
            await settle_login(server, user)
            await drop_login(server, user)
            await drop_database(server, database)
        assert left_of(admin, unique) == []

    asyncio.run(main())


async def _cured(admin: Admin, server: Server, database: DesiredDatabase) -> None:
    user = desired_login(f"{database.name.removesuffix('_app')}-u", (database.name, Group.ADMIN))
    for _ in range(12):
        try:
            await settle_database(server, database)
            await plan_login(server, user)
        except Blocked as refused:
            _, _, statement = refused.message.partition("run ")
            with admin.server.connect() as connection:
                connection.execute(statement.encode())
        else:
            return
    pytest.fail("the statements did not help")


@pytest.mark.parametrize("missing", ["CREATEROLE", "CREATEDB"])
def test_an_admin_without_a_right_is_told_the_statement_that_cures_it(admin: Admin, unique: str, missing: str) -> None:
    if admin.is_superuser:
        pytest.skip("a superuser has every right")
    name = f'{unique} weak"admin'
    rights = {"CREATEROLE", "CREATEDB"} - {missing}
    with admin.server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD 'Correct7Horse'").format(
                sql.Identifier(name),
                sql.SQL(" ".join(rights)),
            )
        )
    weak = Admin(admin.server, name, PASSWORD, is_superuser=False)
    database = desired_database(f"{unique}_app")

    async def main() -> None:
        async with opened(weak) as server:
            with pytest.raises(Blocked) as refused:
                await plan_database(server, database)
            assert refused.value.reason == "MissingPrivileges"
            _, _, cure = refused.value.message.partition("must run ")
            assert cure == f'ALTER ROLE "{unique} weak""admin" {missing}'
            with admin.server.connect() as connection:
                connection.execute(cure.encode())
            await server.refresh()
            await settle_database(server, database)
            await drop_database(server, database)

    asyncio.run(main())
    assert left_of(admin, unique) == [name]


def test_a_new_admin_login_is_told_what_a_dba_must_run(admin: Admin, unique: str) -> None:
    """Before 16 it just works; since then CREATEROLE rules only what it made itself."""
    if admin.is_superuser:
        pytest.skip("a superuser rules every role")
    name = f"{unique}_new_admin"
    with admin.server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD 'Correct7Horse'").format(sql.Identifier(name))
        )
    new = Admin(admin.server, name, PASSWORD, is_superuser=False)
    database = desired_database(f"{unique}_app")
    user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))

    async def main() -> None:
        async with opened(admin) as server:
            await settle_database(server, database)
            await settle_login(server, user)
        async with opened(new) as server:
            await _cured(admin, server, database)
            await settle_login(server, user)
            await drop_login(server, user)
            await drop_database(server, database)
        assert left_of(admin, unique) == [name]

    asyncio.run(main())


@pytest.mark.majors(14, 15, 16, 18)
@pytest.mark.parametrize("where", ["database", "admin", "maintenance"])
def test_tenants_function_in_public_never_runs_as_admin(admin: Admin, unique: str, where: str) -> None:
    """Neither do settings of the database, or of the admin, act in our sessions."""
    hostile = {
        "search_path": "public, pg_catalog",
        "role": "pg_monitor",
        "DateStyle": "German",
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "serializable",
        "lock_timeout": "1ms",
        "TimeZone": "Pacific/Chatham",
        "standard_conforming_strings": "off",
        "client_encoding": "LATIN1",
    }

    async def main() -> None:
        database = desired_database(f"{unique}_app", settings=(("work_mem", "8MB"),))
        user = desired_login(
            f"{unique}-u",
            (database.name, Group.ADMIN),
            settings=(("application_name", "ü\\'"),),
            valid_until=datetime(2035, 2, 3, 4, 5, tzinfo=UTC),
        )
        async with opened(admin) as server:
            await settle_database(server, database)
        _plant(admin, database.name)
        name = {"database": database.name, "admin": admin.user, "maintenance": "postgres"}[where]
        kind = "ROLE" if where == "admin" else "DATABASE"
        try:
            with admin.server.connect() as connection, connection.transaction():
                for setting, value in hostile.items():
                    connection.execute(
                        sql.SQL("ALTER {} {} SET {} = {}").format(
                            sql.SQL(kind),
                            sql.Identifier(name),
                            sql.Identifier(setting),
                            sql.SQL("public, pg_catalog") if setting == "search_path" else sql.Literal(value),
                        )
                    )
            async with opened(admin) as server:
                for _ in range(2):
                    await settle_database(server, database)
                    await settle_login(server, replace(user, connection_limit=7))
                await drop_login(server, user)
        finally:
            options = "-c default_transaction_read_only=off -c role=none -c search_path=pg_catalog"
            with psycopg.connect(admin.server.dsn(), autocommit=True, options=options) as connection:
                connection.execute(sql.SQL("ALTER {} {} RESET ALL").format(sql.SQL(kind), sql.Identifier(name)))
        with psycopg.connect(admin.server.dsn(dbname=database.name), options=options) as connection:
            assert connection.execute("SELECT * FROM public.caught").fetchall() == []

    asyncio.run(main())


def _plant(admin: Admin, database: str) -> None:
    """Functions that a careless query would call instead of PostgreSQL's own, and that tell of it."""
    with admin.server.connect(dbname=database) as connection:
        connection.execute("CREATE TABLE public.caught (who text)")
        for signature, result in (
            ("pg_get_userbyid(oid)", "name"),
            ("lower(name)", "text"),
            ("count(bigint)", "bigint"),
        ):
            connection.execute(
                sql.SQL(
                    "CREATE FUNCTION public.{signature} RETURNS {result} LANGUAGE sql AS "
                    "'INSERT INTO public.caught VALUES (current_user); SELECT NULL::{result}'"
                ).format(signature=sql.SQL(signature), result=sql.SQL(result))
            )


def test_a_database_closed_by_a_person_is_not_opened(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        await server.pool.close_database(database.name)
        execute(admin, "ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name)
        with pytest.raises(Blocked) as refused:
            await plan_database(server, database)
        assert refused.value.reason == "DatabaseClosed"
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_names_that_only_differ_in_case_or_cut_stay_apart(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        stem = f"{unique}_{'x' * 45}"
        names = [stem + ending for ending in ("aaa", "aab")]
        for name in names:
            await settle_database(server, desired_database(name))
        assert len({role for name in names for role in role_names(name).all}) == 8

    run(admin, scenario)
