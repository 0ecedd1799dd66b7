"""The Store on a Kubernetes API server.

Resources come from views that informers keep up to date, Secrets straight from the server. A write is
refused by the server when the resource has another version than the caller saw, so a decision that is
stale, or of a replica that no longer leads, never overwrites a newer one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from dbtether.api.kinds import API_VERSION, KINDS
from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.errors import Retryable, StateError
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    NotLeader,
    ServerFailure,
    Unreachable,
)
from dbtether.runtime.kube.event_recorder import EventRecorder
from dbtether.runtime.kube.informer import Informer, InformerSettings
from dbtether.runtime.kube.installation import find_fingerprint_key, find_installation
from dbtether.runtime.kube.objects import NEVER, Object, to_resource, version_number
from dbtether.runtime.kube.requests import (
    NAMESPACES,
    ApiResource,
    Collection,
    Request,
    create,
    delete,
    get,
    merge_patch,
    replace,
)
from dbtether.runtime.kube.secret_watches import SecretWatches, trimmed
from dbtether.runtime.kube.secrets import SecretApi, key_of, owner_reference
from dbtether.runtime.kube.supervisor import Supervisor
from dbtether.runtime.kube.view import View
from dbtether.runtime.plain import plain_mapping
from dbtether.runtime.store import Change, EventType

logger = logging.getLogger(__name__)

T = TypeVar("T")


def our_resources() -> dict[str, ApiResource]:
    """The seven kinds as the API server knows them."""
    return {kind.kind: ApiResource(API_VERSION, kind.kind, kind.plural, kind.namespaced) for kind in KINDS.values()}


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a store on Kubernetes must be told."""

    namespace: str
    """The operator's own, where the key of password fingerprints lives."""
    installation: str | None = None
    watch_namespaces: tuple[str, ...] = ()
    """Empty for all."""
    resources: Mapping[str, ApiResource] = field(default_factory=our_resources)
    instance: str = "dbtether"
    """Who reports Events: the Pod's name."""
    makes_key: bool = True
    """The key of password fingerprints is made when there is none; else one that nobody keeps takes its place."""
    sync_seconds: float = 60.0
    informer: InformerSettings = field(default_factory=InformerSettings)


def always() -> bool:
    """For a process that has no rival."""
    return True


@asynccontextmanager
async def open_store(
    client: Client, settings: StoreSettings, *, may_write: Callable[[], bool] = always
) -> AsyncIterator["KubernetesStore"]:
    """A store whose views are complete; its watches end with the context.

    Raises StateError when the server cannot be read. If a watch ends by a bug, the body is cancelled and
    TaskEnded is raised.
    """
    installation = await find_installation(client, settings.installation)
    key = await find_fingerprint_key(client, settings.namespace, may_create=settings.makes_key)
    async with Supervisor() as supervisor:
        store = KubernetesStore(client, settings, supervisor, may_write, installation=installation, fingerprint_key=key)
        await store.start()
        yield store


class KubernetesStore:
    """A Store; made by `open_store`."""

    def __init__(
        self,
        client: Client,
        settings: StoreSettings,
        supervisor: Supervisor,
        may_write: Callable[[], bool],
        *,
        installation: str,
        fingerprint_key: bytes,
    ) -> None:
        self._client = client
        self._settings = settings
        self._supervisor = supervisor
        self._may_write = may_write
        self._installation = installation
        self._fingerprint_key = fingerprint_key
        self._listeners: list[Callable[[Change], None]] = []
        self._views = {kind: View(kind, self._tell) for kind in settings.resources}
        self._namespaces = View("Namespace", self._tell)
        self._secret_watches = SecretWatches(client, supervisor, self._tell, settings.informer)
        self._secrets = SecretApi(client, self._api_version_of)
        self._events = EventRecorder(client, instance=settings.instance, may_write=may_write)
        self._informers = self._make_informers()
        self._writing: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._uncertain: set[Key] = set()

    async def start(self) -> None:
        """Start the watches and wait for their first lists. Raises StateError when they do not come."""
        for informer in self._informers:
            self._supervisor.start(informer.run, name=f"watch of {informer.collection}")
        self._supervisor.start(self._secret_watches.run, name="watches of Secrets that are read")
        self._supervisor.start(self._events.run, name="writer of Events")
        try:
            async with asyncio.timeout(self._settings.sync_seconds):
                for informer in self._informers:
                    await informer.synced()
        except TimeoutError:
            missing = [informer for informer in self._informers if not informer.has_synced]
            why = "; ".join(f"{informer.collection}: {informer.problem or 'no answer'}" for informer in missing)
            raise StateError(f"the API server did not give all lists: {why}") from None

    # -- the port -------------------------------------------------------------------------------------

    @property
    def installation(self) -> str:
        """The installation id that ownership markers carry."""
        return self._installation

    @property
    def fingerprint_key(self) -> bytes:
        """The key of password fingerprints."""
        return self._fingerprint_key

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change; for a write of ours in the context of the task that wrote."""
        self._listeners.append(listener)

    async def get(self, key: Key) -> Resource | None:
        """The resource as last seen or written."""
        if key in self._uncertain:
            await self._look_again(key)
        return self._view(key.kind).get(key)

    async def list(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind as last seen or written, sorted by key."""
        for key in [key for key in self._uncertain if key.kind == kind]:
            await self._look_again(key)
        return self._view(kind).all()

    def cached(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind as the watches know them now; for metrics, which must not wait."""
        return self._view(kind).all()

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status; an equal one is not written. Raises StateError when `resource` is stale."""
        wanted = plain_mapping(status)
        key = resource.key

        async def write() -> Resource:
            stored = self._unchanged(resource)
            if stored is not None and stored.status == wanted:
                return stored
            metadata = _precise_metadata(resource)
            body = {"metadata": metadata, "status": wanted}
            api = self._settings.resources[key.kind]
            answer = await self._write(key, replace(api, key.namespace, key.name, body, subresource="status"))
            return self._views[key.kind].wrote(answer)

        return await self._exclusively(key, self._views[key.kind], write)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers; None when the resource is gone. Raises StateError when it is stale."""
        key = resource.key

        async def write() -> Resource | None:
            stored = self._unchanged(resource)
            if stored is not None and stored.finalizers == finalizers and not (stored.deleted and not finalizers):
                return stored
            # A version in a patch makes it conditional; the finalizers of others are in the list we saw.
            body = {"metadata": {"resourceVersion": resource.resource_version, "finalizers": list(finalizers)}}
            api = self._settings.resources[key.kind]
            answer = await self._write(key, merge_patch(api, key.namespace, key.name, body))
            if resource.deleted and not finalizers:
                last = max(version_number(one.resource_version) for one in (answer, resource))
                self._views[key.kind].removed(key, last)
                return None
            return self._views[key.kind].wrote(answer)

        return await self._exclusively(key, self._views[key.kind], write)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation. Raises StateError when `resource` is stale."""
        key = resource.key

        async def write() -> Resource:
            stored = self._unchanged(resource)
            if stored is not None and stored.annotations.get(name) == value:
                return stored
            body = {"metadata": {"resourceVersion": resource.resource_version, "annotations": {name: value}}}
            api = self._settings.resources[key.kind]
            answer = await self._write(key, merge_patch(api, key.namespace, key.name, body))
            return self._views[key.kind].wrote(answer)

        return await self._exclusively(key, self._views[key.kind], write)

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Create a resource, which the cluster deletes with its owner. Raises StateError when the name is taken."""
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "labels": dict(labels),
            "ownerReferences": [owner_reference(owner, self._api_version_of(owner.kind))],
        }

        async def write() -> Resource:
            body = {"metadata": metadata, "spec": plain_mapping(spec)}
            try:
                answer = await self._write(key, create(self._settings.resources[key.kind], key.namespace, body))
            except AlreadyExists:
                raise StateError(f"{key} exists already") from None
            return self._views[key.kind].wrote(answer)

        return await self._exclusively(key, self._views[key.kind], write)

    async def delete_resource(self, resource: Resource) -> None:
        """Ask for the deletion of exactly this resource; one that is gone already is no error."""
        key = resource.key

        async def write() -> None:
            self._check_may_write(key)
            api = self._settings.resources[key.kind]
            with suppress(NotFound, Conflict):
                await self._client.send_raw(delete(api, key.namespace, key.name, uid=resource.uid))
            # Gone, or on its way with finalizers: the next read asks the server.
            self._uncertain.add(key)

        await self._exclusively(key, self._views[key.kind], write)

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now; from the first read on, its changes are told."""
        self._secret_watches.depend_on(Key("Secret", namespace, name))
        return await self._secrets.read(namespace, name)

    async def write_secret(self, secret: Secret) -> Secret:
        """Create or replace the Secret. Raises StateError when another one is stored, Retryable when it is refused."""
        key, view = key_of(secret), self._secret_watches.view

        async def write() -> Secret:
            self._check_may_write(key)
            try:
                written = await (self._secrets.replace if secret.resource_version else self._secrets.create)(secret)
            except (Forbidden, Invalid) as error:
                raise Retryable(
                    "SecretRefused",
                    f"{key} was not stored, the API server answers {error.status.code} {error.status.reason}: look at "
                    f"the namespace's ResourceQuotas and admission policies, and at the operator's role",
                ) from None
            self._secret_watches.depend_on(key)
            view.wrote(_secret_entry(written))
            return written

        return await self._exclusively(key, view, write)

    async def delete_secret(self, secret: Secret) -> None:
        """Delete exactly this Secret. Raises StateError when it was changed meanwhile."""
        key, view = key_of(secret), self._secret_watches.view

        async def write() -> None:
            self._check_may_write(key)
            if await self._secrets.delete(secret):
                view.removed(key, version_number(secret.resource_version))
                self._secret_watches.forget(key)

        await self._exclusively(key, view, write)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Have an Event written soon; the same again right after is counted."""
        self._events.record(resource, self._api_version_of(resource.key.kind), type_, reason, message)

    # -- beyond the port ------------------------------------------------------------------------------

    async def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a watched namespace, None when there is none. Changes are told as of kind Namespace."""
        found = self._namespaces.get(Key("Namespace", "", name))
        return found.labels if found else None

    async def events_written(self) -> None:
        """Wait until the Events recorded so far are written, or dropped."""
        await self._events.written()

    @property
    def problems(self) -> tuple[str, ...]:
        """What the watches complain of now, for readiness; empty when all is well."""
        informers = (*self._informers, *self._secret_watches.others)
        return tuple(f"{informer.collection}: {informer.problem}" for informer in informers if informer.problem)

    # -- writes ---------------------------------------------------------------------------------------

    async def _write(self, key: Key, request: Request) -> Resource:
        """The resource as the server stored it. Raises StateError in words that say what to do."""
        self._check_may_write(key)
        try:
            return to_resource(key.kind, await self._client.send(request, Object))
        except NotFound:
            raise StateError(f"{key} was deleted meanwhile") from None
        except Conflict:
            raise StateError(f"{key} was changed meanwhile") from None
        except Forbidden as error:
            raise StateError(f"{key} cannot be written, RBAC does not allow it: {error}") from None

    def _check_may_write(self, key: Key) -> None:
        if not self._may_write():
            raise NotLeader(f"{key} is not written: another replica may lead now")

    async def _exclusively(self, key: Key, view: View, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run one write of a key at a time, and to its end even when the caller is cancelled.

        A write that was given up in the middle would leave the view older than the server.
        """
        lock = self._writing.setdefault(key, asyncio.Lock())
        writing = asyncio.create_task(self._locked(lock, key, view, write))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if not writing.cancelled():
                # The caller is gone; without this look asyncio would report a failure as never seen.
                writing.exception()
            raise

    async def _locked(self, lock: asyncio.Lock, key: Key, view: View, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with lock:
            with view.writing(key):
                try:
                    return await write()
                except (Unreachable, ServerFailure):
                    # It may have been done all the same: the next read asks the server.
                    if key.kind in self._views:
                        self._uncertain.add(key)
                    raise

    async def _look_again(self, key: Key) -> None:
        """Bring the view up to the server's own word. Raises StateError when there is none."""
        view, api = self._views[key.kind], self._settings.resources[key.kind]
        async with self._writing.setdefault(key, asyncio.Lock()):
            if key not in self._uncertain:
                return
            with view.writing(key):
                try:
                    answer = await self._client.send(get(api, key.namespace, key.name), Object)
                except NotFound:
                    view.absent(key)
                else:
                    view.read(to_resource(key.kind, answer))
            self._uncertain.discard(key)

    # -- inside ---------------------------------------------------------------------------------------

    def _unchanged(self, resource: Resource) -> Resource | None:
        """The resource in the view, if it is the very one that the caller saw."""
        stored = self._views[resource.key.kind].get(resource.key)
        if stored is not None and (stored.uid, stored.resource_version) == (resource.uid, resource.resource_version):
            return stored
        return None

    def _view(self, kind: str) -> View:
        view = self._views.get(kind)
        if view is None:
            raise ValueError(f"the store does not watch {kind}")
        return view

    def _api_version_of(self, kind: str) -> str:
        known = self._settings.resources.get(kind)
        return known.api_version if known else API_VERSION

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _make_informers(self) -> tuple[Informer, ...]:
        scopes = self._settings.watch_namespaces or ("",)
        collections = [
            Collection(api, namespace)
            for api in self._settings.resources.values()
            for namespace in (scopes if api.namespaced else ("",))
        ]
        informers = [self._informer(one, self._views[one.resource.kind]) for one in collections]
        informers += [self._namespace_informer(namespace) for namespace in scopes]
        return (*informers, *self._secret_watches.labelled(scopes))

    def _namespace_informer(self, name: str) -> Informer:
        """Of one namespace, which RBAC can allow by its name, or of all."""
        selector = f"metadata.name={name}" if name else ""
        return Informer(
            self._client,
            Collection(NAMESPACES, field_selector=selector, metadata_only=True),
            self._namespaces,
            self._settings.informer,
            in_scope=lambda known: name in ("", known.key.name),
        )

    def _informer(self, collection: Collection, view: View) -> Informer:
        namespace = collection.namespace
        return Informer(
            self._client,
            collection,
            view,
            self._settings.informer,
            in_scope=lambda known: namespace in ("", known.key.namespace),
        )


def _precise_metadata(resource: Resource) -> dict[str, Any]:
    """Metadata that the server takes for this very object in this very version."""
    metadata = {
        "name": resource.key.name,
        "uid": resource.uid,
        "resourceVersion": resource.resource_version,
    }
    if resource.key.namespace:
        metadata["namespace"] = resource.key.namespace
    return metadata


def _secret_entry(secret: Secret) -> Resource:
    """What the view of Secrets keeps of one."""
    return trimmed(
        Resource(
            key=key_of(secret),
            uid=secret.uid,
            generation=0,
            resource_version=secret.resource_version,
            created=NEVER,
            spec={},
            labels=secret.labels,
        )
    )
