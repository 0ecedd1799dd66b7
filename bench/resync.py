"""Looking at everything again when nothing has to be done: many users, few connections, no write."""

import asyncio
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.workload import fill, local_store, log_statements, run_engine, used_so_far, writes_in_log
from dbtether.controllers.engine import Engine, opened_engine
from dbtether.embedded import EmbeddedServer

CONNECTIONS = 5


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything."""

    seconds: float
    cpu_seconds: float
    queries: int
    """Transactions on the server, of one statement each unless something is written."""
    sessions: int
    """Connections that were opened."""
    most_connections: int
    writes: int
    """Statements that write."""


def report(databases: int, users: int) -> None:
    """Print what a first look of a new process and a later one cost, with the local engine."""
    asyncio.run(_report(databases, users))


async def _report(databases: int, users: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        async with EmbeddedServer.start(Path(folder) / "pg") as server:
            with local_store(Path(folder)) as store:
                await fill(store, server, databases, users, CONNECTIONS)
                first = await run_engine(store)
                await asyncio.to_thread(log_statements, server)
                async with opened_engine(store) as engine:
                    looks = [await _measured(engine, server, Path(folder) / "pg" / "server.log") for _ in "ab"]
    total = databases * users
    print(f"{databases} databases x {users} users in one server, {CONNECTIONS} connections")
    print(f"  first apply: {first.seconds:.1f} s ({total / first.seconds:.0f} users/s)")
    for title, look in zip(("a new process", "a resync"), looks, strict=True):
        print(
            f"  {title}: {look.seconds:.2f} s ({total / look.seconds:.0f} users/s), CPU {look.cpu_seconds:.2f} s, "
            f"{look.queries} transactions, {look.sessions} connections opened, at most {look.most_connections} at a "
            f"time, {look.writes} statements that write"
        )
    print(f"  most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


async def _measured(engine: Engine, server: EmbeddedServer, log: Path) -> Look:
    """Have everything looked at, as a resync does. Raises RuntimeError when that does not settle."""
    before = await asyncio.to_thread(used_so_far, server)
    position = len(log.read_text(errors="replace"))
    most = [0]
    counting = asyncio.create_task(_count_connections(engine, most))
    await engine.loop.resync()
    started, used = time.perf_counter(), time.process_time()
    settlement = await engine.loop.run_until_settled(900)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    counting.cancel()
    if not settlement.is_settled:
        raise RuntimeError(f"not settled: {settlement}")
    after = await asyncio.to_thread(used_so_far, server)
    return Look(
        seconds=seconds,
        cpu_seconds=cpu,
        queries=after[0] - before[0] - 1,
        sessions=after[1] - before[1] - 1,
        most_connections=most[0],
        writes=len([text for text in writes_in_log(log, position) if not text.startswith(("BEGIN", "COMMIT"))]),
    )


async def _count_connections(engine: Engine, most: list[int]) -> None:
    while True:
        opened = sum(server.pool.open_connections for server in engine.world.servers.opened().values())
        most[0] = max(most[0], opened)
        await asyncio.sleep(0.01)
