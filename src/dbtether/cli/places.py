"""Where resources are read from: a state directory, or with `--kube` a Kubernetes cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dbtether.api.resource import Key, Resource
from dbtether.cli.exits import Exit, Quit
from dbtether.runtime.events import Event
from dbtether.runtime.local import LocalStore
from dbtether.runtime.records import RecordStore


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which Kubernetes cluster, and whose operator in it."""

    context: str | None = None
    kubeconfig: str | None = None
    operator_namespace: str = "postgres-operator-system"
    installation: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What a command that reads was told."""

    state: str
    cluster: Cluster | None = None


class Reader(Protocol):
    """What `get`, `describe` and `status` ask for."""

    @property
    def title(self) -> str:
        """The place in words."""
        ...

    async def get(self, key: Key) -> Resource | None: ...

    async def list(self, kind: str, namespace: str | None = None) -> tuple[Resource, ...]:
        """All resources of a kind, of one namespace if it is given, sorted by key."""
        ...

    async def events(self, resource: Resource) -> tuple[Event, ...]:
        """What happened to the resource, oldest first."""
        ...


class LocalReader:
    """Reads a store that keeps records."""

    def __init__(self, store: RecordStore, state: str) -> None:
        self._store = store
        self.title = f"Installation {store.installation}, state in {state}"

    async def get(self, key: Key) -> Resource | None:
        """The resource as stored."""
        return await self._store.get(key)

    async def list(self, kind: str, namespace: str | None = None) -> tuple[Resource, ...]:
        """The resources of a kind."""
        found = await self._store.list(kind)
        return tuple(resource for resource in found if namespace is None or resource.key.namespace == namespace)

    async def events(self, resource: Resource) -> tuple[Event, ...]:
        """What happened to the resource."""
        return self._store.events(resource.key)


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Reader]:
    """The place, to be read. Raises StateError, or Quit when the libraries for a cluster are not installed."""
    if place.cluster is None:
        with LocalStore.open(Path(place.state), read_only=True) as store:
            yield LocalReader(store, place.state)
        return
    require_kube_libraries()
    from dbtether.cli.kube.reading import connected

    async with connected(place.cluster) as reader:
        yield reader


def require_kube_libraries() -> None:
    """Raises Quit when what talks to Kubernetes is not installed."""
    try:
        import aiohttp  # noqa: F401
        import msgspec  # noqa: F401
    except ModuleNotFoundError as error:
        message = f"--kube: the libraries for Kubernetes are not installed ({error.name}): "
        raise Quit(Exit.FAILED, f"{message}pip install 'dbtether[operator]'") from None


async def found(reader: Reader, key: Key) -> Resource:
    """The resource. Raises Quit when there is none."""
    resource = await reader.get(key)
    if resource is None:
        raise Quit(Exit.FAILED, f"{key} does not exist")
    return resource
