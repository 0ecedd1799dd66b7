"""Traps of roles, memberships and grants in which other tools lost access or data; each test says what it proves."""

import asyncio
from dataclasses import replace

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
    opened,
    plan_login,
    plan_login_drop,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import statement


def test_relacl_does_not_grow_with_users(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        admins = role_names(database.name).groups[Group.ADMIN]
        execute(admin, "SET ROLE {}; CREATE TABLE public.t ()", admins, dbname=database.name)
        query = "SELECT relacl::text, datacl::text FROM pg_class, pg_database WHERE relname = 't' AND datname = %s"
        before = rows(admin, query, database.name, dbname=database.name)
        for number in range(50):
            user = desired_login(f"{unique}-{number}", (database.name, Group.READWRITE), verifier=None)
            await settle_login(server, user)
        assert rows(admin, query, database.name, dbname=database.name) == before

    run(admin, scenario)


def test_objects_are_handed_over_before_a_role_is_dropped(admin: Admin, unique: str) -> None:
    """In two databases: tables, sequences, large objects stay; policies and default privileges go."""

    async def scenario(server: Server) -> None:
        databases = [desired_database(f"{unique}_{number}") for number in range(2)]
        for database in databases:
            await settle_database(server, database)
        user = desired_login(f"{unique}-u", *((database.name, Group.ADMIN) for database in databases))
        await settle_login(server, user)
        for database in databases:
            with admin.server.connect(dbname=database.name) as connection:
                connection.execute(
                    sql.SQL(
                        "CREATE TABLE public.mine (id serial); CREATE TABLE public.guarded (); SELECT lo_create(4711); "
                        "CREATE VIEW public.v AS TABLE public.mine; CREATE SCHEMA mine; "
                        "CREATE TYPE public.e AS ENUM (); "
                        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
                        "ALTER TABLE public.mine OWNER TO {u}; ALTER LARGE OBJECT 4711 OWNER TO {u}; "
                        "ALTER VIEW public.v OWNER TO {u}; ALTER SCHEMA mine OWNER TO {u}; "
                        "ALTER TYPE public.e OWNER TO {u}; ALTER FUNCTION public.f() OWNER TO {u}; "
                        "ALTER TABLE public.guarded OWNER TO {admins}; SET ROLE {admins}; "
                        "CREATE POLICY p ON public.guarded TO {u}; "
                        "GRANT SELECT ON public.guarded TO {u}; RESET ROLE; "
                        "ALTER DEFAULT PRIVILEGES FOR ROLE {u} GRANT SELECT ON TABLES TO PUBLIC"
                    ).format(
                        u=sql.Identifier(user.name),
                        admins=sql.Identifier(database.roles.groups[Group.ADMIN]),
                    )
                )
        await drop_login(server, user)
        assert user.name not in left_of(admin, unique)
        for database in databases:
            heir = role_names(database.name).groups[Group.ADMIN]
            owners = (
                "SELECT relowner::regrole::text FROM pg_class WHERE relname IN ('mine', 'mine_id_seq', 'v') UNION ALL "
                "SELECT lomowner::regrole::text FROM pg_largeobject_metadata UNION ALL "
                "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'mine' UNION ALL "
                "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'f' UNION ALL "
                "SELECT typowner::regrole::text FROM pg_type WHERE typname = 'e'"
            )
            assert rows(admin, owners, dbname=database.name) == [(heir,)] * 7
            await settle_database(server, database)

    run(admin, scenario)


@pytest.mark.majors(16, 17, 18)
def test_implicit_edge_is_never_revoked_16(admin: Admin, unique: str) -> None:
    if admin.is_superuser:
        pytest.skip("a superuser's CREATE ROLE makes no such row")
    query = (
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE grantor = 10 AND admin_option "
        "AND strpos(roleid::regrole::text, %s) > 0 ORDER BY 1, 2"
    )

    async def scenario(server: Server) -> None:
        first, second = desired_database(f"{unique}_one"), desired_database(f"{unique}_two")
        await settle_database(server, first)
        await settle_database(server, second)
        await settle_login(server, desired_login(f"{unique}-u", (first.name, Group.ADMIN)))
        before = rows(admin, query, unique)
        assert len(before) == 9  # owner and three groups of each database, and the login
        for group in (Group.READONLY, Group.ADMIN, Group.READWRITE):
            for database in (second, first):
                await settle_login(server, desired_login(f"{unique}-u", (database.name, group)))
        other = desired_login(f"{unique}-other", (first.name, Group.ADMIN))
        await settle_login(server, other)
        await drop_login(server, other)
        assert rows(admin, query, unique) == before

    run(admin, scenario)


@pytest.mark.majors(13, 14, 15)
def test_dbas_admin_option_survives_a_drop_15(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        heir = role_names(database.name).groups[Group.ADMIN]
        execute(admin, "CREATE ROLE {} LOGIN", f"{unique}_dba_made")
        for role in (heir, f"{unique}_dba_made"):
            execute(admin, "GRANT {} TO {} WITH ADMIN OPTION", role, admin.server.admin.user)
        query = (
            "SELECT count(*)::int FROM pg_auth_members WHERE member::regrole::text = %s AND admin_option "
            "AND strpos(roleid::regrole::text, %s) > 0"
        )
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))
        await settle_login(server, user)
        with psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name), autocommit=True) as connection:
            connection.execute("SET ROLE NONE; CREATE TEMP TABLE x (); SELECT lo_create(0)")
            await drop_login(server, user)
        assert rows(admin, query, admin.server.admin.user, unique) == [(2,)]

    run(admin, scenario)


def test_login_is_closed_when_a_drop_is_refused(admin: Admin, unique: str) -> None:
    """What another grantor gave stays behind DROP OWNED by a non-superuser: no live login stays with it."""
    if admin.is_superuser:
        pytest.skip("a superuser takes away any grantor's grants")

    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.READONLY))
        await settle_login(server, user)
        execute(
            admin,
            "CREATE ROLE {0}; CREATE TABLE public.t (); GRANT SELECT ON public.t TO {0} WITH GRANT OPTION; "
            "GRANT USAGE ON SCHEMA public TO {0}; SET ROLE {0}; GRANT SELECT ON public.t TO {1}",
            f"{unique}_between",
            user.name,
            dbname=database.name,
        )
        with pytest.raises(Blocked) as refused:
            await drop_login(server, user)
        assert refused.value.reason in ("MissingPrivileges", "RoleHasDependents")
        assert "privileges for table" in refused.value.message or "rop the privileges" in refused.value.message
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name))
        execute(admin, "REVOKE ALL ON public.t FROM {} CASCADE", f"{unique}_between", dbname=database.name)
        await drop_login(server, user)
        assert user.name not in left_of(admin, unique)

    run(admin, scenario)


def test_grant_answering_with_a_warning_is_a_failure_and_rolled_back(admin: Admin, unique: str) -> None:
    if admin.is_superuser:
        pytest.skip("a superuser can grant everything")

    async def scenario(server: Server) -> None:
        role = sql.Identifier(f"{unique}_r")
        plan = [
            statement("Create the role", "", "CREATE ROLE {role}", role=role),
            statement("Grant what only the owner can", "", "GRANT USAGE ON SCHEMA pg_catalog TO {role}", role=role),
        ]
        with pytest.raises(Blocked) as refused:
            await server.apply(plan, "test")
        assert refused.value.reason == "MissingPrivileges"
        assert "Grant what only the owner can" in refused.value.message
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_a_moved_login_keeps_no_way_into_its_old_database(admin: Admin, unique: str) -> None:
    """Before 16 an admin connects by a privilege of its own: that must go as well."""

    async def scenario(server: Server) -> None:
        old, new = desired_database(f"{unique}_old"), desired_database(f"{unique}_new")
        await settle_database(server, old)
        await settle_database(server, new)
        for group in (Group.ADMIN, Group.READONLY):
            await settle_login(server, desired_login(f"{unique}-u", (old.name, group)))
            user = desired_login(f"{unique}-u", (new.name, group))
            await settle_login(server, user)
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(admin.server.dsn(user.name, PASSWORD, old.name))
            with psycopg.connect(admin.server.dsn(user.name, PASSWORD, new.name)) as connection:
                connection.execute("SELECT 1")

    run(admin, scenario)


def test_a_session_does_not_outlive_the_role_it_works_as(admin: Admin, unique: str) -> None:
    """SET ROLE at login stays in force whatever is revoked later: the session ends, others' don't."""

    async def scenario(server: Server) -> None:
        database, other = desired_database(f"{unique}_app"), desired_database(f"{unique}_other")
        await settle_database(server, database)
        await settle_database(server, other)
        places = ((database.name, Group.ADMIN), (other.name, Group.READONLY))
        await settle_login(server, desired_login(f"{unique}-u", *places))
        dsn = admin.server.dsn(f"{unique}-u", PASSWORD, database.name)
        bystander = admin.server.dsn(f"{unique}-u", PASSWORD, other.name)
        with psycopg.connect(dsn, autocommit=True) as lowered, psycopg.connect(bystander, autocommit=True) as stays:
            lowered.execute("CREATE TABLE t ()")
            await settle_login(server, desired_login(f"{unique}-u", (database.name, Group.READONLY), places[1]))
            with pytest.raises(psycopg.OperationalError):
                lowered.execute("CREATE TABLE u ()")
            if admin.server.major >= 16:
                stays.execute("SELECT 1")
        with psycopg.connect(dsn, autocommit=True) as again:
            again.execute("SELECT * FROM t")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                again.execute("CREATE SCHEMA u")

    run(admin, scenario)


def test_a_session_that_came_between_does_not_survive_its_login(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))
        await settle_login(server, user)
        planned_without_sessions = await plan_login_drop(server, user)
        with psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name), autocommit=True) as connection:
            connection.execute("SELECT 1")
            await server.apply(planned_without_sessions, "test")
            with pytest.raises(psycopg.OperationalError):
                connection.execute("CREATE TABLE t ()")

    run(admin, scenario)


@pytest.mark.majors(16, 17, 18)
def test_a_second_grantors_membership_makes_no_admin_inherit(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN), verifier=None)
        await settle_login(server, user)
        group = role_names(database.name).groups[Group.ADMIN]
        execute(admin, "GRANT {} TO {} WITH INHERIT TRUE", group, user.name)
        if not admin.is_superuser:
            with pytest.raises(Blocked) as refused:
                await plan_login(server, user)
            assert refused.value.message.endswith(f'run REVOKE "{group}" FROM "{user.name}" GRANTED BY "postgres"')
            execute(admin, 'REVOKE {} FROM {} GRANTED BY "postgres"', group, user.name)
        await settle_login(server, user)
        inheriting = (
            "SELECT inherit_option FROM pg_auth_members WHERE member::regrole::text = %s AND roleid::regrole::text = %s"
        )
        assert rows(admin, inheriting, f'"{user.name}"', group) == [(False,)]

    run(admin, scenario)


def test_a_login_outlives_its_first_database_and_goes_with_all_it_left(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        first, second = desired_database(f"{unique}_one"), desired_database(f"{unique}_two")
        await settle_database(server, first)
        await settle_database(server, second)
        user = desired_login(f"{unique}-u", (first.name, Group.ADMIN), (second.name, Group.ADMIN))
        await settle_login(server, user)
        await drop_database(server, first)
        user = replace(user, access=user.access[1:], connection_limit=9)
        await settle_login(server, user)
        with psycopg.connect(admin.server.dsn(user.name, PASSWORD, second.name)) as connection:
            connection.execute("CREATE TABLE t ()")
        await drop_login(server, user)
        owner = first.roles.owner
        shared = await server.shared([owner])
        assert (owner in shared.roles) == server.facts.acts_as_owner
        await drop_database(server, first)
        await drop_database(server, second)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_two_operators_write_at_once_and_both_succeed(admin: Admin, unique: str) -> None:
    """test_concurrent_writers_retry: XX000, 23505 and deadlocks on catalog rows are tried again."""

    async def scenario(one: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(one, database)
        async with opened(admin) as two:
            users = [desired_login(f"{unique}-{n}", (database.name, Group.ADMIN), verifier=None) for n in range(8)]
            await asyncio.gather(*(settle_login((one, two)[n % 2], user) for n, user in enumerate(users)))
            execute(
                admin,
                "REVOKE ALL ON SCHEMA public FROM {}",
                database.roles.groups[Group.READONLY],
                dbname=database.name,
            )
            await asyncio.gather(*(settle_database(server, database) for server in (one, two, one, two)))

    run(admin, scenario)


def test_a_foreign_role_is_never_touched(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.READONLY))
        execute(admin, "CREATE ROLE {} LOGIN", user.name)
        for comment in (
            None,
            "dbtether:team/other@test",
            f"{user.marker}x",
            str(replace(user.marker, installation="b")),
        ):
            with admin.server.connect() as connection:
                connection.execute(
                    sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(user.name), sql.Literal(comment))
                )
            with pytest.raises(Blocked) as refused:
                await plan_login(server, user)
            assert refused.value.reason == "RoleNotOurs"
            assert await drop_login(server, user) == ()

    run(admin, scenario)


@pytest.mark.majors(15, 16, 18)
@pytest.mark.parametrize(
    "name",
    ['qu"ote', "semi; DROP DATABASE postgres; --", "line\nbreak", "emoji 🐘", "per%cent %s {brace}", "back\\slash'"],
    ids=["quote", "semicolon", "newline", "emoji", "placeholders", "backslash"],
)
def test_any_name_is_taken_as_it_is(admin: Admin, unique: str, name: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique} {name}")
        await settle_database(server, database)
        user = desired_login(f"{unique} u {name}", (database.name, Group.ADMIN))
        await settle_login(server, user)
        with psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name)) as connection:
            connection.execute("CREATE TABLE t ()")
        await drop_login(server, user)
        await drop_database(server, database)
        assert left_of(admin, unique) == []

    run(admin, scenario)


@pytest.mark.majors(15, 16, 18)
@pytest.mark.parametrize("filling", ["x", "ü", "🐘"], ids=["one byte", "two bytes", "four bytes"])
def test_names_of_63_bytes_are_kept_whole(admin: Admin, unique: str, filling: str) -> None:
    async def scenario(server: Server) -> None:
        def longest(start: str) -> str:
            room = 63 - len(start.encode())
            return start + filling * (room // len(filling.encode())) + "_" * (room % len(filling.encode()))

        one, two = desired_database(longest(f"{unique}a")), desired_database(longest(f"{unique}b"))
        user = desired_login(longest(f"{unique}u"), (one.name, Group.READONLY), (two.name, Group.ADMIN))
        for database in (one, two):
            assert len(database.name.encode()) == 63
            await settle_database(server, database)
        await settle_login(server, user)
        assert {one.name, two.name, user.name} <= set(left_of(admin, unique))

    run(admin, scenario)
