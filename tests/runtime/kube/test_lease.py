"""Leader election: one leader at a time, whatever happens to it."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from tests.runtime.kube.api_server import ApiServer, running, status
from tests.runtime.kube.world import eventually

from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import NotLeader
from dbtether.runtime.kube.lease import Lease, LeaseSettings

FAST = LeaseSettings(duration_seconds=1.5, renew_deadline_seconds=0.9, retry_seconds=0.1)


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 60))


@asynccontextmanager
async def candidate(server: ApiServer, identity: str, settings: LeaseSettings = FAST) -> AsyncIterator[Lease]:
    async with Client(server.connection) as client:
        yield Lease(client, "operator", "dbtether", identity, settings)


def stored(server: ApiServer) -> dict[str, object]:
    found: dict[str, object] = server.objects["leases"]["operator", "dbtether"]["spec"]
    return found


class Work:
    """Work that notes when it runs, and takes a moment to stop."""

    def __init__(self, lease: Lease, stop_seconds: float = 0.0) -> None:
        self.lease = lease
        self.is_running = False
        self.has_stopped = False
        self._stop_seconds = stop_seconds

    async def __call__(self) -> None:
        self.is_running = True
        try:
            await asyncio.sleep(60)
        finally:
            self.held_while_stopping = self.lease.holds()
            await asyncio.sleep(self._stop_seconds)
            self.is_running, self.has_stopped = False, True


@pytest.mark.parametrize(
    ("duration", "deadline", "retry"), [(10.0, 10.0, 2.0), (15.0, 10.0, 5.0), (15.0, 10.0, 0.0), (1.0, 2.0, 0.1)]
)
def test_numbers_that_allow_two_leaders_are_refused(duration: float, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="a lease needs"):
        LeaseSettings(duration, deadline, retry)


def test_one_leads_and_the_next_takes_over_at_once_when_it_is_given_back() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, candidate(server, "a") as a, candidate(server, "b") as b:
            first, second = Work(a), Work(b)
            leading = asyncio.create_task(a.lead(first))
            await eventually(lambda: first.is_running)
            waiting = asyncio.create_task(b.lead(second))
            await asyncio.sleep(2)
            assert (a.holds(), b.holds(), b.holder) == (True, False, "a")
            started = time.monotonic()
            leading.cancel()
            await asyncio.wait({leading})
            assert first.has_stopped
            assert first.held_while_stopping
            await eventually(lambda: second.is_running)
            print(f"taken over {time.monotonic() - started:.2f} s after it was given back")
            assert stored(server)["leaseTransitions"] == 1
            waiting.cancel()
            await asyncio.wait({waiting})
            assert not stored(server).get("holderIdentity")

    run(main())


def test_the_lease_of_one_that_vanished_is_taken_after_its_duration_and_not_before() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, candidate(server, "a") as a, candidate(server, "b") as b:
            await a.acquire()
            started = time.monotonic()
            await b.acquire()
            assert time.monotonic() - started >= FAST.duration_seconds
            assert not a.holds()
            assert b.holds()

    run(main())


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "is taken"])
def test_a_leader_that_cannot_renew_stops_before_anybody_else_may_start(trouble: str) -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, candidate(server, "a") as a:

            async def interfere(_: web.Request) -> web.StreamResponse | None:
                if trouble == "hangs":
                    await asyncio.sleep(60)
                return status(500, "InternalError", "etcd")

            work = Work(a)
            leading = asyncio.create_task(a.lead(work))
            await eventually(lambda: work.is_running)
            if trouble == "is taken":
                server.put("leases", "operator", "dbtether", spec={**stored(server), "holderIdentity": "b"})
            else:
                server.intercept = interfere
            renewed = time.monotonic()
            with pytest.raises(NotLeader):
                await leading
            assert work.has_stopped
            assert not work.held_while_stopping
            assert time.monotonic() - renewed < FAST.duration_seconds

    run(main())


class StubbornWork:
    """Work that does not end when it is told to."""

    def __init__(self) -> None:
        self.is_running = False
        self.may_end = asyncio.Event()

    async def __call__(self) -> None:
        self.is_running = True
        while not self.may_end.is_set():
            with suppress(asyncio.CancelledError):
                await self.may_end.wait()


def test_work_that_does_not_end_with_its_lease_is_ended_with_the_process_before_anybody_else_may_start() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, Client(server.connection) as client:
            work, ended = StubbornWork(), list[float]()

            def end() -> None:
                ended.append(time.monotonic())
                work.may_end.set()

            lease = Lease(client, "operator", "dbtether", "a", FAST, end=end)
            leading = asyncio.create_task(lease.lead(work))
            await eventually(lambda: work.is_running)

            async def refuse(_: web.Request) -> web.StreamResponse | None:
                return status(500, "InternalError", "etcd")

            server.intercept = refuse
            cut = time.monotonic()
            with pytest.raises(NotLeader):
                await leading
            assert len(ended) == 1
            assert ended[0] - cut < FAST.duration_seconds

    run(main())


def test_work_that_takes_long_to_end_keeps_the_lease_meanwhile() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, candidate(server, "a") as a, candidate(server, "b") as b:
            work = Work(a, stop_seconds=2 * FAST.duration_seconds)
            leading = asyncio.create_task(a.lead(work))
            await eventually(lambda: work.is_running)
            waiting = asyncio.create_task(b.acquire())
            leading.cancel()
            while not work.has_stopped:
                assert not b.holds()
                await asyncio.sleep(0.02)
            await asyncio.wait({leading})
            await waiting
            assert b.holds()

    run(main())


def test_a_short_outage_of_the_server_costs_no_leader() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, candidate(server, "a") as a:
            await a.acquire()

            async def refuse(_: web.Request) -> web.StreamResponse | None:
                return status(500, "InternalError", "etcd")

            work = Work(a)
            leading = asyncio.create_task(a.lead(work))
            await eventually(lambda: work.is_running)
            for _ in range(3):
                server.intercept = refuse
                await asyncio.sleep(0.4)
                server.intercept = None
                await asyncio.sleep(0.4)
            assert a.holds()
            leading.cancel()
            await asyncio.wait({leading})

    run(main())


def test_many_candidates_have_one_leader() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, Client(server.connection) as client:
            leases = [Lease(client, "operator", "dbtether", f"candidate-{n}", FAST) for n in range(10)]
            tasks = [asyncio.create_task(lease.lead(Work(lease))) for lease in leases]
            for _ in range(100):
                await asyncio.sleep(0.02)
                assert sum(lease.holds() for lease in leases) <= 1
            assert sum(lease.holds() for lease in leases) == 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    run(main())


def test_who_slept_through_its_time_knows_it_before_anything_else() -> None:
    async def main() -> None:
        now = [1000.0]
        async with running(ApiServer()) as server, Client(server.connection) as client:
            lease = Lease(client, "operator", "dbtether", "a", FAST, clock=lambda: now[0])
            await lease.acquire()
            assert lease.holds()
            now[0] += FAST.renew_deadline_seconds
            assert not lease.holds()

    run(main())


WORKER = """
    import asyncio, sys, time
    from dbtether.runtime.kube import Client, Connection, Lease, LeaseSettings

    async def work():
        while True:
            # As a controller does: asked right before each write.
            if lease.holds():
                print(f"{sys.argv[2]} {time.monotonic()}", flush=True)
            await asyncio.sleep(0.005)

    async def main():
        global lease
        async with Client(Connection(sys.argv[1])) as client:
            settings = LeaseSettings(duration_seconds=1.5, renew_deadline_seconds=0.9, retry_seconds=0.1)
            lease = Lease(client, "operator", "dbtether", sys.argv[2], settings)
            await lease.lead(work)

    asyncio.run(main())
"""


async def worker(script: Path, server: ApiServer, name: str, output: Path) -> asyncio.subprocess.Process:
    with output.open("a") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(script), server.url, name, stdout=file, stderr=asyncio.subprocess.DEVNULL
        )


def writes(output: Path) -> list[tuple[str, float]]:
    lines = [line.split() for line in output.read_text().splitlines()]
    return [(line[0], float(line[1])) for line in lines if len(line) == 2]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_there_are_never_two_writers(tmp_path: Path, how: signal.Signals) -> None:
    async def main() -> None:
        script, output = tmp_path / "worker.py", tmp_path / "writes"
        script.write_text(textwrap.dedent(WORKER))
        async with running(ApiServer()) as server:
            first = await worker(script, server, "first", output)
            await eventually(lambda: output.exists() and writes(output))
            second = await worker(script, server, "second", output)
            await asyncio.sleep(1)
            os.kill(first.pid, how)
            await eventually(lambda: any(name == "second" for name, _ in writes(output)))
            if how == signal.SIGSTOP:
                os.kill(first.pid, signal.SIGCONT)
                # It finds that it lost the lease, and ends with NotLeader.
                assert await asyncio.wait_for(first.wait(), 10) == 1
            await asyncio.sleep(0.5)
            for process in (first, second):
                if process.returncode is None:
                    process.kill()
                await process.wait()
        found = writes(output)
        last_of_first = max(at for name, at in found if name == "first")
        first_of_second = min(at for name, at in found if name == "second")
        assert last_of_first < first_of_second
        print(f"{how.name}: {first_of_second - last_of_first:.2f} s without a writer (lease of 1.5 s)")

    run(main())
