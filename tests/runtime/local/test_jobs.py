"""Jobs as child processes: the port's suite, and what becomes of them when the engine is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.jobs_conformance import SUITE, ended, gone, says, spec

from dbtether.runtime.jobs import JobPhase, Jobs
from dbtether.runtime.local import LocalJobs
from dbtether.runtime.local.processes import ProcessId, is_alive, process_id

SCRIPT = str(Path(__file__).parents[1] / "jobs_program.py")
PROGRAM = (sys.executable, SCRIPT)


def opened(folder: Path, **options: Any) -> LocalJobs:
    return LocalJobs(folder / "jobs", program=PROGRAM, **options)


def recorded(folder: Path) -> ProcessId:
    found = ProcessId.parse((folder / "jobs" / "one" / "process").read_text())
    assert found is not None
    return found


@pytest.mark.parametrize("behaviour", SUITE, ids=lambda behaviour: behaviour.__name__)
def test_the_port(behaviour: Callable[[Jobs], Coroutine[Any, Any, None]], tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as jobs:
            try:
                await behaviour(jobs)
            finally:
                await jobs.delete("one")

    asyncio.run(run())


def test_another_engine_finds_the_process_and_starts_none_beside_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as jobs:
            await jobs.ensure(spec("stay"))
            await says(jobs, "staying")
        first = recorded(tmp_path)
        async with opened(tmp_path) as jobs:
            await jobs.ensure(spec("stay"))
            state = await jobs.state("one")
            assert state is not None
            assert state.phase is JobPhase.RUNNING
            assert recorded(tmp_path) == first
            await gone(jobs)
        assert not is_alive(first)

    asyncio.run(run())


def test_what_it_was_given_is_gone_once_it_has_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as jobs:
            await jobs.ensure(spec("stay"))
            files = tmp_path / "jobs" / "one" / "files"
            assert (files.stat().st_mode & 0o777, (files / "word").stat().st_mode & 0o777) == (0o700, 0o600)
            os.kill(recorded(tmp_path).pid, signal.SIGKILL)
            assert (await ended(jobs)).why == "was killed by signal 9"
            async with asyncio.timeout(10):
                while files.exists():
                    await asyncio.sleep(0.05)

    asyncio.run(run())


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path, terminate_seconds=0.5) as jobs:
            await jobs.ensure(spec("stubborn"))
            await says(jobs, "staying")
            await gone(jobs)

    asyncio.run(run())


def test_a_result_is_forgotten_after_its_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as jobs:
            await jobs.ensure(spec("say", ttl_seconds=3600.0))
            await ended(jobs)
        async with opened(tmp_path) as jobs:
            assert (await ended(jobs)).result == "done"
        async with opened(tmp_path, clock=lambda: time.time() + 3700) as jobs:
            assert await jobs.state("one") is None

    asyncio.run(run())
    assert list((tmp_path / "jobs").iterdir()) == []


def test_the_program_sees_no_variable_that_may_hold_an_admin_s_password(tmp_path: Path) -> None:
    shows = tmp_path / "show.py"
    shows.write_text(
        "import json, os, sys; open(sys.argv[-1], 'w').write(json.dumps(sorted(os.environ)))\n", encoding="utf-8"
    )
    environment = {"PATH": os.environ["PATH"], "PGADMIN_PASSWORD": "secret", "AWS_REGION": "x", "https_proxy": "y"}

    async def run() -> None:
        jobs = LocalJobs(tmp_path / "jobs", program=(sys.executable, str(shows)), environment=environment)
        async with jobs:
            await jobs.ensure(spec("show"))
            seen = set(json.loads((await ended(jobs)).result or ""))
        assert {"PATH", "AWS_REGION", "https_proxy"} <= seen
        assert "PGADMIN_PASSWORD" not in seen

    asyncio.run(run())


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.05, 0.2])
def test_a_kill_of_the_engine_at_any_point_leaves_one_process_or_none(tmp_path: Path, delay: float) -> None:
    engine = f"""
import asyncio, sys
from pathlib import Path
from tests.runtime.jobs_conformance import spec
from dbtether.runtime.local import LocalJobs
async def run():
    async with LocalJobs(Path({str(tmp_path / "jobs")!r}), program={PROGRAM!r}) as jobs:
        print("go", flush=True)
        await jobs.ensure(spec("stay"))
        await asyncio.sleep(60)
asyncio.run(run())
"""
    root = Path(__file__).parents[3]
    child = subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE, cwd=root)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(delay)
    child.kill()
    child.wait()
    child.stdout.close()

    async def run() -> None:
        async with opened(tmp_path) as jobs:
            await jobs.ensure(spec("stay"))
            state = await jobs.state("one")
            assert state is not None
            assert len(running(tmp_path)) == (state.phase is JobPhase.RUNNING)
            await gone(jobs)
        assert running(tmp_path) == []

    asyncio.run(run())


def running(folder: Path) -> list[int]:
    """The processes that run for jobs of the folder; the shell that holds one back lets go by itself."""
    found: list[int] = []
    for _ in range(50):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if str(folder).encode() in line and b"--result" in line and state not in "ZX":
                    found.append(int(entry.name))
        if len(found) < 2 and not any(b"read -r go" in _cmdline(pid) for pid in found):
            break
        time.sleep(0.05)
    return found


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_pid_that_was_given_out_again_is_no_match() -> None:
    own = process_id(os.getpid())
    assert is_alive(own)
    assert not is_alive(ProcessId(own.pid, f"1{own.started}"))
    assert ProcessId.parse(own.text()) == own
    assert ProcessId.parse("1\nx") is None
