"""Databases that change hands: to a role that the spec names and back, and out of somebody else's hands."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import LiteralString

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
    plan_database,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredDatabase, DesiredSchema
from dbtether.postgres.server.access import Server

_OBJECTS: LiteralString = """
CREATE SCHEMA "Odd one";
CREATE TABLE public.t (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE "Odd one"."T t" (); CREATE VIEW public.v AS SELECT id FROM public.t;
CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS one; CREATE SEQUENCE public.s;
CREATE TYPE public.mood AS ENUM ('ok'); CREATE TYPE public.pair AS (a int, b text);
CREATE DOMAIN public.small AS int; CREATE TYPE public.span AS RANGE (subtype = int);
CREATE FUNCTION "Odd one".f(int, VARIADIC text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE public.p(public.mood, INOUT x int) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE public.total(int) (SFUNC = int4pl, STYPE = int);
CREATE EXTENSION pg_trgm;
SELECT lo_create(424242);
INSERT INTO public.t DEFAULT VALUES;
"""
_STILL_OWNED: LiteralString = """
SELECT count(*) FROM (
  SELECT relowner AS owner FROM pg_class WHERE relkind <> 'i' UNION ALL SELECT typowner FROM pg_type
   WHERE typtype <> 'm' AND typcategory <> 'A'
  UNION ALL SELECT nspowner FROM pg_namespace UNION ALL SELECT lomowner FROM pg_largeobject_metadata
  UNION ALL SELECT proowner FROM pg_proc p WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
) found WHERE owner = %s::regrole
"""


def owner_of(admin: Admin, database: str) -> str:
    ((owner,),) = rows(admin, "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s", database)
    return str(owner)


@contextmanager
def legacy(admin: Admin, unique: str) -> Iterator[str]:
    """A login that has two databases full of objects; gone afterwards."""
    name = f"{unique}-Legacy"
    first, second = f"{unique}_app", f"{unique}_other"
    with admin.server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(PASSWORD))
        )
    for database in (first, second):
        execute(admin, "CREATE DATABASE {} OWNER {} TEMPLATE template0", database, name)
        with psycopg.connect(admin.server.dsn(name, PASSWORD, database), autocommit=True) as connection:
            connection.execute(_OBJECTS)
    if admin.user != "postgres":
        _let_act(admin, name)
    try:
        yield name
    finally:
        for database in (first, second):
            execute(admin, "DROP DATABASE IF EXISTS {}", database)
        execute(admin, "DROP ROLE {}", name)


def _let_act(admin: Admin, name: str) -> None:
    """What a DBA runs since 16, as the message asks."""
    if admin.server.major >= 16:
        execute(admin, "GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", name, admin.user)


async def alone(server: Server, database: str) -> None:
    """Wait for the end of the test's own sessions, which only a superuser could end."""
    async with asyncio.timeout(10):
        while not server.facts.is_superuser and any(
            session.user == "postgres" for session in await server.sessions(database)
        ):
            await asyncio.sleep(0.02)


def adopted(unique: str, **changes: object) -> DesiredDatabase:
    return desired_database(f"{unique}_app", adopts=True, revoke_public_connect=False, **changes)


def test_a_database_goes_to_the_named_owner_and_back(admin: Admin, unique: str) -> None:
    plain = desired_database(f"{unique}_app")
    login = desired_login(f"{unique}-u", (plain.name, Group.ADMIN), verifier=None)
    owned = replace(plain, owner=login.name, known_owners=frozenset({login.name}), connection_limit=9)

    async def scenario(server: Server) -> None:
        # As long as there is no such role, the owner role of ours has it.
        await settle_database(server, owned)
        assert owner_of(admin, plain.name) == plain.roles.owner
        await settle_login(server, login)
        await settle_database(server, owned)
        assert owner_of(admin, plain.name) == login.name
        # What needs an owner's rights still works.
        changed = replace(owned, connection_limit=5, settings=(("work_mem", "8MB"),), schemas=(DesiredSchema("app"),))
        await settle_database(server, changed)
        await settle_login(server, login)
        execute(
            admin,
            "CREATE TABLE public.mine (id serial); ALTER TABLE public.mine OWNER TO {}",
            login.name,
            dbname=plain.name,
        )
        back = replace(changed, owner=None, settings=())
        await settle_database(server, back)
        assert owner_of(admin, plain.name) == plain.roles.owner
        assert rows(admin, _STILL_OWNED, f'"{login.name}"', dbname=plain.name) == [(0,)]
        assert rows(
            admin,
            "SELECT count(*) FROM pg_auth_members WHERE roleid = %s::regrole AND member = %s::regrole "
            "AND grantor <> 10",
            f'"{login.name}"',
            plain.roles.owner,
        ) == [(0,)]
        await settle_login(server, login)
        await drop_login(server, login)
        await drop_database(server, plain)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_a_database_of_a_named_owner_is_dropped(admin: Admin, unique: str) -> None:
    plain = desired_database(f"{unique}_app")
    login = desired_login(f"{unique}-u", (plain.name, Group.READONLY), verifier=None)
    owned = replace(plain, owner=login.name, known_owners=frozenset({login.name}))

    async def scenario(server: Server) -> None:
        await settle_database(server, plain)
        await settle_login(server, login)
        await settle_database(server, owned)
        await drop_database(server, owned)
        await drop_login(server, login)
        # On 16+ the owner role stays for its logins.
        await drop_database(server, owned)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_schemas_go_to_their_owners_and_back(admin: Admin, unique: str) -> None:
    plain = desired_database(f"{unique}_app", schemas=(DesiredSchema("app"),))
    login = desired_login(f"{unique}-u", (plain.name, Group.READWRITE), verifier=None)
    known = frozenset({login.name})
    owned = replace(
        plain, schemas=(DesiredSchema("app", login.name), DesiredSchema("own", login.name)), known_owners=known
    )

    def owners() -> dict[str, str]:
        query = (
            "SELECT nspname::text, pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname IN ('app', 'own')"
        )
        return dict(rows(admin, query, dbname=plain.name))

    async def scenario(server: Server) -> None:
        await settle_database(server, plain)
        admins = plain.roles.groups[Group.ADMIN]
        assert owners() == {"app": admins}
        await settle_login(server, login)
        await settle_database(server, owned)
        assert owners() == {"app": login.name, "own": login.name}
        execute(admin, "SET ROLE {}; CREATE TABLE app.future ()", login.name, dbname=plain.name)
        reads = "SELECT has_table_privilege(%s, 'app.future', 'SELECT')"
        assert rows(admin, reads, plain.roles.groups[Group.READONLY], dbname=plain.name) == [(True,)]
        await settle_database(
            server, replace(plain, known_owners=known, schemas=(*plain.schemas, DesiredSchema("own")))
        )
        assert owners() == {"app": admins, "own": admins}
        await alone(server, plain.name)
        await drop_database(server, plain)
        await drop_login(server, login)
        await drop_database(server, plain)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_an_adopted_database_goes_over_with_what_is_in_it_and_its_owner_keeps_working(
    admin: Admin, unique: str
) -> None:
    async def scenario(server: Server, name: str) -> None:
        desired = adopted(unique)
        await make_database(server, desired)
        assert await plan_database(server, replace(desired, adopts=False)) == ()
        assert owner_of(admin, desired.name) == desired.roles.owner
        assert rows(admin, _STILL_OWNED, f'"{name}"', dbname=desired.name) == [(0,)]
        with psycopg.connect(admin.server.dsn(name, PASSWORD, desired.name), autocommit=True) as connection:
            connection.execute("INSERT INTO t DEFAULT VALUES; ALTER TABLE v RENAME TO w; SELECT f.* FROM t f")
            connection.execute("CREATE TABLE later ()")
        login = desired_login(f"{unique}-r", (desired.name, Group.READONLY))
        await settle_login(server, login)
        with psycopg.connect(admin.server.dsn(login.name, PASSWORD, desired.name), autocommit=True) as connection:
            connection.execute('SELECT * FROM t, later, w, "Odd one"."T t"')
        await drop_login(server, login)
        # Nothing of it moves in the other one.
        assert owner_of(admin, f"{unique}_other") == name
        assert rows(admin, _STILL_OWNED, f'"{name}"', dbname=f"{unique}_other") != [(0,)]
        await drop_database(server, desired)

    with legacy(admin, unique) as name:
        run(admin, lambda server: scenario(server, name))


def test_what_is_not_given_is_not_touched(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        with pytest.raises(Blocked) as caught:
            await plan_database(server, replace(adopted(unique), adopts=False))
        assert caught.value.reason == "DatabaseNotOurs"
        assert "spec.adopt" in caught.value.message

    with legacy(admin, unique):
        run(admin, scenario)


def test_a_database_of_the_admin_is_adopted(admin: Admin, unique: str) -> None:
    name = f"{unique}_app"
    execute(admin, "CREATE DATABASE {} OWNER {} TEMPLATE template0", name, admin.user)
    execute(
        admin,
        "SET ROLE {}; CREATE TABLE t (id serial); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        if admin.server.major < 15 or admin.user == "postgres"
        else "SET ROLE {}; CREATE TABLE public.t (id serial)",
        admin.user,
        dbname=name,
    )

    async def scenario(server: Server) -> None:
        desired = adopted(unique)
        await make_database(server, desired)
        tables = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 't'"
        assert rows(admin, tables, dbname=name) == [(desired.roles.groups[Group.ADMIN],)]
        assert await plan_database(server, replace(desired, adopts=False)) == ()
        await alone(server, name)
        await drop_database(server, desired)
        assert left_of(admin, unique) == []

    run(admin, scenario)


def test_only_a_superuser_takes_a_database_from_a_superuser(admin: Admin, unique: str) -> None:
    name, boss = f"{unique}_app", f"{unique}_boss"
    execute(admin, "CREATE ROLE {} SUPERUSER", boss)
    execute(admin, "CREATE DATABASE {} OWNER {} TEMPLATE template0", name, boss)

    async def scenario(server: Server) -> None:
        desired = adopted(unique)
        if not server.facts.is_superuser:
            with pytest.raises(Blocked) as caught:
                await plan_database(server, desired)
            assert caught.value.reason == "MissingPrivileges"
            assert f'ALTER DATABASE "{name}" OWNER TO "{admin.user}"' in caught.value.message
            execute(admin, "ALTER DATABASE {} OWNER TO {}", name, admin.user)
        await make_database(server, desired)
        assert await plan_database(server, replace(desired, adopts=False)) == ()
        await alone(server, name)
        await drop_database(server, desired)

    try:
        run(admin, scenario)
    finally:
        execute(admin, "DROP ROLE {}", boss)


def test_a_stranger_is_taken_over_only_when_a_dba_lets_the_admin_act_for_it(admin: Admin, unique: str) -> None:
    async def scenario(server: Server, name: str) -> None:
        if not server.facts.acts_as_owner:
            return
        execute(admin, "REVOKE {} FROM {}", name, admin.user)
        with pytest.raises(Blocked) as caught:
            await plan_database(server, adopted(unique))
        assert caught.value.message.endswith(
            f'a DBA must run GRANT "{name}" TO "{admin.user}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE'
        )

    with legacy(admin, unique) as name:
        run(admin, lambda server: scenario(server, name))


@pytest.mark.parametrize("kind", ["group", "admin", "another database's", "stranger"])
def test_nobody_elses_role_comes_to_own_anything(admin: Admin, unique: str, kind: str) -> None:
    desired = desired_database(f"{unique}_app")
    name = {
        "group": desired.roles.groups[Group.ADMIN],
        "admin": admin.user,
        "another database's": "dbtether_other_owner",
        "stranger": f"{unique}-nobody",
    }[kind]
    as_owner = replace(desired, owner=name)
    as_schema_owner = replace(desired, schemas=(DesiredSchema("app", name),))

    async def scenario(server: Server) -> None:
        for refused in [as_owner] if kind == "group" else [as_owner, as_schema_owner]:
            with pytest.raises(Blocked) as caught:
                await plan_database(server, refused)
            assert caught.value.reason == "ReferenceNotAllowed"

    run(admin, scenario)
