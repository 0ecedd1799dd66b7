"""What a tenant can do, and cannot: each group in its own database and in another's, as itself and as its group."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from tests.postgres.core import (
    PASSWORD,
    desired_database,
    desired_login,
    opened,
    plan_database,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.postgres.roles.model import role_names

_GROUPS = (Group.READONLY, Group.READWRITE, Group.ADMIN)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Two databases with the same logins each; the admins' tables are made before and after the others."""

    admin: Admin
    own: str
    other: str

    def login(self, group: Group, database: str | None = None) -> str:
        return f"{database or self.own}-{group}"

    @contextmanager
    def connected(
        self, login: str, database: str, *, as_itself: bool = False
    ) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        options = "-c role=none" if as_itself else ""
        dsn = self.admin.server.dsn(login, PASSWORD, database)
        with psycopg.connect(dsn, autocommit=True, options=options) as connection:
            yield connection

    def may(self, login: str, statement: str, database: str | None = None, *, as_itself: bool = False) -> bool:
        """Whether the statement works. Any refusal but "permission denied" fails the test."""
        try:
            with self.connected(login, database or self.own, as_itself=as_itself) as connection:
                connection.execute("BEGIN")
                connection.execute(statement.encode())
                connection.execute("ROLLBACK")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True


def tenants(admin: Admin, unique: str) -> Tenants:
    """Apply everything, and let every creator make a table."""
    found = Tenants(admin, f"{unique}_own", f"{unique}_other")

    async def make() -> None:
        async with opened(admin) as server:
            for database in (found.own, found.other):
                desired = desired_database(database)
                await settle_database(server, desired)
                for group in _GROUPS:
                    await settle_login(server, desired_login(found.login(group, database), (database, group)))
                second = desired_login(f"{database}-second", (database, Group.ADMIN))
                await settle_login(server, second)
                with found.connected(second.name, database) as connection:
                    connection.execute("CREATE TABLE public.t (id serial); CREATE SCHEMA app; CREATE TABLE app.t ()")
                if admin.is_superuser:
                    with admin.server.connect(dbname=database) as direct:
                        direct.execute("CREATE TABLE public.of_superuser ()")
                assert await plan_database(server, desired) == ()

    asyncio.run(make())
    return found


_MATRIX = (
    # statement, who may
    ("SELECT * FROM t", _GROUPS),
    ("SELECT * FROM app.t", _GROUPS),
    ("INSERT INTO t DEFAULT VALUES", _GROUPS[1:]),
    ("UPDATE t SET id = 1", _GROUPS[1:]),
    ("DELETE FROM t", _GROUPS[1:]),
    ("SELECT last_value FROM t_id_seq", _GROUPS),
    ("SELECT nextval('t_id_seq')", _GROUPS[1:]),
    ("CREATE TEMP TABLE x ()", _GROUPS),
    ("TRUNCATE t", _GROUPS[2:]),
    ("ALTER TABLE t ADD x int", _GROUPS[2:]),
    ("DROP TABLE app.t", _GROUPS[2:]),
    ("CREATE TABLE app.x ()", _GROUPS[2:]),
    ("CREATE SCHEMA x", _GROUPS[2:]),
)


def test_each_group_may_what_it_says_and_nothing_else(admin: Admin, unique: str) -> None:
    found = tenants(admin, unique)
    statements = list(_MATRIX)
    if admin.is_superuser or admin.server.major >= 15:
        statements.append(("CREATE TABLE public.x ()", _GROUPS[2:]))
    if admin.is_superuser:
        statements.append(("SELECT * FROM of_superuser", _GROUPS))
        statements.append(("DELETE FROM of_superuser", _GROUPS[1:]))
        statements.append(("DROP TABLE of_superuser", ()))
    wrong = [
        (group.value, statement)
        for statement, allowed in statements
        for group in _GROUPS
        if found.may(found.login(group), statement) != (group in allowed)
    ]
    assert wrong == []


def test_no_login_gets_into_another_database(admin: Admin, unique: str) -> None:
    found = tenants(admin, unique)
    for group in _GROUPS:
        for as_itself in (False, True):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                found.may(found.login(group), "SELECT 1", found.other, as_itself=as_itself)


def test_an_admin_makes_nothing_outside_its_group(admin: Admin, unique: str) -> None:
    """As itself (`role=none`, SET ROLE NONE) it may not create; RESET ROLE and DISCARD ALL lead to the group."""
    found = tenants(admin, unique)
    login, group = found.login(Group.ADMIN), role_names(found.own).groups[Group.ADMIN]
    public_is_open = admin.server.major < 15 and not admin.is_superuser
    for statement in ("CREATE TABLE app.x ()", "CREATE SCHEMA x", "CREATE TABLE public.x ()"):
        if "public" in statement and public_is_open:
            continue
        assert not found.may(login, statement, as_itself=True), statement
        assert not found.may(login, f"SET ROLE NONE; {statement}"), statement
    with found.connected(login, found.own) as connection:
        for back in ("RESET ROLE", "DISCARD ALL", "RESET SESSION AUTHORIZATION"):
            connection.execute("SET ROLE NONE")
            connection.execute(back.encode())
            assert connection.execute("SELECT current_user").fetchone() == (group,)


def test_what_any_admin_will_create_the_other_groups_can_use(admin: Admin, unique: str) -> None:
    """test_default_privileges_cover_what_every_admin_creates: tables, sequences, schemas, their DDL."""
    found = tenants(admin, unique)
    with found.connected(found.login(Group.ADMIN), found.own) as connection:
        connection.execute(
            "CREATE SCHEMA later; CREATE TABLE later.t (id serial); CREATE VIEW later.v AS TABLE later.t"
        )
    second = f"{found.own}-second"
    assert found.may(found.login(Group.READONLY), "SELECT * FROM later.t, later.v")
    assert not found.may(found.login(Group.READONLY), "DELETE FROM later.t")
    assert found.may(found.login(Group.READWRITE), "INSERT INTO later.t DEFAULT VALUES")
    assert found.may(second, "ALTER TABLE later.t ADD x int; DROP SCHEMA later CASCADE")


_FORBIDDEN = (
    "DROP DATABASE {own}",
    "ALTER DATABASE {own} RENAME TO stolen",
    "ALTER DATABASE {own} OWNER TO {login}",
    "ALTER DATABASE {own} ALLOW_CONNECTIONS false",
    "ALTER DATABASE {own} CONNECTION LIMIT 0",
    "ALTER DATABASE {own} SET work_mem = '4MB'",
    "COMMENT ON DATABASE {own} IS 'mine'",
    "COMMENT ON ROLE {owner} IS 'mine'",
    "COMMENT ON ROLE {login} IS 'mine'",
    "ALTER ROLE {login} VALID UNTIL 'infinity'",
    "ALTER ROLE {login} CONNECTION LIMIT -1",
    "ALTER ROLE {login} CREATEROLE",
    "ALTER ROLE {readwrite} LOGIN",
    "SET ROLE {owner}",
    "SET ROLE {other_admin}",
    "SET ROLE {administrator}",
    "SET SESSION AUTHORIZATION {owner}",
    "GRANT {owner} TO {login}",
    "GRANT {admins} TO {foreign}",
    "GRANT {readonly} TO {foreign}",
    "GRANT {other_admin} TO {login}",
    "REVOKE {readonly} FROM {second}",
    "CREATE ROLE stolen",
    "DROP ROLE {readonly}",
    "CREATE DATABASE stolen",
    "CREATE EXTENSION file_fdw",
    "COPY app.t FROM PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER ROLE ALL SET work_mem = '4MB'",
    "ALTER ROLE {second} SET search_path = evil",
    "ALTER ROLE {second} IN DATABASE {own} SET role = 'postgres'",
)
# PostgreSQL says of these what they are, not "permission denied".
_OTHER_REFUSALS = (psycopg.errors.ObjectInUse, psycopg.errors.ActiveSqlTransaction)


def test_an_admin_cannot_take_the_database_or_its_marks(admin: Admin, unique: str) -> None:
    found = tenants(admin, unique)
    names, other = role_names(found.own), role_names(found.other)
    places = {
        "own": found.own,
        "owner": names.owner,
        "admins": names.groups[Group.ADMIN],
        "readonly": names.groups[Group.READONLY],
        "readwrite": names.groups[Group.READWRITE],
        "other_admin": other.groups[Group.ADMIN],
        "login": found.login(Group.ADMIN),
        "second": f"{found.own}-second",
        "foreign": found.login(Group.ADMIN, found.other),
        "administrator": admin.user,
    }
    quoted = {place: sql.Identifier(name).as_string(None) for place, name in places.items()}
    done = []
    for as_itself in (False, True):
        for template in _FORBIDDEN:
            with found.connected(
                found.login(Group.ADMIN), "postgres" if "DATABASE {own}" in template else found.own
            ) as c:
                # In the `postgres` database the login works as itself; be what it can be.
                if not as_itself and admin.server.major >= 13:
                    c.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(names.groups[Group.ADMIN])))
                else:
                    c.execute("SET ROLE NONE")
                try:
                    c.execute(template.format(**quoted).encode())
                except (psycopg.errors.InsufficientPrivilege, *_OTHER_REFUSALS):
                    continue
                done.append(template)
    assert done == []


def test_letting_public_in_changes_nothing(admin: Admin, unique: str) -> None:
    """GRANT by who may not answers with a warning: what counts is the access control list."""
    found = tenants(admin, unique)
    before = _acl(found)
    with found.connected(found.login(Group.ADMIN), found.own) as connection:
        for role in ("RESET ROLE", "SET ROLE NONE"):
            connection.execute(role.encode())
            for grantee in ("PUBLIC", f'"{found.login(Group.READONLY, found.other)}"'):
                for privilege in ("CONNECT", "CREATE", "ALL"):
                    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                        connection.execute(f'GRANT {privilege} ON DATABASE "{found.own}" TO {grantee}'.encode())
    assert _acl(found) == before
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        found.may(found.login(Group.READONLY, found.other), "SELECT 1")


def _acl(found: Tenants) -> object:
    with found.admin.server.connect() as connection:
        return connection.execute("SELECT datacl::text FROM pg_database WHERE datname = %s", (found.own,)).fetchone()
