"""What is measured: manifests of many databases and users, an engine over a state directory, a rival."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import psycopg
from psycopg import sql

from dbtether.api.kinds import FINALIZER
from dbtether.api.resource import Key
from dbtether.controllers.engine import opened_engine
from dbtether.controllers.executor import Executor, Planned, Recording
from dbtether.embedded import EmbeddedServer
from dbtether.postgres.statement import batches, commands
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import OverlayStore
from dbtether.runtime.records import RecordStore

CLUSTER = Key("DBCluster", "", "bench")
PRIVILEGES = ("readonly", "readwrite", "admin")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run of the engine."""

    seconds: float
    connection_uses: int
    server_seconds: float
    """At least one connection to the server was in use so long; the rest is ours alone."""


async def fill(store: RecordStore, server: EmbeddedServer, databases: int, users: int, connections: int) -> None:
    """Put the manifests into the store: so many databases, each with so many users."""
    login = {"username": server.user.encode(), "password": server.password.encode()}
    await store.apply_secret("ops", "admin", login)
    spec = {
        "endpoint": server.host,
        "port": server.port,
        "tls": {"mode": "disable"},
        "maxConnections": connections,
        "credentialsSecretRef": {"name": "admin", "namespace": "ops"},
    }
    await store.apply_resource(CLUSTER, spec, finalizers=(FINALIZER,))
    for number in range(databases):
        name = f"bench-{number:04d}"
        await store.apply_resource(
            Key("Database", "bench", name),
            {"clusterRef": {"name": "bench"}, "deletionPolicy": "Delete"},
            finalizers=(FINALIZER,),
        )
        for index in range(users):
            user = Key("DatabaseUser", "bench", f"{name}-u{index}")
            privileges = PRIVILEGES[index % len(PRIVILEGES)]
            access = {"databaseRef": {"name": name}, "privileges": privileges}
            await store.apply_resource(user, access, finalizers=(FINALIZER,))


async def run_engine(store: RecordStore, executor: Executor | None = None) -> Run:
    """Run the engine until everything is settled. Raises RuntimeError when something is not."""
    started = time.perf_counter()
    async with opened_engine(store, executor=executor) as engine:
        settlement = await engine.loop.run_until_settled(900)
        seconds = time.perf_counter() - started
        usages = [server.pool.usage for server in engine.world.servers.opened().values()]
    not_ready = [
        resource.key
        for kind in ("Database", "DatabaseUser")
        for resource in await store.list(kind)
        if resource.status.get("phase") != "Ready"
    ]
    if not settlement.is_settled or not_ready:
        raise RuntimeError(f"not settled: {settlement}, not ready: {not_ready[:5]}")
    return Run(seconds, sum(usage.uses for usage in usages), sum(usage.busy_seconds for usage in usages))


async def record_plan(store: RecordStore) -> tuple[Planned, ...]:
    """The statements that an apply would run now."""
    recording = Recording()
    async with opened_engine(OverlayStore(store), executor=recording) as engine:
        await engine.loop.run_until_settled(900)
    return tuple(recording.planned[key] for key in sorted(recording.planned))


def replay(server: EmbeddedServer, plans: Sequence[Planned], connections: int) -> float:
    """Seconds that the same SQL takes by plain psycopg, one statement after the other, on so many connections.

    Databases first, then users, as they depend on each other; each keeps its order of statements.
    """
    waves = [[plan for plan in plans if plan.key.kind == kind] for kind in ("Database", "DatabaseUser")]
    idle: SimpleQueue[psycopg.Connection[tuple[object, ...]]] = SimpleQueue()
    for _ in range(connections):
        idle.put(_connect(server, "postgres"))
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        for wave in waves:
            list(threads.map(lambda plan: _replay_one(server, plan, idle), wave))
    seconds = time.perf_counter() - started
    while not idle.empty():
        idle.get().close()
    return seconds


def log_in(server: EmbeddedServer, count: int, connections: int) -> float:
    """Seconds that so many logins take by plain psycopg, so many at a time: what each user's proof costs."""
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(lambda _: _connect(server, "postgres").close(), range(count)))
    return time.perf_counter() - started


def _replay_one(
    server: EmbeddedServer, plan: Planned, idle: SimpleQueue[psycopg.Connection[tuple[object, ...]]]
) -> None:
    for batch in batches(plan.statements):
        connection = _connect(server, batch.database) if batch.database else idle.get()
        try:
            texts: list[sql.Composed | str] = [query for _, query in commands(batch)]
            for text in ["BEGIN", *texts, "COMMIT"] if batch.transactional else texts:
                connection.execute(text)
        finally:
            if batch.database:
                connection.close()
            else:
                idle.put(connection)


def _connect(server: EmbeddedServer, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        dbname=database,
        autocommit=True,
        sslmode="disable",
    )


def writes_in_log(log: Path, start: int) -> list[str]:
    """The logged statements since a position that are not reads."""
    text = log.read_text(errors="replace")[start:]
    found = []
    for line in text.splitlines():
        _, marker, statement = line.partition("LOG:  statement: ")
        if not marker:
            _, marker, statement = line.partition("LOG:  execute ")
            statement = statement.partition(": ")[2]
        if marker and not statement.strip().upper().startswith(("SELECT", "WITH", "SHOW")) and statement.strip():
            found.append(statement)
    return found


def used_so_far(server: EmbeddedServer) -> tuple[int, int]:
    """Transactions and sessions of the server since its start, those of this very look aside."""
    query = "SELECT sum(xact_commit + xact_rollback), sum(sessions) FROM pg_stat_database"
    # Sessions tell what they did when they are idle for a second, or end.
    time.sleep(1.5)
    with _connect(server, "postgres") as connection:
        row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate has a row"
    return int(str(row[0])), int(str(row[1]))


def log_statements(server: EmbeddedServer) -> None:
    """Make the server log every statement from now on."""
    with _connect(server, "postgres") as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)


def local_store(folder: Path) -> LocalStore:
    """A state directory in the folder, as `dbtether apply` has one."""
    return LocalStore.open(folder / "state", "bench")
