"""Fixtures that hand object stores to tests, and the report of which ones a run had.

    place          a bucket (or folder) of the test's own; the test runs once for each kind of store
    cloud          the same for the stores that are servers
    s3             the running S3 server, for what only it can show
    private_s3     an S3 server of the test's own, which it may stop or kill

A test that asks for a store is marked `stores`.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.storage.programs import NoStore
from tests.storage.servers import SERVERS, Data, S3Server, StoreServer

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.storage.opening import open_store
from dbtether.storage.store import ObjectStore

_REPORT = "dbtether_stores"
_USED = pytest.StashKey[dict[str, str]]()


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, a container or a folder that nobody else uses."""

    spec: dict[str, Any]
    data: Data | None
    root: Path | None = None
    server: StoreServer | None = None

    @property
    def provider(self) -> str:
        """s3, gcs, azure or local."""
        return next(iter(self.spec))

    def open(self, data: Data | None = None, **changes: Any) -> ObjectStore:
        """The store, with other credentials or other values in its part of the spec."""
        part = {**self.spec[self.provider], **changes}
        spec = BackupStorageSpec.model_validate({self.provider: part})
        return open_store(spec, self.data if data is None else data, self.root)


@dataclass(slots=True)
class StoreServers:
    """The servers of one test process, started at their first use."""

    folder: Path
    used: dict[str, str] = field(default_factory=dict)
    _running: dict[str, StoreServer] = field(default_factory=dict)
    _all: list[StoreServer] = field(default_factory=list)

    def shared(self, provider: str) -> StoreServer:
        """The server that this process's tests share. Raises NoStore."""
        if provider not in self._running:
            self._running[provider] = self.private(provider)
        return self._running[provider]

    def private(self, provider: str) -> StoreServer:
        """A server of one's own. Raises NoStore."""
        try:
            server = SERVERS[provider](self.folder / f"{provider}-{len(self._all)}")
        except NoStore as error:
            self.used[provider] = f"MISSING: {error}"
            raise
        self.used[provider] = type(server).__doc__ or ""
        self._all.append(server)
        return server

    def stop(self) -> None:
        """End all of them."""
        for server in self._all:
            server.stop()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "stores: needs an object store (set by itself)")
    config.stash[_USED] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each kind of store it asks for."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", ("local", *SERVERS), indirect=True)
    if "cloud" in metafunc.fixturenames:
        metafunc.parametrize("cloud", tuple(SERVERS), indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for a store, so that `-m "not stores"` leaves them all out."""
    for item in items:
        if {"place", "store_servers"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("stores")


@pytest.fixture(scope="session")
def store_servers(pytestconfig: pytest.Config) -> Iterator[StoreServers]:
    """Give this process's object stores; all are stopped when its tests have ended."""
    folder = Path(tempfile.mkdtemp(prefix="dbtether-stores-"))
    servers = StoreServers(folder)
    try:
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)
        pytestconfig.stash[_USED].update(servers.used)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place in a store."""
    if request.param == "local":
        (tmp_path / "backups").mkdir()
        return Place({"local": {"path": "backups"}}, None, root=tmp_path)
    return bucket_of(request.getfixturevalue("store_servers"), request.param)


@pytest.fixture
def cloud(request: pytest.FixtureRequest, store_servers: StoreServers) -> Place:
    """Return an empty bucket in a store that is a server."""
    return bucket_of(store_servers, request.param)


@pytest.fixture
def s3(store_servers: StoreServers) -> S3Server:
    """Return the S3 server of this process."""
    server = _had(store_servers.shared, "s3")
    assert isinstance(server, S3Server)
    return server


@pytest.fixture
def private_s3(store_servers: StoreServers) -> Iterator[S3Server]:
    """Give an S3 server of the test's own."""
    server = _had(store_servers.private, "s3")
    assert isinstance(server, S3Server)
    yield server
    server.stop()


def new_bucket(server: StoreServer) -> Place:
    """An empty bucket on a server."""
    name = f"t{secrets.token_hex(6)}"
    server.make_bucket(name)
    return Place(server.spec(name), server.data(), server=server)


def bucket_of(servers: StoreServers, provider: str) -> Place:
    """An empty bucket on this process's server of a kind."""
    return new_bucket(_had(servers.shared, provider))


def _had(make: Callable[[str], StoreServer], provider: str) -> StoreServer:
    try:
        return make(provider)
    except NoStore as error:
        missing = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker used to the process that reports."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_REPORT] = list(session.config.stash[_USED].items())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker used."""
    node.config.stash[_USED].update(getattr(node, "workeroutput", {}).get(_REPORT, ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the stores that the tests ran on, and shout about each that could not be had."""
    used = config.stash[_USED]
    if not used:
        return
    terminalreporter.section("Object stores", sep="=", bold=True)
    for provider, text in sorted(used.items()):
        missing = text.startswith("MISSING")
        terminalreporter.line(f"{provider}: {text}", red=missing, bold=missing)
