"""The login that a run gets: it reads one database, nothing else, and leaves nothing behind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.postgres.core import (
    desired_database,
    desired_login,
    execute,
    left_of,
    rows,
    run,
    settle_database,
    settle_login,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.dumps.guards import needed_groups
from dbtether.postgres.dumps.model import DesiredRunLogin, ObservedRunLogin, run_comment, run_login_name
from dbtether.postgres.dumps.plan import plan, plan_end
from dbtether.postgres.passwords import scram_verifier
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server

PASSWORD = "Correct7Horse"


@dataclass(slots=True)
class Run:
    """A database with an admin user's objects, and the login of a run on it."""

    admin: Admin
    server: Server
    database: str

    @property
    def login(self) -> str:
        return run_login_name(self.database[-8:])

    async def observe(self) -> ObservedRunLogin:
        return ObservedRunLogin(self.server.facts, (await self.server.shared([self.login])).roles.get(self.login))

    async def begin(self, *, seconds: float = 600) -> tuple[Group, ...]:
        roles = role_names(self.database)
        groups = needed_groups(self.database, roles, await self.server.dump_source(self.database, roles))
        desired = DesiredRunLogin(
            name=self.login,
            comment=run_comment("Backup", "team", "nightly", "test"),
            database=self.database,
            roles=roles,
            groups=groups,
            expires=datetime.now(UTC) + timedelta(seconds=seconds),
            verifier=scram_verifier(PASSWORD, self.login),
        )
        await self.server.apply(plan(desired, await self.observe()), "run")
        return groups

    async def end(self) -> None:
        await self.server.apply(plan_end(await self.observe()), "run")

    def as_run(self, query: str, dbname: str | None = None) -> list[tuple[Any, ...]]:
        dsn = self.admin.server.dsn(self.login, PASSWORD, dbname or self.database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def as_user(self, *queries: str) -> None:
        """As the database's admin user, whose objects belong to the admins' group."""
        dsn = self.admin.server.dsn(f"{self.database}-dev", PASSWORD, self.database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for query in queries:
                connection.execute(query.encode())


def in_a_run(admin: Admin, unique: str, scenario: Callable[[Run], Awaitable[None]]) -> None:
    async def prepared(server: Server) -> None:
        await settle_database(server, desired_database(unique))
        await settle_login(server, desired_login(f"{unique}-dev", (unique, Group.ADMIN)))
        found = Run(admin, server, unique)
        found.as_user("CREATE SCHEMA app", "CREATE TABLE app.t AS SELECT 1 AS id", "CREATE SEQUENCE app.s")
        try:
            await scenario(found)
        finally:
            await found.end()

    run(admin, prepared)


def test_readonly_is_enough_for_a_plain_database(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        assert await found.begin() == (Group.READONLY,)
        assert found.as_run("SELECT id FROM app.t") == [(1,)]
        assert found.as_run("SELECT last_value FROM app.s") == [(1,)]
        for refused in ("INSERT INTO app.t VALUES (2)", "CREATE TABLE app.u (id int)", "DROP TABLE app.t"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                found.as_run(refused)

    in_a_run(admin, unique, scenario)


def test_it_enters_no_other_database_of_a_tenant(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        other = f"{unique}_other"
        await settle_database(found.server, desired_database(other))
        await found.begin()
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            found.as_run("SELECT 1", dbname=other)

    in_a_run(admin, unique, scenario)


def test_it_expires_by_itself(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        await found.begin(seconds=-1)
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            found.as_run("SELECT 1")
        await found.begin()
        assert found.as_run("SELECT 1") == [(1,)], "a second attempt of the same run gives it time again"

    in_a_run(admin, unique, scenario)


def test_its_end_leaves_no_role_and_no_session(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        await found.begin()
        with psycopg.connect(admin.server.dsn(found.login, PASSWORD, unique)) as connection:
            await found.end()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert not rows(admin, "SELECT FROM pg_roles WHERE rolname = %s", found.login)
        assert plan_end(await found.observe()) == ()
        assert left_of(admin, unique), "the database and its own roles are still there"

    in_a_run(admin, unique, scenario)


def test_a_role_that_was_not_made_for_a_run_is_never_dropped(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        execute(admin, "CREATE ROLE {} NOLOGIN", found.login)
        assert plan_end(await found.observe()) == ()
        execute(admin, "DROP ROLE {}", found.login)

    in_a_run(admin, unique, scenario)


def test_policies_and_large_objects_of_the_admins_need_their_group(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        found.as_user("ALTER TABLE app.t ENABLE ROW LEVEL SECURITY")
        assert await found.begin() == (Group.READONLY, Group.ADMIN)
        assert found.as_run("SELECT id FROM app.t") == [(1,)], "no row is hidden"
        await found.end()
        found.as_user("ALTER TABLE app.t DISABLE ROW LEVEL SECURITY", "SELECT lo_from_bytea(4711, 'x')")
        needs_admins = admin.server.build.major < 18
        assert await found.begin() == ((Group.READONLY, Group.ADMIN) if needs_admins else (Group.READONLY,))
        assert found.as_run("SELECT lo_get(4711)") == [(b"x",)]

    in_a_run(admin, unique, scenario)


HINDERED = {
    "a table of a stranger": (
        "CREATE TABLE app.secret (id int); REVOKE ALL ON app.secret FROM {group}, {readonly}, {readwrite}",
        r"no right to read app\.secret \(.*ALTER TABLE app\.secret OWNER TO",
        "ALTER TABLE app.secret OWNER TO {group}",
    ),
    "forced row security": (
        "ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; ALTER TABLE app.t FORCE ROW LEVEL SECURITY",
        r"row security hides rows of app\.t \(",
        "ALTER TABLE app.t NO FORCE ROW LEVEL SECURITY",
    ),
}


@pytest.mark.parametrize(("broken", "told", "cure"), HINDERED.values(), ids=HINDERED)
def test_what_would_be_missing_is_told_with_a_statement_that_helps(
    admin: Admin, unique: str, broken: str, told: str, cure: str
) -> None:
    names = role_names(unique).groups
    values = {"group": names[Group.ADMIN], "readonly": names[Group.READONLY], "readwrite": names[Group.READWRITE]}

    async def scenario(found: Run) -> None:
        with admin.server.connect(dbname=unique) as connection:
            connection.execute(broken.format(**values).encode())
            with pytest.raises(Blocked, match=told) as caught:
                await found.begin()
            assert caught.value.reason == "BackupNotAllowed"
            connection.execute(cure.format(**values).encode())
        assert await found.begin() == (Group.READONLY, Group.ADMIN)

    in_a_run(admin, unique, scenario)


def test_the_facts_of_the_manifest_are_read(admin: Admin, unique: str) -> None:
    async def scenario(found: Run) -> None:
        execute(admin, "ALTER ROLE {} IN DATABASE {} SET work_mem = '5MB'", f"{unique}-dev", unique)
        source = await found.server.dump_source(unique, role_names(unique))
        assert source.size_bytes > 1_000_000
        assert "work_mem=5MB" in source.role_settings[f"{unique}-dev"]

    in_a_run(admin, unique, scenario)
