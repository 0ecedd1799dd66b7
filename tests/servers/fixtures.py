"""Fixtures that hand real PostgreSQL servers to tests, and the report of which ones a run had.

    server          the process's server of a major; the test runs once for each major
    admin           an administrator of that server: the superuser, then an RDS-like one
    clients         pg_dump, pg_restore and psql of that server's major
    unique          a name that no other test uses; what contains it is dropped after the test
    fresh_server    makes a private server, which the test may stop or kill

`--pg 15,16` chooses the majors, `@pytest.mark.majors(16, 17, 18)` narrows one test to some of them.
Each process of a parallel run has servers of its own, so that no worker sees another's roles or log.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from tests.servers.builds import MAJORS, NoBuild
from tests.servers.clients import offer_clients
from tests.servers.server import Server
from tests.servers.session import Servers

from dbtether.backup.clients import ClientPrograms, find_clients
from dbtether.errors import Blocked

_REPORT = "dbtether_servers"
_USED = pytest.StashKey[dict[int, str]]()
_SUPERUSER = "superuser"
_RDS_ADMIN = "rds-admin"


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator of a server, as dbtether is given one."""

    server: Server
    user: str
    password: str = field(repr=False)
    is_superuser: bool

    def dsn(self, dbname: str = "postgres") -> str:
        """Return the connection string of this administrator."""
        return self.server.dsn(self.user, self.password, dbname)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the majors."""
    parser.addoption(
        "--pg",
        default=None,
        metavar="MAJORS",
        help="PostgreSQL majors to test, such as 15,16,18 (default: all)",
    )
    parser.addoption(
        "--every-statement",
        action="store_true",
        help="cut connections at each statement of each operation, not at a sample that differs by major (slow)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and refuse majors that nobody tests."""
    config.addinivalue_line("markers", "majors(*majors): run on these PostgreSQL majors only")
    config.addinivalue_line("markers", "postgres: needs a real PostgreSQL (set by itself)")
    config.stash[_USED] = {}
    _chosen_majors(config)
    # Before the processes of a parallel run are started, which then have the variable as well.
    if not hasattr(config, "workerinput") and "not postgres" not in config.getoption("markexpr"):
        offer_clients(os.environ)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each major, and for each kind of administrator it asks for."""
    if "server" in metafunc.fixturenames:
        wanted = [mark.args for mark in metafunc.definition.iter_markers("majors")]
        majors = [m for m in _chosen_majors(metafunc.config) if all(m in some for some in wanted)]
        metafunc.parametrize("server", majors, ids=lambda m: f"pg{m}", indirect=True, scope="session")
    if "admin" in metafunc.fixturenames:
        metafunc.parametrize("admin", (_SUPERUSER, _RDS_ADMIN), indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for a server, so that `-m "not postgres"` leaves them all out."""
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Iterator[Servers]:
    """Give this process's servers; all are stopped when its tests have ended."""
    with Servers.opened() as opened:
        try:
            yield opened
        finally:
            pytestconfig.stash[_USED].update(opened.used())


@pytest.fixture(scope="session")
def server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    """Return the running server of a major, shared by the tests of this process."""
    return _made(servers.shared, request.param, request.config)


@pytest.fixture(scope="session")
def admin(server: Server, request: pytest.FixtureRequest) -> Admin:
    """Return an administrator: first the superuser, then one with CREATEDB and CREATEROLE alone."""
    login = server.superuser if request.param == _SUPERUSER else server.admin
    return Admin(server, login.user, login.password, request.param == _SUPERUSER)


@pytest.fixture
def clients(server: Server, pytestconfig: pytest.Config) -> ClientPrograms:
    """Return pg_dump, pg_restore and psql of the server's major."""
    try:
        return find_clients(server.build.major)
    except Blocked as blocked:
        _miss(blocked.message, pytestconfig)


@pytest.fixture
def unique(server: Server) -> Iterator[str]:
    """Give a short name of this test's own; databases and roles that contain it are dropped afterwards."""
    name = f"t{secrets.token_hex(4)}"
    yield name
    server.drop_everything_named(name)


@pytest.fixture
def every_statement(pytestconfig: pytest.Config) -> bool:
    """Return whether connections are to be cut at each statement, not at a sample."""
    return bool(pytestconfig.getoption("every_statement"))


@pytest.fixture
def fresh_server(servers: Servers, pytestconfig: pytest.Config) -> Iterator[Callable[[int], Server]]:
    """Give a function that makes a private server of a major; it is gone after the test."""
    made: list[Server] = []

    def make(major: int) -> Server:
        made.append(_made(servers.private, major, pytestconfig))
        return made[-1]

    yield make
    for private in made:
        servers.discard(private)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker used to the process that reports."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_REPORT] = [f"{major} {text}" for major, text in session.config.stash[_USED].items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker used."""
    for line in getattr(node, "workeroutput", {}).get(_REPORT, ()):
        major, _, text = line.partition(" ")
        node.config.stash[_USED][int(major)] = text


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name each PostgreSQL that the tests ran on, and shout about each that could not be had."""
    used = config.stash[_USED]
    if not used:
        return
    terminalreporter.section("PostgreSQL servers", sep="=", bold=True)
    for major, text in sorted(used.items()):
        missing = text.startswith("MISSING")
        terminalreporter.line(f"{major}: {text}", red=missing, bold=missing)


def _made(make: Callable[[int], Server], major: int, config: pytest.Config) -> Server:
    try:
        return make(major)
    except NoBuild as error:
        _miss(str(error), config)


def _miss(missing: str, config: pytest.Config) -> NoReturn:
    """Skip the test, or fail it where what is missing was asked for."""
    if config.getoption("pg") or os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def _chosen_majors(config: pytest.Config) -> tuple[int, ...]:
    chosen = config.getoption("pg")
    if chosen is None:
        return MAJORS
    try:
        majors = tuple(int(major) for major in chosen.split(","))
    except ValueError:
        majors = ()
    if not majors or not set(majors) <= set(MAJORS):
        raise pytest.UsageError(f"--pg {chosen}: give majors out of {', '.join(map(str, MAJORS))}")
    return majors
