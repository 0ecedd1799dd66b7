"""A world on a Kubernetes API server, fake or real: the store, and what people do beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dbtether.api.resource import Key, Resource
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.connection import Connection
from dbtether.runtime.kube.errors import NotFound
from dbtether.runtime.kube.objects import Object, version_number
from dbtether.runtime.kube.requests import ApiResource, apply, delete
from dbtether.runtime.kube.store import KubernetesStore, StoreSettings, always, open_store


async def eventually(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class KubeWorld:
    """A store, and a client for people's writes; those come back once the store has seen them."""

    store: KubernetesStore
    client: Client
    resources: Mapping[str, ApiResource]

    async def apply(self, key: Key, spec: Mapping[str, Any]) -> Resource:
        body = {"metadata": {"name": key.name}, "spec": spec}
        request = apply(self.resources[key.kind], key.namespace, key.name, body, manager="people")
        written = await self.client.send(request, Object)
        wanted = version_number(written.metadata.resource_version)
        async with asyncio.timeout(10):
            while True:
                found = await self.store.get(key)
                if found is not None and version_number(found.resource_version) >= wanted:
                    return found
                await asyncio.sleep(0.002)

    async def delete(self, key: Key) -> Resource | None:
        await self.client.send_raw(delete(self.resources[key.kind], key.namespace, key.name))
        async with asyncio.timeout(10):
            while True:
                found = await self.store.get(key)
                if found is None or found.deleted:
                    return found
                await asyncio.sleep(0.002)

    async def clear(self, key: Key) -> None:
        """Remove an object, whether it is there or not."""
        try:
            await self.client.send_raw(delete(self.resources[key.kind], key.namespace, key.name))
        except NotFound:
            return


@asynccontextmanager
async def kube_world(
    connection: Connection, settings: StoreSettings, *, may_write: Callable[[], bool] = always
) -> AsyncIterator[KubeWorld]:
    """The world of a test."""
    async with Client(connection) as client, open_store(client, settings, may_write=may_write) as store:
        yield KubeWorld(store, client, settings.resources)
