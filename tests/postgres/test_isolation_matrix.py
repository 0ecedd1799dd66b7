"""The isolation matrix (tests/postgres/matrix.py) tried on real servers, with one pair of databases for all of it."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.postgres.core import (
    PASSWORD,
    desired_database,
    desired_login,
    make_login,
    opened,
    plan_database,
    settle_database,
    settle_login,
)
from tests.postgres.matrix import NO, OPEN, TOPICS, YES, Ground, Rule, Topic
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Retryable
from dbtether.postgres.roles.model import role_names

Connection = psycopg.Connection[tuple[Any, ...]]

_GROUPS = (Group.READONLY, Group.READWRITE, Group.ADMIN)
# Each is refused before or after the check of rights, but refused.
_ALONE = ("DROP DATABASE", "CREATE DATABASE", "ALTER SYSTEM", "CREATE TABLESPACE", "CREATE SUBSCRIPTION")
_WITHOUT_EFFECT = ("01006", "01007")
# Rows that look for something divide by how much of it they see; nobody may rename the role it logged in as.
_REFUSALS = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.DivisionByZero,
    psycopg.errors.FeatureNotSupported,
)

_OBJECTS = """
CREATE TABLE public.{p}_t (id serial PRIMARY KEY, v text);
CREATE VIEW public.{p}_v AS TABLE public.{p}_t;
CREATE MATERIALIZED VIEW public.{p}_m AS TABLE public.{p}_t;
CREATE FUNCTION public.{p}_f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.{p}_d() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.{p}_t';
CREATE TYPE public.{p}_e AS ENUM ('a');
CREATE SCHEMA {p}_s;
CREATE TABLE {p}_s.t ();
SELECT lo_create({lo});
"""
_SHARED = """
CREATE SCHEMA x;
CREATE TABLE x.mine (line text);
CREATE FUNCTION x.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
"""
_LARGE_OBJECTS = {"early": 7001, "late": 7002, "platform": 7003, "reader": 7004}


@dataclass(slots=True)
class Neighbours:
    """Two tenants' databases with a login of each group, and the connections that have been opened."""

    admin: Admin
    unique: str
    _connections: dict[tuple[str, str], Connection] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def own(self) -> str:
        return f"{self.unique}_own"

    @property
    def other(self) -> str:
        return f"{self.unique}_other"

    @property
    def ground(self) -> Ground:
        return Ground(self.admin.server.major, self.admin.is_superuser)

    def login(self, name: str, database: str | None = None) -> str:
        return f"{database or self.own}-{name}"

    def connection(self, login: str, database: str) -> Connection:
        """One for each login and database, opened once."""
        if (login, database) not in self._connections:
            dsn = self.admin.server.dsn(login, PASSWORD, database)
            found = self._stack.enter_context(psycopg.connect(dsn, autocommit=True))
            self._connections[login, database] = found
        return self._connections[login, database]

    def places(self, group: Group) -> dict[str, str]:
        """What stands for the names in a row's SQL."""
        names, others = role_names(self.own), role_names(self.other)
        named = {
            "own": self.own,
            "other": self.other,
            "owner": names.owner,
            "admins": names.groups[Group.ADMIN],
            "readonly": names.groups[Group.READONLY],
            "readwrite": names.groups[Group.READWRITE],
            "login": self.login(group),
            "session": self.login(group),
            "second": self.login("second"),
            "platform": self.admin.user,
            "other_owner": others.owner,
            "other_admins": others.groups[Group.ADMIN],
            "other_login": self.login(Group.ADMIN, self.other),
        }
        quoted = {place: sql.Identifier(name).as_string(None) for place, name in named.items()}
        pids = {
            "second_pid": self.connection(self.login("second"), self.own),
            "other_pid": self.connection(named["other_login"], self.other),
            "platform_pid": self._connections["platform", "postgres"],
        }
        return {
            **quoted,
            **{place: str(found.info.backend_pid) for place, found in pids.items()},
            "other_text": sql.Literal(self.other).as_string(None),
        }

    def close(self) -> None:
        self._stack.close()
        self._connections.clear()

    def settle(self) -> None:
        """Make everything, with objects of every creator before and after the others came."""

        async def make() -> None:
            async with opened(self.admin) as server:
                for database in (self.own, self.other):
                    desired = desired_database(database)
                    await settle_database(server, desired)
                    second = desired_login(self.login("second", database), (database, Group.ADMIN))
                    await settle_login(server, second)
                    self._make_objects(self.connection(second.name, database), "early")
                    for group in _GROUPS:
                        await settle_login(server, desired_login(self.login(group, database), (database, group)))
                    connection = self.connection(second.name, database)
                    connection.execute(_SHARED.encode())
                    self._make_objects(connection, "late")
                    with psycopg.connect(self.admin.dsn(database), autocommit=True) as platform:
                        if self.ground.is_superuser or self.ground.major < 16:
                            self._make_objects(platform, "platform")
                    guest = desired_login(self.login("guest", database), (database, Group.READWRITE))
                    await settle_login(server, guest)
                    reader = self.connection(guest.name, database)
                    reader.execute(f"SELECT lo_create({_LARGE_OBJECTS['reader']})".encode())
                    if self.ground.is_superuser:
                        assert await plan_database(server, desired) == ()
                    else:
                        # What the admin makes by hand is given to the groups by the next look.
                        await settle_database(server, desired)

        asyncio.run(make())
        platform = self._stack.enter_context(psycopg.connect(self.admin.dsn(), autocommit=True))
        self._connections["platform", "postgres"] = platform
        self.connection(self.login(Group.ADMIN, self.other), self.other).execute("SELECT 'its secret'")

    def _make_objects(self, connection: Connection, prefix: str) -> None:
        connection.execute(_OBJECTS.format(p=prefix, lo=_LARGE_OBJECTS[prefix]).encode())


@pytest.fixture(scope="module")
def neighbours(admin: Admin) -> Iterator[Neighbours]:
    found = Neighbours(admin, f"t{secrets.token_hex(4)}")
    try:
        found.settle()
        yield found
    finally:
        found.close()
        admin.server.drop_everything_named(found.unique)


def outcome(neighbours: Neighbours, group: Group, database: str, statement: str) -> str:
    """`yes`, `no`, or what went wrong otherwise; an admin tries it as its group (anywhere) and as itself."""
    if statement.startswith("CONNECT "):
        return _connects(neighbours, group, statement.removeprefix("CONNECT ").strip('"'))
    connection = neighbours.connection(neighbours.login(group), database)
    roles = [sql.SQL("NONE")] if group is not Group.ADMIN else [sql.Identifier(_admins(neighbours)), sql.SQL("NONE")]
    outcomes = []
    for role in roles:
        connection.execute(sql.SQL("SET ROLE {}").format(role))
        outcomes.append(_tried(connection, statement))
    return next((found for found in outcomes if found != NO), NO)


def _admins(neighbours: Neighbours) -> str:
    return role_names(neighbours.own).groups[Group.ADMIN]


def _tried(connection: Connection, statement: str) -> str:
    warnings: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        warnings.append(notice.sqlstate or "")

    connection.add_notice_handler(listen)
    try:
        if not statement.startswith(_ALONE):
            connection.execute("BEGIN")
        if statement.startswith("COPY") and statement.endswith("STDOUT"):
            with connection.cursor() as cursor, cursor.copy(statement.encode()) as copied:
                list(copied)
        else:
            connection.execute(statement.encode())
    except _REFUSALS:
        return NO
    except psycopg.Error as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.remove_notice_handler(listen)
        if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")
    return NO if any(warning in _WITHOUT_EFFECT for warning in warnings) else YES


def _connects(neighbours: Neighbours, group: Group, database: str) -> str:
    login = neighbours.login(group)
    for options in ("", "-c role=none"):
        dsn = neighbours.admin.server.dsn(login, PASSWORD, database)
        try:
            psycopg.connect(dsn, options=options).close()
        except psycopg.OperationalError as error:
            if not any(text in str(error) for text in ("permission denied for database", "not currently accepting")):
                raise
        else:
            return YES
    return NO


def wrong(neighbours: Neighbours, topic: Topic) -> list[str]:
    """Every row whose outcome is not as the matrix says."""
    database = neighbours.own if topic.database == "own" else topic.database
    found = []
    for prefix in topic.objects:
        for rule in topic.rules:
            for group, cell in zip(_GROUPS, (rule.readonly, rule.readwrite, rule.admin), strict=True):
                statement = _filled(neighbours, rule, prefix, group)
                expected = cell if isinstance(cell, str) else cell(neighbours.ground)
                is_so = outcome(neighbours, group, database, statement)
                if is_so != (YES if expected == OPEN else expected):
                    found.append(f"{group.value}: {rule.what} ({statement}): {is_so}, expected {expected}")
    return found


def _filled(neighbours: Neighbours, rule: Rule, prefix: str, group: Group) -> str:
    text = rule.sql
    if prefix:
        text = text.replace("{p}_lo", str(_LARGE_OBJECTS[prefix])).replace("{p}", prefix)
    return text.format(**neighbours.places(group))


@pytest.mark.parametrize("topic", TOPICS, ids=str)
def test_isolation(neighbours: Neighbours, topic: Topic) -> None:
    if not topic.applies(neighbours.ground):
        pytest.skip("not on this server with this admin")
    assert "\n".join(wrong(neighbours, topic)) == ""


def test_what_is_open_is_said_in_the_documentation() -> None:
    """Only what nobody can close may be open, and then people must be told."""
    text = " ".join((Path(__file__).parents[2] / "docs" / "security.md").read_text().split())
    for topic in TOPICS:
        for rule in topic.rules:
            if rule.documented:
                assert rule.documented in text, f"{topic}: {rule.what}"
            else:
                assert OPEN not in (rule.readonly, rule.readwrite, rule.admin), f"{topic}: {rule.what}"


def test_a_lock_in_one_database_holds_no_other_tenant_up(neighbours: Neighbours) -> None:
    own = neighbours.connection(neighbours.login(Group.READONLY), neighbours.own)
    other = neighbours.connection(neighbours.login(Group.READONLY, neighbours.other), neighbours.other)
    own.execute("SELECT pg_advisory_lock(42)")
    try:
        assert other.execute("SELECT pg_try_advisory_xact_lock(42)").fetchone() == (True,)
    finally:
        own.execute("SELECT pg_advisory_unlock_all()")


def test_with_the_doors_closed_nobody_gets_in_or_holds_dbtether_up(neighbours: Neighbours) -> None:
    """While they are open, any login can hold the lock that dbtether's writers take in turn: it waits and says so."""
    server, user = neighbours.admin.server, neighbours.login(Group.READONLY)
    third = desired_login(f"{neighbours.unique}-third", (neighbours.own, Group.READONLY))

    async def write(connection_limit: int) -> None:
        async with opened(neighbours.admin, lock_timeout_seconds=0.3) as opened_server:
            await make_login(
                opened_server,
                desired_login(third.name, (neighbours.own, Group.READONLY), connection_limit=connection_limit),
            )

    with psycopg.connect(server.dsn(user, PASSWORD, "postgres"), autocommit=True) as tenant:
        tenant.execute("SELECT pg_advisory_lock(1684173925, 1)")
        with pytest.raises(Retryable) as refused:
            asyncio.run(write(1))
        assert refused.value.reason == "LockNotAvailable"
    with server.connect() as dba:
        dba.execute(sql.SQL("GRANT CONNECT ON DATABASE postgres TO {}").format(sql.Identifier(neighbours.admin.user)))
        dba.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        try:
            for group in _GROUPS:
                for database in ("postgres", "template1"):
                    assert _connects(neighbours, group, database) == NO
            asyncio.run(write(2))
        finally:
            dba.execute("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")
            if not neighbours.admin.is_superuser:
                dba.execute(
                    sql.SQL("REVOKE CONNECT ON DATABASE postgres FROM {}").format(sql.Identifier(neighbours.admin.user))
                )
