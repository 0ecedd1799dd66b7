"""The servers that other tests stand on behave as promised."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql
from tests.servers.fixtures import Admin
from tests.servers.processes import ends_within
from tests.servers.server import Server
from tests.servers.session import Servers


def test_server_is_the_major_asked_for(server: Server) -> None:
    with server.connect() as connection:
        assert connection.info.server_version // 10000 == server.major


def test_login_needs_the_password(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn("postgres", "wrong"))


def test_server_listens_on_loopback_alone(server: Server) -> None:
    listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections("inet") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_rds_admin_may_create_but_owns_nothing(server: Server) -> None:
    with server.connect(server.admin) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owned = connection.execute(
            "SELECT count(*) FROM pg_database WHERE pg_get_userbyid(datdba) = current_user"
        ).fetchone()
    assert (rights, owned) == ((False, True, True), (0,))


def test_admin_is_each_kind_of_administrator(admin: Admin) -> None:
    with psycopg.connect(admin.dsn()) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    assert row == (admin.is_superuser,)


def test_contrib_extensions_are_there(server: Server) -> None:
    with server.connect() as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM pg_catalog.pg_available_extensions")}
    assert {"pg_trgm", "citext", "hstore"} <= names


def test_statements_since_a_mark_are_those_sent_after_it(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("SELECT 'before'")
        mark = server.mark()
        connection.execute("SELECT 1,\n\t2 -- on two lines")
        connection.execute("SELECT %s::text", ("a parameter",))
    assert server.statements_since(mark) == ["SELECT 1,\n\t2 -- on two lines", "SELECT $1::text"]
    assert server.statements_since(mark, application_name="another") == []


def test_unique_names_are_dropped_with_all_that_hangs_on_them(server: Server) -> None:
    part = "t0cleanup"
    with server.connect() as connection:
        for statement in (
            "CREATE ROLE {} LOGIN",
            "CREATE DATABASE {} IS_TEMPLATE true",
            "GRANT CREATE ON DATABASE postgres TO {}",
        ):
            connection.execute(sql.SQL(statement).format(sql.Identifier(part)))
    server.drop_everything_named(part)
    with server.connect() as connection:
        left = connection.execute(
            "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = %s"
            " UNION ALL SELECT datname FROM pg_catalog.pg_database WHERE datname = %s",
            (part, part),
        ).fetchall()
    assert left == []


def test_private_server_comes_back_on_its_port_after_a_stop(fresh_server: Callable[[int], Server]) -> None:
    server = fresh_server(18)
    port = server.port
    with server.connect() as connection:
        connection.execute("CREATE DATABASE kept")
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    server.start()
    assert server.port == port
    with server.connect(dbname="kept") as connection:
        assert connection.info.dbname == "kept"


def test_password_file_is_closed_to_others(fresh_server: Callable[[int], Server]) -> None:
    server = fresh_server(18)
    assert stat.S_IMODE((server.directory / "password").stat().st_mode) == 0o600
    assert server.superuser.password not in " ".join(psutil.Process(server.pid).cmdline())
    assert server.superuser.password not in repr(server)


def test_killed_run_leaves_no_server() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers", "18"], cwd=root, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        log = next(line.split()[-1] for line in run.stdout if line.startswith("  log"))
        folder = Path(log).parent
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(run.pid, signal.SIGKILL)
    assert ends_within(pid, seconds=10)
    # The next run clears the files.
    with Servers.opened():
        pass
    assert not folder.exists()
