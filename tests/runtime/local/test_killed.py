"""A process that is killed at any point loses nothing that it had reported, and leaves a directory that opens."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.runtime.local import killed_writer

from dbtether.api.resource import Key
from dbtether.errors import StateError
from dbtether.runtime.local import LocalStore

KILLS = 30
ORDER = {b"first": 1, b"second": 2}


@dataclass
class Reported:
    """What the killed processes had said before they died."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    specs: dict[str, int] = field(default_factory=dict)

    def take_in(self, output: bytes) -> None:
        for line in output.splitlines():
            word, *rest = line.decode().split(" ")
            match word, rest:
                case "secret", [name, content]:
                    self.secrets[name] = content.encode()
                case "spec", [name, number]:
                    self.specs[name] = int(number)
                case (("deleting" | "deleted"), [name]):
                    self.secrets.pop(name, None)
                    self.specs.pop(name, None)


@contextmanager
def writer_on(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that writes, past its opening of the directory; killed at the end."""
    command = [sys.executable, str(killed_writer.__file__), str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            assert child.stdout.readline().startswith(b"open ")
            yield child
        finally:
            child.send_signal(signal.SIGKILL)


async def check(state: Path, reported: Reported) -> None:
    with LocalStore.open(state) as store:
        assert not [path for path in state.rglob(".tmp*") if path.is_file()]
        for name, content in reported.secrets.items():
            secret = await store.get_secret("default", name)
            assert secret, name
            found = next(word for word in ORDER if secret.data["password"] == word * 100)
            assert ORDER[found] >= ORDER[content], name
        for name, number in reported.specs.items():
            resource = await store.get(Key("Database", "default", name))
            assert resource, name
            assert resource.spec["number"] >= number
        await store.list_secrets()


def test_thirty_kills_at_random_points_lose_nothing_that_was_reported(tmp_path: Path) -> None:
    state = tmp_path / "state"
    reported = Reported()
    chance = random.Random(5)
    for _ in range(KILLS):
        with writer_on(state) as child:
            time.sleep(chance.uniform(0.0, 0.08))
            child.send_signal(signal.SIGKILL)
            assert child.stdout
            reported.take_in(child.stdout.read())
        asyncio.run(check(state, reported))
    assert len(reported.secrets) > KILLS


def test_another_process_is_refused_by_pid_until_the_holder_is_killed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with writer_on(state) as child:
        with pytest.raises(StateError, match=f"in use by process {child.pid} since"):
            LocalStore.open(state)
        child.send_signal(signal.SIGKILL)
        child.wait()
        LocalStore.open(state).close()


def test_a_reader_sees_whole_files_while_another_process_writes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with writer_on(state) as child:
        assert child.stdout
        os.set_blocking(child.stdout.fileno(), False)
        most_seen = 0
        while most_seen < 100:
            child.stdout.read()
            with LocalStore.open(state, read_only=True) as store:
                secrets = asyncio.run(store.list_secrets())
            most_seen = max(most_seen, len(secrets))
            assert {secret.data["password"][:5] for secret in secrets} <= {b"first", b"secon"}
