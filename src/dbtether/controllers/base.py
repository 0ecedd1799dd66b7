"""What the controllers share: the world they see, and the frame of every reconcile."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar

from dbtether.api.databaseuser import DatabaseUserSpec
from dbtether.api.dbcluster import DBClusterPhase, DBClusterSpec
from dbtether.api.kinds import FINALIZER, FORCE_DELETE, OLDER_FINALIZERS, PAUSED
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.directory import Directory
from dbtether.controllers.executor import Executor
from dbtether.controllers.glance import LookCloser
from dbtether.controllers.passes import PassEnd, Passes
from dbtether.controllers.report import Level, Report, report_paused, write_report
from dbtether.controllers.rotation import OVERDUE_SPREAD
from dbtether.controllers.servers import Servers
from dbtether.controllers.storages import Storages
from dbtether.controllers.verified import VerifiedLogins
from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.glance import glance_seconds, glancing
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement
from dbtether.runtime.outcomes import RotationOutcome
from dbtether.runtime.reconcile import Again, Done, Outcome, resync_seconds
from dbtether.runtime.store import EventType, Store

logger = logging.getLogger(__name__)

# A resync finds what happened until a little before it; what happened since, the next one does.
_GLANCE_SHARE = 0.05
_GLANCE_SECONDS = 30.0
_AWAY = frozenset({"ClusterNotFound", "ClusterNotConnected", "ConnectionFailed", "TooManyConnections"})


class Waiting(DbtetherError):
    """Something else must be there first; a change of it wakes the resource.

    `again_seconds` is for what must be looked after meanwhile.
    """

    def __init__(self, reason: str, message: str, *, again_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.again_seconds = again_seconds


async def name_label(namespace: str) -> Mapping[str, str]:
    """The label that every namespace has; a store without namespaces knows no other."""
    return {"kubernetes.io/metadata.name": namespace}


def _nobody(_: Key) -> None:
    """Without a control loop there is nobody to wake."""


def ignore_rotation(_: RotationOutcome) -> None:
    """For those who do not count."""


@dataclass(frozen=True)
class World:
    """Everything outside that a controller works with."""

    store: Store
    servers: Servers
    storages: Storages
    directory: Directory
    executor: Executor
    now: Callable[[], datetime]
    namespace_labels: Callable[[str], Awaitable[Mapping[str, str]]] = name_label
    verified_logins: VerifiedLogins = field(default_factory=VerifiedLogins)
    """Password fingerprints that were proven in this process, with the server's verifier where it shows it."""
    unproven_logins: set[Key] = field(default_factory=set)
    """DatabaseUsers that must log in again to be Ready: the database that they were proven on is another one now."""
    passes: Passes = field(default_factory=Passes)
    checked_users: dict[Key, tuple[str, int, DatabaseUserSpec | None]] = field(default_factory=dict)
    """The specs of users with additional grants by uid and generation; None for one that is not valid."""
    leaving: set[tuple[str, str]] = field(default_factory=set)
    """Roles for additional grants and logins that plans of this run would have taken out of them; empty when
    plans are run."""
    handed_over: set[tuple[str, str, str]] = field(default_factory=set)
    """DBCluster, database and role, where plans of this run would have taken the database from the role as its
    owner; empty when plans are run."""
    wake: Callable[[Key], None] = _nobody
    """Looks at a resource again: for what one reconcile has done that no change of a resource tells."""
    on_rotation: Callable[[RotationOutcome], None] = ignore_rotation
    overdue_spread: timedelta = OVERDUE_SPREAD
    """Within which time those rotations go that are overdue when somebody first looks."""

    async def write(self, resource: Resource, report: Report) -> Resource:
        """Report on a resource as it was reconciled, and give it back with its new status.

        What somebody else changed meanwhile is not claimed to be done: the next reconcile looks at that.
        """
        latest = await self.store.get(resource.key)
        if latest is None or latest.uid != resource.uid:
            return resource
        written = await write_report(self.store, latest, report, resource.generation, self.now())
        return replace(resource, status=written.status)

    async def record(self, resource: Resource, fields: Mapping[str, object]) -> Resource:
        """Set status fields (None removes one) and leave the rest of the status as it is."""
        latest = await self.store.get(resource.key)
        if latest is None or latest.uid != resource.uid:
            return resource
        status = {name: value for name, value in {**latest.status, **fields}.items() if value is not None}
        if status == latest.status:
            return replace(resource, status=latest.status)
        written = await self.store.write_status(latest, status)
        return replace(resource, status=written.status)

    async def run(
        self,
        resource: Resource,
        cluster: str,
        server: Server,
        statements: Sequence[Statement],
        plan_again: Callable[[], Awaitable[Sequence[Statement]]],
        creates: Sequence[str] = (),
    ) -> None:
        """Have the plan executed. Raises Retryable or Blocked.

        What the server refused is tried again when it looks different by now: somebody else was at it.
        """
        try:
            await self.executor.run(resource.key, cluster, server, statements, creates)
        except Blocked as error:
            if [item.text for item in await plan_again()] == [item.text for item in statements]:
                raise
            raise Retryable("Retrying", f"{error.message}; trying again, since the server has changed") from None


class Controller(ABC):
    """The frame: finalizer, pause, deletion, and the outcome's way into the status."""

    kind: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world

    def group(self, key: Key) -> str:
        """The DBCluster that the key's work goes to."""
        return self.world.directory.cluster_of(key)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the resource to its desired state. Raises Retryable or Blocked.

        A resync takes a glance first, which is enough where nothing has to be done.
        """
        if (interval := resync_seconds.get()) is not None:
            try:
                with glancing(min(interval * _GLANCE_SHARE, _GLANCE_SECONDS)):
                    return await self._reconcile(key)
            except LookCloser:
                logger.debug("%s: a resync has found something to do", key)
        return await self._reconcile(key)

    async def _reconcile(self, key: Key) -> Outcome:
        begun = self.world.passes.begin()
        resource = await self.world.store.get(key)
        if resource is None:
            self.world.passes.forget(key)
            return Done()
        try:
            if resource.annotations.get(PAUSED) == "true":
                outcome = await self._pause(resource)
                self._passed(key, begun, PassEnd.WAITING)
                return outcome
            if resource.deleted is not None:
                return await self._delete_and_finish(resource)
            resource = await self._with_finalizer(resource)
            outcome = await self.ensure(resource)
            if outcome != Again(0):
                self._passed(key, begun, PassEnd.WELL)
            return outcome
        except Waiting as waiting:
            message = _on_deletion(resource, waiting.reason, waiting.message)
            await self._report(resource, Report("Waiting", Level.PROGRESSING, waiting.reason, message))
            self._passed(key, begun, PassEnd.WAITING)
            return Done() if waiting.again_seconds is None else Again(waiting.again_seconds)
        except Blocked as blocked:
            await self._report(resource, Report("Failed", Level.STALLED, blocked.reason, blocked.message))
            self._passed(key, begun, PassEnd.BLOCKED)
            raise
        except Retryable as error:
            message = _on_deletion(resource, error.reason, error.message)
            await self._report(resource, Report("Failed", Level.PROGRESSING, error.reason, message))
            raise

    def _passed(self, key: Key, begun: int, how: PassEnd) -> None:
        """Tell who waits for a look at the resource; one at what may be old does not count."""
        if glance_seconds() is None:
            for waiter in self.world.passes.end(key, begun, how):
                self.world.wake(waiter)

    async def _pause(self, resource: Resource) -> Outcome:
        """Change nothing, and say so; but a pause is no way to keep what somebody took back."""
        if resource.deleted is None:
            await self.give_back(resource)
        latest = await self.world.store.get(resource.key)
        if latest is not None and latest.uid == resource.uid:
            await report_paused(self.world.store, latest, self.world.now())
        return Done()

    async def give_back(self, resource: Resource) -> None:
        """Take from a paused resource what it may have no longer; nothing for most kinds."""
        del resource

    @abstractmethod
    async def ensure(self, resource: Resource) -> Outcome:
        """Make the server as the resource wants it. Raises Waiting, Retryable or Blocked."""

    @abstractmethod
    async def delete(self, resource: Resource) -> None:
        """Make the server as it shall be without the resource. Raises Waiting, Retryable or Blocked."""

    @abstractmethod
    def made_nothing(self, resource: Resource) -> bool:
        """Whether nothing outside the resource can be there for its sake: its deletion has nothing to undo."""

    @abstractmethod
    async def give_up(self, resource: Resource) -> str:
        """Let go of a resource whose server is not to be waited for, and say what may be left there."""

    def phase(self, resource: Resource, wanted: str) -> str:
        """The kind's own word for a phase that every reconcile knows: Waiting, Failed or Deleting."""
        if resource.deleted is not None and wanted != "Failed":
            return "Deleting"
        return wanted

    async def _report(self, resource: Resource, report: Report) -> None:
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
        is_ours = FINALIZER in resource.finalizers or bool(set(OLDER_FINALIZERS) & set(resource.finalizers))
        if is_ours and not self.made_nothing(resource):
            if resource.annotations.get(FORCE_DELETE) == "true":
                left = await self.give_up(resource)
                logger.warning("%s was deleted by force, and left behind: %s", resource.key, left)
                await self.world.store.record_event(
                    resource, EventType.WARNING, "ForceDeleted", f"{resource.key} was given up; left behind: {left}"
                )
            else:
                await self.delete(resource)
        latest = await self.world.store.get(resource.key)
        if latest is not None:
            remaining = tuple(n for n in latest.finalizers if n != FINALIZER and n not in OLDER_FINALIZERS)
            await self.world.store.write_finalizers(latest, remaining)
        return Done()


def _on_deletion(resource: Resource, reason: str, message: str) -> str:
    """The message, and the way out when a deletion waits for a server that may never come back."""
    if resource.deleted is None or reason not in _AWAY:
        return message
    return f"{message}; if it is gone for good, annotate with {FORCE_DELETE}=true and what is on it is given up"


async def connected_server(
    world: World, name: str, namespace: str, *, was_admitted: bool = False
) -> tuple[DBClusterSpec, Server]:
    """The server of the DBCluster `name`, for a resource of `namespace`.

    One that `was_admitted` may always undo what it made. Raises Waiting until the DBCluster is there, admits
    the namespace and is Connected, Retryable while it is not known to be the server that it was.
    """
    cluster = await world.store.get(Key("DBCluster", "", name))
    labels = await world.namespace_labels(namespace)
    spec = None if cluster is None else check(DBClusterSpec, cluster.key, cluster.spec)[0]
    if cluster is None or spec is None or not (was_admitted or spec.allows(namespace, labels)):
        # One sentence for all: a refusal does not tell whether the target exists.
        raise Waiting(
            "ClusterNotFound",
            f'DBCluster "{name}" does not exist, is not valid, or does not admit the namespace "{namespace}"',
        )
    if cluster.status.get("phase") != DBClusterPhase.CONNECTED:
        why = cluster.status.get("message")
        raise Waiting("ClusterNotConnected", f'DBCluster "{name}" is not connected' + (f": {why}" if why else ""))
    try:
        server = await world.servers.of(cluster, spec)
    except Blocked as error:
        raise Retryable("ClusterNotConnected", f'DBCluster "{name}": {error.message}') from None
    if not _is_the_known_server(cluster, server):
        raise Retryable(
            "ClusterNotConnected", f'DBCluster "{name}" may lead to another server than before; it is being checked'
        )
    return spec, server


def _is_the_known_server(cluster: Resource, server: Server) -> bool:
    """The DBCluster's own reconcile decides about a new endpoint; until then nothing is changed on it."""
    known, found = cluster.status.get("serverIdentity"), server.facts.system_identifier
    if known and found:
        return bool(known == found)
    return cluster.status.get("observedGeneration") == cluster.generation
