"""Fixtures that hand a real Kubernetes API server to tests, and the report of which ones a run had.

    kube            this process's Kubernetes; another test may have put dbtether's CRDs into it
    crd_kube        the same, with the CRDs of config/crd/bases
    installed_kube  the same, with all that the README's kubectl commands install: `service_account_kubeconfig` of
                    `postgres-operator-system`, `dbtether` gives an operator its rights, and no others
    namespace       a namespace of the test's own in it; deleted after the test
    fresh_kube      makes a private Kubernetes, whose processes the test may stop or kill

`--kube 1.31` chooses another version than the newest. Each process of a parallel run has its own.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kube.installing import install
from tests.kube.kube import Kube
from tests.kube.programs import NEWEST, VERSIONS, NoPrograms
from tests.kube.session import Kubes

CRDS = Path(__file__).parents[2] / "config" / "crd" / "bases"

_REPORT = "dbtether_kube"
_USED = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the version."""
    parser.addoption(
        "--kube", default=None, choices=VERSIONS, help=f"version of Kubernetes to test on (default: {NEWEST})"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "kube: needs a real Kubernetes API server (set by itself)")
    config.stash[_USED] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for a Kubernetes, so that `-m "not kube"` leaves them all out."""
    for item in items:
        if "kubes" in getattr(item, "fixturenames", ()):
            item.add_marker("kube")


@pytest.fixture(scope="session")
def kubes(pytestconfig: pytest.Config) -> Iterator[Kubes]:
    """Give this process's control planes; all are stopped when its tests have ended."""
    with Kubes.opened() as opened:
        try:
            yield opened
        finally:
            pytestconfig.stash[_USED].update(opened.used)


@pytest.fixture(scope="session")
def kube(kubes: Kubes, pytestconfig: pytest.Config) -> Kube:
    """Return the running Kubernetes that the tests of this process share."""
    return _made(kubes.shared, pytestconfig)


@pytest.fixture(scope="session")
def crd_kube(kube: Kube) -> Kube:
    """Return the same Kubernetes once it knows dbtether's kinds."""
    kube.kubectl("apply", "-f", str(CRDS))
    kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    return kube


@pytest.fixture(scope="session")
def installed_kube(kube: Kube) -> Kube:
    """Return the same Kubernetes with dbtether installed; the operator's Pod is there, and runs nowhere."""
    install(kube)
    return kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """Give a namespace of this test's own; it is deleted afterwards."""
    name = kube.create_namespace()
    yield name
    kube.delete_namespace(name)


@pytest.fixture
def fresh_kube(kubes: Kubes, pytestconfig: pytest.Config) -> Iterator[Callable[[], Kube]]:
    """Give a function that makes a private Kubernetes; it is gone after the test."""
    made: list[Kube] = []

    def make() -> Kube:
        made.append(_made(kubes.private, pytestconfig))
        return made[-1]

    yield make
    for private in made:
        kubes.discard(private)


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
    """Name the Kubernetes that the tests ran on, and shout when it could not be had."""
    used = config.stash[_USED]
    if not used:
        return
    terminalreporter.section("Kubernetes", sep="=", bold=True)
    for version, text in sorted(used.items()):
        missing = text.startswith("MISSING")
        terminalreporter.line(f"{version}: {text}", red=missing, bold=missing)


def _made(make: Callable[[str], Kube], config: pytest.Config) -> Kube:
    version = config.getoption("kube")
    try:
        return make(version or NEWEST)
    except NoPrograms as error:
        missing = str(error)
    if version is not None or os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
