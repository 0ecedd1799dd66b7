"""What the controllers share: the world they see, and the frame of every reconcile."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from dbtether.api.dbcluster import DBClusterPhase, DBClusterSpec
from dbtether.api.kinds import FINALIZER, FORCE_DELETE, OLDER_FINALIZERS, PAUSED
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import validate_resource
from dbtether.controllers.directory import Directory
from dbtether.controllers.executor import Executor
from dbtether.controllers.report import Level, Report, write_report
from dbtether.controllers.servers import Servers
from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.server.access import Server
from dbtether.runtime.reconcile import Done, Outcome
from dbtether.runtime.store import EventType, Store


class Waiting(DbtetherError):
    """Something else must be there first; a change of it wakes the resource."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


async def name_label(namespace: str) -> Mapping[str, str]:
    """The label that every namespace has; a store without namespaces knows no other."""
    return {"kubernetes.io/metadata.name": namespace}


@dataclass(frozen=True)
class World:
    """Everything outside that a controller works with."""

    store: Store
    servers: Servers
    directory: Directory
    executor: Executor
    now: Callable[[], datetime]
    namespace_labels: Callable[[str], Awaitable[Mapping[str, str]]] = name_label
    verified_logins: dict[Key, str] = field(default_factory=dict)
    """Password fingerprints that were proven by a login in this process, by user."""

    async def write(self, resource: Resource, report: Report) -> Resource:
        """Report on a resource."""
        return await write_report(self.store, resource, report, self.now())


class Controller(ABC):
    """The frame: finalizer, pause, deletion, and the outcome's way into the status."""

    kind: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world

    def group(self, key: Key) -> str:
        """The DBCluster that the key's work goes to."""
        return self.world.directory.cluster_of(key)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the resource to its desired state. Raises Retryable or Blocked."""
        resource = await self.world.store.get(key)
        if resource is None:
            return Done()
        if resource.annotations.get(PAUSED) == "true":
            return Done()
        try:
            if resource.deleted is not None:
                return await self._delete_and_finish(resource)
            resource = await self._with_finalizer(resource)
            return await self.ensure(resource)
        except Waiting as waiting:
            await self._report(key, Report("Waiting", Level.PROGRESSING, waiting.reason, waiting.message))
            return Done()
        except Blocked as blocked:
            await self._report(key, Report("Failed", Level.STALLED, blocked.reason, blocked.message))
            raise
        except Retryable as error:
            await self._report(key, Report("Failed", Level.PROGRESSING, error.reason, error.message))
            raise

    @abstractmethod
    async def ensure(self, resource: Resource) -> Outcome:
        """Make the server as the resource wants it. Raises Waiting, Retryable or Blocked."""

    @abstractmethod
    async def delete(self, resource: Resource) -> None:
        """Make the server as it shall be without the resource. Raises Waiting, Retryable or Blocked."""

    def phase(self, resource: Resource, wanted: str) -> str:
        """The kind's own word for a phase that every reconcile knows: Waiting, Failed or Deleting."""
        if resource.deleted is not None and wanted != "Failed":
            return "Deleting"
        return wanted

    async def _report(self, key: Key, report: Report) -> None:
        """Report on the newest version: the reconcile may have written the resource itself."""
        resource = await self.world.store.get(key)
        if resource is None:
            return
        await self.world.write(resource, replace(report, phase=self.phase(resource, report.phase)))

    async def _with_finalizer(self, resource: Resource) -> Resource:
        wanted = tuple(name for name in resource.finalizers if name not in OLDER_FINALIZERS)
        if FINALIZER not in wanted:
            wanted = (*wanted, FINALIZER)
        if wanted == resource.finalizers:
            return resource
        written = await self.world.store.write_finalizers(resource, wanted)
        assert written is not None, "a resource that is not being deleted stays"
        return written

    async def _delete_and_finish(self, resource: Resource) -> Outcome:
        if FINALIZER in resource.finalizers or set(OLDER_FINALIZERS) & set(resource.finalizers):
            if resource.annotations.get(FORCE_DELETE) == "true":
                await self.world.store.record_event(
                    resource,
                    EventType.WARNING,
                    "ForceDeleted",
                    f"{resource.key} was given up: what it made on the server was left there",
                )
            else:
                await self.delete(resource)
        latest = await self.world.store.get(resource.key)
        if latest is not None:
            remaining = tuple(n for n in latest.finalizers if n != FINALIZER and n not in OLDER_FINALIZERS)
            await self.world.store.write_finalizers(latest, remaining)
        return Done()


async def connected_server(world: World, name: str, namespace: str) -> tuple[DBClusterSpec, Server]:
    """The server of the DBCluster `name`, for a resource of `namespace`.

    Raises Waiting until the DBCluster is there, admits the namespace and is Connected.
    """
    cluster = await world.store.get(Key("DBCluster", "", name))
    labels = await world.namespace_labels(namespace)
    spec = None if cluster is None else validate_resource(DBClusterSpec, cluster)
    if cluster is None or spec is None or not spec.allows(namespace, labels):
        # One sentence for both: a refusal does not tell whether the target exists.
        raise Waiting(
            "ClusterNotFound", f'DBCluster "{name}" does not exist or does not admit the namespace "{namespace}"'
        )
    if cluster.status.get("phase") != DBClusterPhase.CONNECTED:
        why = cluster.status.get("message")
        raise Waiting("ClusterNotConnected", f'DBCluster "{name}" is not connected' + (f": {why}" if why else ""))
    try:
        return spec, await world.servers.of(cluster, spec)
    except Blocked as error:
        raise Retryable("ClusterNotConnected", f'DBCluster "{name}": {error.message}') from None
