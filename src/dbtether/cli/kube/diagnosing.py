"""What a diagnostic bundle of a cluster is made from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbtether.api.resource import Key, Secret
from dbtether.cli.diagnose import Material
from dbtether.cli.exits import Quit
from dbtether.cli.kube.reading import connected
from dbtether.cli.kube.snapshot import take_snapshot
from dbtether.cli.places import Cluster
from dbtether.runtime.events import Event


@asynccontextmanager
async def cluster_material(cluster: Cluster) -> AsyncIterator[Material]:
    """The cluster as it is now; what RBAC keeps back beside the resources is a gap of the bundle."""
    async with connected(cluster) as reader:
        snapshot = await take_snapshot(reader, cluster)
        gaps: list[str] = []
        events: tuple[Event, ...] = ()
        names: tuple[Key, ...] = ()
        try:
            events = await reader.all_events()
        except Quit as refusal:
            gaps += refusal.messages
        try:
            names = await reader.secret_names()
        except Quit as refusal:
            gaps += refusal.messages

        async def read() -> tuple[Secret, ...]:
            return snapshot.secrets_read()

        place = {"cluster": reader.title, "kubernetes": await reader.version()}
        yield Material(
            snapshot, place, events, names, read, snapshot.namespace_labels, snapshot.secret_namespaces, tuple(gaps)
        )
