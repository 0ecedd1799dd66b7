"""Ctrl-C, SIGTERM and kill -9 in the middle: the state stays whole, and the next apply goes on."""

import signal
from pathlib import Path

import pytest
from tests.cli.program import Program, admin_secret, cluster, database, names_on, read_until, user
from tests.servers.server import Server

pytestmark = pytest.mark.majors(18)


@pytest.fixture
def manifest(program: Program, server: Server, unique: str) -> str:
    """Return a manifest of six databases with a user each."""
    bodies = [admin_secret(server.superuser), cluster(server)]
    bodies += [database(f"app-{number}", databaseName=f"{unique}_{number}") for number in range(6)]
    bodies += [user(f"{unique}-reader-{number}", f"app-{number}") for number in range(6)]
    return program.write(*bodies)


def _interrupt(program: Program, manifest: str, number: signal.Signals, word: str) -> tuple[int, str]:
    """Send the signal when the program first tells `word`."""
    process = program.start("apply", "-f", manifest, "--installation", "steady")
    seen = read_until(process.stderr, word)
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, seen + err


@pytest.mark.parametrize(
    ("number", "word"),
    [
        pytest.param(signal.SIGINT, "Connected", id="Ctrl-C before anything is made"),
        pytest.param(signal.SIGINT, "Creating", id="Ctrl-C while databases are made"),
        pytest.param(signal.SIGTERM, "Ready", id="SIGTERM while users are made"),
    ],
)
def test_an_interrupted_apply_says_so_and_the_next_one_finishes(
    program: Program, server: Server, unique: str, manifest: str, number: signal.Signals, word: str
) -> None:
    code, err = _interrupt(program, manifest, number, word)
    assert code == 130
    assert "the same command again goes on from here" in err
    assert "Traceback" not in err
    _finishes(program, server, unique, manifest)


@pytest.mark.parametrize("word", ["Connected", "Creating", "Ready"])
def test_a_killed_apply_is_finished_by_the_next_one(
    program: Program, server: Server, unique: str, manifest: str, word: str
) -> None:
    code, _ = _interrupt(program, manifest, signal.SIGKILL, word)
    assert code == -signal.SIGKILL
    _finishes(program, server, unique, manifest)


def _finishes(program: Program, server: Server, unique: str, manifest: str) -> None:
    again = program.run("apply", "-f", manifest)
    assert again.code == 0, again.err
    assert program.run("plan", "-f", manifest).code == 0
    assert not list(Path(program.state).rglob(".tmp-*"))
    deleted = program.run("delete", "-f", manifest)
    assert deleted.code == 0, deleted.err
    assert names_on(server, unique) == ([], [])
