"""The operator on a real API server: from `kubectl apply` of cluster, database and user until all are Ready."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.kube.kube import Kube
from tests.kube.programs import NEWEST
from tests.kube.session import Kubes

from dbtether.api.kinds import API_VERSION
from dbtether.embedded import EmbeddedServer
from dbtether.operator.process import run_operator
from dbtether.operator.settings import OperatorSettings
from dbtether.runtime.kube import read_kubeconfig

_CRDS = Path(__file__).parents[1] / "config" / "crd" / "bases"
_OURS = f"/apis/{API_VERSION}"
_LIMIT_SECONDS = 0.5


def report(runs: int) -> None:
    """Print the times of several runs, on one API server, against the limit."""
    with Kubes.opened() as kubes:
        kube = kubes.shared(NEWEST)
        kube.kubectl("apply", "-f", str(_CRDS))
        kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(_CRDS))
        times = asyncio.run(_measure(kube, runs))
    print(
        f"operator: cluster + database + user Ready {median(times):.2f} s after they were created "
        f"(median of {runs}; {median(times) / _LIMIT_SECONDS:.2f} of the limit of {_LIMIT_SECONDS} s)"
    )


async def _measure(kube: Kube, runs: int) -> list[float]:
    own = kube.create_namespace()
    settings = OperatorSettings(namespace=own, identity="bench")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        async with EmbeddedServer.start(Path(folder) / "pg") as server:
            operator = asyncio.create_task(run_operator(settings, read_kubeconfig([kube.kubeconfig])))
            try:
                await asyncio.sleep(2)
                return [await _once(kube, own, server, number) for number in range(runs)]
            finally:
                operator.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await operator


async def _once(kube: Kube, own: str, server: EmbeddedServer, number: int) -> float:
    """Seconds from the first of four requests that create the resources until the last is Ready."""
    started = time.perf_counter()
    for path, body in _resources(own, f"bench{number}", server):
        await asyncio.to_thread(kube.request, "POST", path, body)
    path = f"{_OURS}/namespaces/{own}/databaseusers/bench{number}-user"
    while True:
        answer = await asyncio.to_thread(kube.request, "GET", path)
        if answer.body.get("status", {}).get("phase") == "Ready":
            return time.perf_counter() - started
        await asyncio.sleep(0.005)


def _resources(own: str, name: str, server: EmbeddedServer) -> Iterator[tuple[str, dict[str, Any]]]:
    data = {"username": server.user, "password": server.password}
    metadata = {"name": name, "namespace": own}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    yield f"/api/v1/namespaces/{own}/secrets", secret
    cluster = {
        "endpoint": server.host,
        "port": server.port,
        "tls": {"mode": "disable"},
        "credentialsSecretRef": metadata,
    }
    yield f"{_OURS}/dbclusters", _ours("DBCluster", {"name": name}, cluster)
    database = {"clusterRef": {"name": name}}
    yield f"{_OURS}/namespaces/{own}/databases", _ours("Database", metadata, database)
    user = {"databaseRef": {"name": name}, "privileges": "readonly"}
    yield (
        f"{_OURS}/namespaces/{own}/databaseusers",
        _ours("DatabaseUser", {"name": f"{name}-user", "namespace": own}, user),
    )


def _ours(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
