"""Dumps of real databases: what comes out, and what happens when something breaks in the middle."""

import asyncio
import gzip
import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import psutil
import pytest
from tests.backup.unpacking import UNPACK
from tests.controllers.world import scenario
from tests.servers.server import Server

from dbtether.backup.clients import PROGRAMS_VARIABLE, ClientPrograms, find_clients
from dbtether.backup.dump import DumpProgress, DumpRequest, dump
from dbtether.backup.formats import DumpFormat
from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.connection import ConnectParameters

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'note ' || n || E' with \\\\. and \\t and \\n' FROM generate_series(1, 5000) n;
CREATE TABLE empty (id int);
CREATE TABLE "Od d;" ("a;b" int);
INSERT INTO "Od d;" VALUES (1), (NULL);
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT '
COPY nothing (a) FROM stdin;
1
'; $_$;
"""
ROWS = {"public.orders": 5000, "public.empty": 0, 'public."Od d;"': 2}


@dataclass(slots=True)
class Target:
    """A database to dump, and the client programs for it."""

    server: Server
    name: str
    clients: ClientPrograms

    @property
    def request(self) -> DumpRequest:
        login = self.server.superuser
        parameters = ConnectParameters(
            self.server.host, self.server.port, login.user, login.password, sslmode="disable"
        )
        return DumpRequest(self.clients, parameters, self.name, DumpFormat.PLAIN)

    def execute(self, text: str) -> None:
        with self.server.connect(dbname=self.name) as connection:
            connection.execute(text.encode())


@dataclass(slots=True)
class Store:
    """Takes what a dump writes; `before` runs before each piece."""

    before: Callable[[], None] = lambda: None
    seconds: float = 0.0
    pieces: list[bytes] = field(default_factory=list)

    async def write(self, data: bytes) -> None:
        self.before()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.pieces.append(data)

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


@pytest.fixture
def target(server: Server, unique: str, clients: ClientPrograms) -> Target:
    """A database with some of everything."""
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{unique}" TEMPLATE template0'.encode())
    found = Target(server, unique, clients)
    found.execute(SCHEMA)
    return found


@pytest.mark.parametrize("format_", UNPACK)
@scenario
async def test_a_dump_is_told_by_its_bytes_its_checksums_and_its_rows(target: Target, format_: DumpFormat) -> None:
    store, seen = Store(), list[DumpProgress]()
    found = await dump(replace(target.request, format=format_), store.write, on_progress=seen.append)
    plain = UNPACK[format_](store.content)
    assert found.rows == ROWS
    assert (found.object_bytes, found.plain_bytes) == (len(store.content), len(plain))
    assert found.object_sha256 == hashlib.sha256(store.content).hexdigest()
    assert found.plain_sha256 == hashlib.sha256(plain).hexdigest()
    assert seen[-1].rows == 5002
    assert b"PostgreSQL database dump complete" in plain


@scenario
async def test_an_archive_in_the_custom_format_is_read_by_pg_restore(target: Target) -> None:
    store = Store()
    found = await dump(replace(target.request, format=DumpFormat.CUSTOM), store.write)
    listed = subprocess.run(
        [target.clients.path("pg_restore"), "--list"], input=store.content, capture_output=True, check=True
    )
    assert b"TABLE DATA public orders" in listed.stdout
    assert found.rows is None


@scenario
async def test_the_password_is_in_no_argument_and_no_variable_of_pg_dump(target: Target) -> None:
    password, seen = target.request.parameters.password, list[str]()

    def look() -> None:
        for child in psutil.Process().children():
            # It may have ended by now.
            try:
                seen.append(" ".join([*child.cmdline(), *child.environ().values()]))
            except psutil.NoSuchProcess:
                continue

    target.execute("INSERT INTO orders SELECT n, repeat('x', 1000) FROM generate_series(10000, 20000) n")
    await dump(target.request, Store(look).write)
    assert any("pg_dump" in text for text in seen)
    assert not any(password in text for text in seen)


def _kill_pg_dump() -> None:
    for child in psutil.Process().children():
        if child.name() == "pg_dump":
            child.kill()


@pytest.mark.parametrize("format_", DumpFormat)
@scenario
async def test_a_pg_dump_that_is_killed_is_a_failure_although_its_pipe_ends_well(
    target: Target, format_: DumpFormat
) -> None:
    target.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(10000, 300000) n")
    store = Store(_kill_pg_dump)
    with pytest.raises(Retryable, match=r"pg_dump of database \S+ was killed by signal 9"):
        await dump(replace(target.request, format=format_), store.write)
    naive = gzip.compress(store.content)
    assert gzip.decompress(naive) == store.content, "a pipe to gzip would have been content with that"


@scenario
async def test_a_store_that_fails_ends_pg_dump(target: Target) -> None:
    class Full(Exception):
        pass

    def fail() -> None:
        raise Full

    target.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(10000, 300000) n")
    with pytest.raises(Full):
        await dump(target.request, Store(fail).write)
    assert not [child for child in psutil.Process().children() if child.name() == "pg_dump"]


@scenario
async def test_a_cancelled_dump_leaves_no_process_behind(target: Target) -> None:
    target.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(10000, 300000) n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await dump(target.request, Store(seconds=60).write)
    assert not [child for child in psutil.Process().children() if child.name() == "pg_dump"]


@scenario
async def test_a_server_that_goes_away_in_the_middle_is_a_failure(target: Target) -> None:
    def end_sessions() -> None:
        with target.server.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                (target.name,),
            )

    target.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(10000, 300000) n")
    with pytest.raises(Retryable, match="terminating connection due to administrator command"):
        await dump(target.request, Store(end_sessions).write)


@scenario
async def test_time_outs_that_the_role_has_do_not_end_a_dump(target: Target) -> None:
    target.execute(f"""
        ALTER DATABASE "{target.name}" SET statement_timeout = '1ms';
        ALTER DATABASE "{target.name}" SET idle_in_transaction_session_timeout = '1ms';
        ALTER DATABASE "{target.name}" SET lock_timeout = '1ms';
    """)
    assert (await dump(target.request, Store().write)).rows == ROWS


@scenario
async def test_a_table_that_stays_locked_is_a_failure_and_not_a_long_wait(target: Target) -> None:
    with target.server.connect(dbname=target.name) as connection, connection.transaction():
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(Retryable, match=r"waited 0\.3 s in vain .* \(LOCK TABLE .*orders.* IN ACCESS SHARE MODE\)"):
            await dump(replace(target.request, lock_wait_seconds=0.3), Store().write)
    assert time.monotonic() - started < 20


@scenario
async def test_what_the_login_may_not_read_is_told_and_not_tried_again(target: Target) -> None:
    login = target.server.admin
    parameters = replace(target.request.parameters, user=login.user, password=login.password)
    with pytest.raises(Blocked, match=r"permission denied for .*; give the backup's login the right to read it"):
        await dump(replace(target.request, parameters=parameters), Store().write)


@scenario
async def test_row_security_in_the_way_is_told_instead_of_a_dump_with_holes(target: Target) -> None:
    login = target.server.admin
    target.execute(f"""
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        GRANT USAGE ON SCHEMA public TO {login.user};
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login.user};
    """)
    parameters = replace(target.request.parameters, user=login.user, password=login.password)
    with pytest.raises(Blocked, match="row-level security"):
        await dump(replace(target.request, parameters=parameters), Store().write)


@scenario
async def test_a_wrong_password_is_told_without_the_password(target: Target) -> None:
    parameters = replace(target.request.parameters, password="wr:ong\\secret")
    with pytest.raises(DbtetherError, match="password authentication failed") as caught:
        await dump(replace(target.request, parameters=parameters), Store().write)
    assert "secret" not in str(caught.value)


@scenario
async def test_a_slow_store_holds_pg_dump_back(target: Target) -> None:
    target.execute("INSERT INTO orders SELECT n, repeat(md5(n::text), 100) FROM generate_series(10000, 30000) n")
    ahead: list[int] = []
    seen: list[DumpProgress] = []
    store = Store(seconds=0.02)

    async def write(data: bytes) -> None:
        await store.write(data)
        ahead.append(seen[-1].plain_bytes - len(store.content) if seen else 0)

    await dump(target.request, write, on_progress=seen.append)
    assert len(store.content) > 60 << 20
    assert max(ahead) < 8 << 20


def test_programs_of_another_major_are_not_taken() -> None:
    with pytest.raises(Blocked, match=r"pg_dump of PostgreSQL 9 is not on this machine.*install postgresql-client-9"):
        find_clients(9)


def test_the_folder_that_is_named_comes_first(server: Server, clients: ClientPrograms) -> None:
    named = find_clients(server.build.major, {**os.environ, PROGRAMS_VARIABLE: f"/nowhere:{clients.folder}"})
    assert named.folder == clients.folder
