"""The conformance suite of stores, on the API server of the tests and on a real one."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from tests.kube.kube import Kube
from tests.runtime.kube.api_server import ApiServer, running
from tests.runtime.kube.world import kube_world
from tests.runtime.store_conformance import SECRET, Body, StoreConformance

from dbtether.runtime.kube import Connection, StoreSettings, read_kubeconfig
from dbtether.runtime.kube.requests import ApiResource

API_VERSION = "conformance.test/v1"
RESOURCES: Mapping[str, ApiResource] = {
    "DBCluster": ApiResource(API_VERSION, "DBCluster", "dbclusters", False),
    "Database": ApiResource(API_VERSION, "Database", "databases", True),
}
SETTINGS = StoreSettings(namespace="default", resources=RESOURCES)


def definition(resource: ApiResource) -> dict[str, object]:
    """A CRD that takes any spec and status: what the store must do has nothing to do with our kinds."""
    group, version = resource.api_version.split("/")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"kind": resource.kind, "plural": resource.plural, "singular": resource.kind.lower()}
    return {
        "metadata": {"name": f"{resource.plural}.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}
                    },
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def conforming(kube: Kube) -> Iterator[Kube]:
    """A real API server that knows the kinds and the namespaces of the suite; it forgets them afterwards.

    Else `kubectl get databases` of another test would mean these.
    """
    names = []
    for resource in RESOURCES.values():
        answer = kube.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(resource))
        assert answer.status in (201, 409), answer
        name = f"{resource.plural}.{resource.api_version.split('/')[0]}"
        kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{name}")
        names.append(name)
    for namespace in ("a", "b"):
        kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    # The suite's Secrets name an owner that is not there.
    with kube.plane.without_garbage_collector():
        yield kube
    kube.kubectl("delete", "crd", *names)


class TestOnTheTestsOwnApiServer(StoreConformance):
    def run(self, body: Body) -> None:
        async def main() -> None:
            server = ApiServer()
            server.put("namespaces", "", "kube-system")
            async with running(server), kube_world(server.connection, SETTINGS) as world:
                await body(world)

        asyncio.run(asyncio.wait_for(main(), 20))


class TestOnARealApiServer(StoreConformance):
    connection: Connection

    @pytest.fixture(autouse=True)
    def _empty(self, conforming: Kube) -> None:
        self.connection = read_kubeconfig([conforming.kubeconfig])
        for namespace in ("default", "a", "b"):
            for resource in RESOURCES.values():
                conforming.request("DELETE", resource.path(namespace))
        conforming.request("DELETE", f"/api/v1/namespaces/{SECRET.namespace}/secrets/{SECRET.name}")

    def run(self, body: Body) -> None:
        async def main() -> None:
            async with kube_world(self.connection, SETTINGS) as world:
                await body(world)

        asyncio.run(asyncio.wait_for(main(), 60))
