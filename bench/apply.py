"""Applying: one user from nothing, many databases at once, and again when nothing has to be done."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.workload import fill, local_store, log_in, log_statements, record_plan, replay, run_engine, writes_in_log
from dbtether.embedded import EmbeddedServer

CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """A first and a second apply beside plain psycopg."""

    statements: int
    ours_seconds: float
    server_seconds: float
    plain_seconds: float
    login_seconds: float
    """As many logins as there are users, by plain psycopg."""
    again_seconds: float
    again_writes: int
    again_round_trips: float
    """A database."""


def measure(databases: int, users: int) -> Result:
    """Apply so many databases and users on a new server, and the same SQL by plain psycopg on another."""
    return asyncio.run(_measure(databases, users))


async def _measure(databases: int, users: int) -> Result:
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        for folder in (a, b):
            Path(folder).chmod(0o755)
        async with EmbeddedServer.start(Path(a) / "pg") as server, EmbeddedServer.start(Path(b) / "pg") as rival:
            with local_store(Path(a)) as store:
                await fill(store, server, databases, users, CONNECTIONS)
                plans = await record_plan(store)
                first = await run_engine(store)
                log_statements(server)
                log = Path(a) / "pg" / "server.log"
                position = len(log.read_text(errors="replace"))
                again = await run_engine(store)
                writes = writes_in_log(log, position)
            plain = await asyncio.to_thread(replay, rival, plans, CONNECTIONS)
            logins = await asyncio.to_thread(log_in, rival, databases * users, CONNECTIONS)
    return Result(
        statements=sum(len(plan.statements) for plan in plans),
        ours_seconds=first.seconds,
        server_seconds=first.server_seconds,
        plain_seconds=plain,
        login_seconds=logins,
        again_seconds=again.seconds,
        again_writes=len([text for text in writes if not text.startswith(("BEGIN", "COMMIT"))]),
        again_round_trips=again.connection_uses / databases,
    )


def report(databases: int, users: int, runs: int) -> None:
    """Print the results of several runs."""
    print(f"{databases} databases x {users} users, {CONNECTIONS} connections, PostgreSQL 18 with fsync on")
    for number in range(runs):
        result = measure(databases, users)
        ratio = result.ours_seconds / result.plain_seconds
        with_logins = result.ours_seconds / (result.plain_seconds + result.login_seconds)
        ours_alone = result.ours_seconds - result.server_seconds
        print(
            f"  run {number + 1}: first apply {result.ours_seconds:.2f} s "
            f"(waiting for the server {result.server_seconds:.2f}, ours alone {ours_alone:.2f}), "
            f"plain psycopg {result.plain_seconds:.2f} s ({result.statements} statements), ratio {ratio:.2f}, "
            f"with the users' logins ({result.login_seconds:.2f} s) {with_logins:.2f}; "
            f"second apply {result.again_seconds:.2f} s, {result.again_writes} statements that write, "
            f"{result.again_round_trips:.2f} round trips a database"
        )
