"""The operator with many resources: applied at once beside the same SQL by plain psycopg, and looked at again."""

import asyncio
import contextlib
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kube.kube import Kube
from tests.kube.process import free_port
from tests.kube.programs import NEWEST
from tests.kube.session import Kubes

from bench.workload import (
    PRIVILEGES,
    fill,
    local_store,
    log_statements,
    record_plan,
    replay,
    used_so_far,
    writes_in_log,
)
from dbtether.api.kinds import API_VERSION
from dbtether.embedded import EmbeddedServer
from dbtether.operator.process import run_operator
from dbtether.operator.settings import OperatorSettings
from dbtether.runtime.controller import LoopSettings
from dbtether.runtime.kube import read_kubeconfig
from dbtether.runtime.serving import Address

_CRDS = Path(__file__).parents[1] / "config" / "crd" / "bases"
_OURS = f"/apis/{API_VERSION}"
_CONNECTIONS = 10
_PAUSE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Process:
    """The operator's own numbers."""

    samples: Mapping[str, float]

    def sum_of(self, start: str, *without: str) -> float:
        """The sum of the samples whose names begin so, and hold none of the others."""
        return sum(
            value
            for name, value in self.samples.items()
            if name.startswith(start) and not any(part in name for part in without)
        )

    @property
    def done(self) -> float:
        """Reconciles of users that ended well."""
        return self.samples.get('dbtether_reconciles_total{kind="DatabaseUser",outcome="done"}', 0)

    @property
    def api_writes(self) -> float:
        """Requests that were no reads."""
        return self.sum_of("dbtether_api_requests_total", 'verb="GET"', 'verb="WATCH"')

    @property
    def reads(self) -> float:
        """Requests that were reads, watches aside."""
        return self.sum_of('dbtether_api_requests_total{code="200",verb="GET"')

    @property
    def connections(self) -> float:
        """Open connections to servers."""
        return self.sum_of("dbtether_postgres_connections")


def report(databases: int, users: int) -> None:
    """Print how long a first apply takes beside plain psycopg, and what a look at everything costs afterwards."""
    with Kubes.opened() as kubes:
        kube = kubes.shared(NEWEST)
        kube.kubectl("apply", "-f", str(_CRDS))
        kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(_CRDS))
        asyncio.run(_report(kube, databases, users))


async def _report(kube: Kube, databases: int, users: int) -> None:
    own, port, total = kube.create_namespace(), free_port(), databases * users
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        for folder in (a, b):
            Path(folder).chmod(0o755)
        async with EmbeddedServer.start(Path(a) / "pg") as server, EmbeddedServer.start(Path(b) / "pg") as rival:
            with local_store(Path(b)) as store:
                await fill(store, rival, databases, users, _CONNECTIONS)
                plans = await record_plan(store)
            async with _operator(kube, own, port):
                created, seconds = await _apply(kube, own, server, databases, users, port)
                plain = await asyncio.to_thread(replay, rival, plans, _CONNECTIONS)
                statements = sum(len(plan.statements) for plan in plans)
                print(
                    f"operator, {databases} databases x {users} users, {_CONNECTIONS} connections: all Ready "
                    f"{seconds:.1f} s after the first of {created} objects was created; plain psycopg {plain:.1f} s "
                    f"({statements} statements), ratio {seconds / plain:.2f}"
                )
                await asyncio.to_thread(log_statements, server)
                await _look_again(server, Path(a) / "pg" / "server.log", port, total)


@asynccontextmanager
async def _operator(kube: Kube, own: str, port: int) -> AsyncIterator[None]:
    loop = LoopSettings(resync_seconds=_PAUSE_SECONDS, resync_jitter=0.0)
    settings = OperatorSettings(namespace=own, identity="bench", metrics=Address("127.0.0.1", port), loop=loop)
    working = asyncio.create_task(run_operator(settings, read_kubeconfig([kube.kubeconfig])))
    try:
        while not working.done() and not (await _process(port)).samples.get("dbtether_leader"):
            await asyncio.sleep(0.1)
        yield
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _apply(
    kube: Kube, own: str, server: EmbeddedServer, databases: int, users: int, port: int
) -> tuple[int, float]:
    """How many objects were created, and seconds until all of them were Ready."""
    objects = list(_objects(own, server, databases, users))
    started = time.perf_counter()
    with ThreadPoolExecutor(8) as threads:
        sending = [asyncio.wrap_future(threads.submit(kube.request, "POST", path, body)) for path, body in objects]
        for answer in await asyncio.gather(*sending):
            if answer.status != 201:
                raise RuntimeError(f"not created: {answer}")
    while True:
        ready = (await _process(port)).samples.get('dbtether_resources{kind="DatabaseUser",phase="Ready"}', 0)
        if ready == databases * users:
            return len(objects), time.perf_counter() - started
        await asyncio.sleep(0.05)


async def _look_again(server: EmbeddedServer, log: Path, port: int, total: int) -> None:
    """Print what the next look at everything costs. Raises RuntimeError when it writes anything."""
    await _until_quiet(port)
    before, position = await _process(port), len(log.read_text(errors="replace"))
    used_before = await asyncio.to_thread(used_so_far, server)
    before = await _process(port)
    while (await _process(port)).done == before.done:
        await asyncio.sleep(0.02)
    started, cpu, most = time.perf_counter(), time.process_time(), 0.0
    while (now := await _process(port)).done < before.done + total:
        most = max(most, now.connections)
        await asyncio.sleep(0.05)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    used = await asyncio.to_thread(used_so_far, server)
    written = [text for text in writes_in_log(log, position) if not text.startswith(("BEGIN", "COMMIT"))]
    if written or now.api_writes != before.api_writes:
        raise RuntimeError(f"written: {written[:3]}, {now.api_writes - before.api_writes:.0f} requests that write")
    print(
        f"  a resync of {total} settled users: {seconds:.2f} s, CPU of operator and measurement {cpu:.2f} s, "
        f"{used[0] - used_before[0] - 1} transactions, at most {most:.0f} connections, {now.reads - before.reads:.0f} "
        f"reads from the API server, no statement and no request that writes; memory {_memory_mib():.0f} MiB"
    )


async def _until_quiet(port: int) -> None:
    """Wait until a look at everything has just ended."""
    known = -1.0
    while known != (found := (await _process(port)).done):
        known = found
        await asyncio.sleep(3)


async def _process(port: int) -> Process:
    text = await asyncio.to_thread(_read, port)
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("dbtether_"))
    return Process({name: float(value) for name, value in pairs})


def _read(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _memory_mib() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _objects(own: str, server: EmbeddedServer, databases: int, users: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths and bodies; the names are those of the manifests of `fill`."""
    login = {"name": "admin", "namespace": own}
    data = {"username": server.user, "password": server.password}
    yield f"/api/v1/namespaces/{own}/secrets", {"metadata": login, "stringData": data}
    where = {"endpoint": server.host, "port": server.port, "tls": {"mode": "disable"}}
    cluster = {**where, "maxConnections": _CONNECTIONS, "credentialsSecretRef": login}
    yield f"{_OURS}/dbclusters", _ours("DBCluster", "bench", cluster)
    for number in range(databases):
        name = f"bench-{number:04d}"
        path = f"{_OURS}/namespaces/{own}"
        spec = {"clusterRef": {"name": "bench"}, "deletionPolicy": "Delete"}
        yield f"{path}/databases", _ours("Database", name, spec)
        for index in range(users):
            access = {"databaseRef": {"name": name}, "privileges": PRIVILEGES[index % len(PRIVILEGES)]}
            yield f"{path}/databaseusers", _ours("DatabaseUser", f"{name}-u{index}", access)


def _ours(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
