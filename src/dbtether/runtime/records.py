"""The rules of a store that we keep ourselves: versions, generations, finalizers, writes that change nothing.

Where the records live is the business of a `Backing`: files (`runtime.local`) or memory over another store
(`runtime.overlay`). Kubernetes has these rules built in and needs none of this.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.errors import StateError
from dbtether.runtime.events import Event, EventLog
from dbtether.runtime.plain import plain_mapping
from dbtether.runtime.store import Change, ChangeType, EventType

FROM_MANIFEST_LABEL = "dbtether.io/from-manifest"
"""Marks the Secrets that a manifest brought, the only ones that a manifest may change."""

T = TypeVar("T")


class Backing(Protocol):
    """Where records live. A write is complete, and durable where it says so, when it returns."""

    async def resource(self, key: Key) -> Resource | None: ...

    async def resources(self, kind: str) -> tuple[Resource, ...]:
        """All of a kind, sorted by key."""
        ...

    async def put_resource(self, resource: Resource, *, status_only: bool) -> None:
        """Keep the resource; one of which only the status changed need not survive a power failure."""
        ...

    async def remove_resource(self, key: Key) -> None: ...

    async def secret(self, namespace: str, name: str) -> Secret | None: ...

    async def secrets(self) -> tuple[Secret, ...]:
        """All Secrets, sorted by namespace and name."""
        ...

    async def put_secret(self, secret: Secret) -> None: ...

    async def remove_secret(self, namespace: str, name: str) -> None: ...

    def put_event(self, event: Event) -> None: ...

    def remove_events(self, key: Key) -> None: ...


class RecordStore:
    """A Store over a Backing, with the writes that on Kubernetes only the API server offers."""

    def __init__(
        self,
        backing: Backing,
        *,
        installation: str,
        fingerprint_key: bytes,
        events: EventLog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._backing = backing
        self._installation = installation
        self._fingerprint_key = fingerprint_key
        self._events = events
        self._now = now
        self._listeners: list[Callable[[Change], None]] = []
        self._writing: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    @property
    def installation(self) -> str:
        """The installation id that ownership markers carry."""
        return self._installation

    @property
    def fingerprint_key(self) -> bytes:
        """The key of password fingerprints."""
        return self._fingerprint_key

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each stored change, in the context of the writer."""
        self._listeners.append(listener)

    # -- resources ------------------------------------------------------------------------------------

    async def get(self, key: Key) -> Resource | None:
        """The resource as stored now."""
        return await self._backing.resource(key)

    async def list(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, sorted by key."""
        return await self._backing.resources(kind)

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status; an equal one writes nothing. Raises StateError when `resource` is stale."""
        wanted = plain_mapping(status)

        async def write() -> Resource:
            stored = await self._current(resource)
            if stored.status == wanted:
                return stored
            changed = replace(stored, status=wanted, resource_version=_next(stored.resource_version))
            await self._store(stored, changed, status_only=True)
            return changed

        return await self._exclusively(resource.key, write)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers; None when the resource is gone. Raises StateError when it is stale."""

        async def write() -> Resource | None:
            stored = await self._current(resource)
            if stored.deleted and not finalizers:
                await self._remove(stored)
                return None
            if stored.finalizers == finalizers:
                return stored
            changed = replace(stored, finalizers=tuple(finalizers), resource_version=_next(stored.resource_version))
            await self._store(stored, changed)
            return changed

        return await self._exclusively(resource.key, write)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation. Raises StateError when `resource` is stale."""

        async def write() -> Resource:
            stored = await self._current(resource)
            if stored.annotations.get(name) == value:
                return stored
            kept = {key: text for key, text in stored.annotations.items() if key != name}
            annotations = kept if value is None else {**kept, name: value}
            changed = replace(stored, annotations=annotations, resource_version=_next(stored.resource_version))
            await self._store(stored, changed)
            return changed

        return await self._exclusively(resource.key, write)

    async def apply_resource(
        self,
        key: Key,
        spec: Mapping[str, Any],
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        *,
        finalizers: tuple[str, ...] = (),
    ) -> Resource:
        """Create the resource or make it ask for this; one that asks for it already is not written.

        A new one gets the `finalizers` at once, which saves its first reconcile a durable write.
        """
        wanted = _Wanted(plain_mapping(spec), dict(labels or {}), dict(annotations or {}))

        async def write() -> Resource:
            stored = await self._backing.resource(key)
            if stored is None:
                return await self._create(key, wanted, finalizers)
            if wanted == _Wanted(stored.spec, stored.labels, stored.annotations):
                return stored
            changed = replace(
                stored,
                spec=wanted.spec,
                labels=wanted.labels,
                annotations=wanted.annotations,
                generation=stored.generation + (stored.spec != wanted.spec),
                resource_version=_next(stored.resource_version),
            )
            await self._store(stored, changed)
            return changed

        return await self._exclusively(key, write)

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Create a resource. Raises StateError when the name is taken. Its owner's controller deletes it."""
        del owner
        wanted = _Wanted(plain_mapping(spec), dict(labels), {})

        async def write() -> Resource:
            if await self._backing.resource(key) is not None:
                raise StateError(f"{key} exists already")
            return await self._create(key, wanted, ())

        return await self._exclusively(key, write)

    async def delete_resource(self, resource: Resource) -> None:
        """Ask for the deletion of exactly this resource; one that is gone already is no error."""
        await self.request_deletion(resource.key, uid=resource.uid)

    async def request_deletion(self, key: Key, *, uid: str = "") -> Resource | None:
        """Ask for the deletion; None when the resource is gone, as it is at once without finalizers.

        With a uid another resource of the same name stays.
        """

        async def write() -> Resource | None:
            stored = await self._backing.resource(key)
            if stored is None or uid not in ("", stored.uid):
                return None
            if not stored.finalizers:
                await self._remove(stored)
                return None
            if stored.deleted:
                return stored
            # As on Kubernetes, a resource whose deletion begins asks for something else.
            changed = replace(
                stored,
                deleted=self._time(),
                generation=stored.generation + 1,
                resource_version=_next(stored.resource_version),
            )
            await self._store(stored, changed)
            return changed

        return await self._exclusively(key, write)

    # -- Secrets --------------------------------------------------------------------------------------

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as stored now."""
        return await self._backing.secret(namespace, name)

    async def list_secrets(self) -> tuple[Secret, ...]:
        """All Secrets, sorted by namespace and name."""
        return await self._backing.secrets()

    async def write_secret(self, secret: Secret) -> Secret:
        """Create or replace the Secret, durably. Raises StateError when another one is stored."""
        key = _key_of(secret)

        async def write() -> Secret:
            stored = await self._backing.secret(secret.namespace, secret.name)
            if not secret.resource_version:
                if stored is not None:
                    raise StateError(f"{key} exists already")
                changed = _detached(replace(secret, uid=str(uuid.uuid4()), resource_version="1"))
                await self._store_secret(changed, ChangeType.ADDED)
                return changed
            if stored is None:
                raise StateError(f"{key} was deleted meanwhile")
            if (stored.uid, stored.resource_version) != (secret.uid, secret.resource_version):
                raise StateError(f"{key} was changed meanwhile")
            if _content(stored) == _content(secret):
                return stored
            changed = _detached(replace(secret, resource_version=_next(stored.resource_version)))
            await self._store_secret(changed, ChangeType.MODIFIED)
            return changed

        return await self._exclusively(key, write)

    async def delete_secret(self, secret: Secret) -> None:
        """Delete exactly this Secret. Raises StateError when it was changed meanwhile."""
        key = _key_of(secret)

        async def write() -> None:
            stored = await self._backing.secret(secret.namespace, secret.name)
            if stored is None or stored.uid != secret.uid:
                return
            if stored.resource_version != secret.resource_version:
                raise StateError(f"{key} was changed meanwhile")
            await self._backing.remove_secret(secret.namespace, secret.name)
            self._tell(Change(ChangeType.REMOVED, key))

        await self._exclusively(key, write)

    async def apply_secret(
        self,
        namespace: str,
        name: str,
        data: Mapping[str, bytes],
        *,
        type_: str = "Opaque",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Secret:
        """Create or update a Secret of a manifest. Raises StateError when the name is another Secret's.

        One that dbtether generated is never touched: its content is somebody's password.
        """
        wanted = Secret(
            namespace=namespace,
            name=name,
            data=data,
            type=type_,
            labels={**(labels or {}), FROM_MANIFEST_LABEL: "true"},
            annotations=annotations or {},
        )
        stored = await self.get_secret(namespace, name)
        if stored is None:
            return await self.write_secret(wanted)
        if stored.labels.get(FROM_MANIFEST_LABEL) != "true":
            raise StateError(
                f"{_key_of(stored)} was not made from a manifest and is left as it is; "
                "give the Secret in the manifest another name"
            )
        return await self.write_secret(replace(wanted, uid=stored.uid, resource_version=stored.resource_version))

    # -- Events ---------------------------------------------------------------------------------------

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Remember what happened; the same again right after is counted."""
        event = self._events.record(resource.key, type_, reason, message, self._time())
        self._backing.put_event(event)

    def events(self, key: Key) -> tuple[Event, ...]:
        """What happened to the resource, oldest first."""
        return self._events.of(key)

    # -- inside ---------------------------------------------------------------------------------------

    async def _create(self, key: Key, wanted: "_Wanted", finalizers: tuple[str, ...]) -> Resource:
        created = Resource(
            key=key,
            uid=str(uuid.uuid4()),
            generation=1,
            resource_version="1",
            created=self._time(),
            spec=wanted.spec,
            labels=wanted.labels,
            annotations=wanted.annotations,
            finalizers=finalizers,
        )
        await self._store(None, created)
        return created

    async def _current(self, resource: Resource) -> Resource:
        """The stored resource if it is still the one that the caller saw."""
        stored = await self._backing.resource(resource.key)
        if stored is None or stored.uid != resource.uid:
            raise StateError(f"{resource.key} was deleted meanwhile")
        if stored.resource_version != resource.resource_version:
            raise StateError(f"{resource.key} was changed meanwhile")
        return stored

    async def _store(self, old: Resource | None, new: Resource, *, status_only: bool = False) -> None:
        await self._backing.put_resource(new, status_only=status_only)
        change_type = ChangeType.MODIFIED if old else ChangeType.ADDED
        self._tell(Change(change_type, new.key, old, new))

    async def _remove(self, stored: Resource) -> None:
        await self._backing.remove_resource(stored.key)
        if self._events.of(stored.key):
            self._events.forget(stored.key)
            self._backing.remove_events(stored.key)
        self._tell(Change(ChangeType.REMOVED, stored.key, old=stored))

    async def _store_secret(self, secret: Secret, change_type: ChangeType) -> None:
        await self._backing.put_secret(secret)
        self._tell(Change(change_type, _key_of(secret)))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _time(self) -> datetime:
        # Kubernetes keeps whole seconds, and so does every file of ours.
        return self._now().replace(microsecond=0)

    async def _exclusively(self, key: Key, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run one write of a key at a time, and to its end even when the caller is cancelled.

        A write that stopped between the file and the memory would leave two truths.
        """
        lock = self._writing.setdefault(key, asyncio.Lock())
        writing = asyncio.create_task(_with_lock(lock, write))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if not writing.cancelled():
                # The caller is gone; without this look asyncio would report a failure as never seen.
                writing.exception()
            raise


async def _with_lock(lock: asyncio.Lock, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async with lock:
        return await write()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a manifest asks for."""

    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def _next(resource_version: str) -> str:
    return str(int(resource_version) + 1)


def _key_of(secret: Secret) -> Key:
    return Key("Secret", secret.namespace, secret.name)


def _content(secret: Secret) -> tuple[object, ...]:
    return (dict(secret.data), secret.type, dict(secret.labels), dict(secret.annotations), secret.owner)


def _detached(secret: Secret) -> Secret:
    """The Secret with mappings of its own, which no caller can change later."""
    return replace(
        secret,
        data=dict(secret.data),
        labels=dict(secret.labels),
        annotations=dict(secret.annotations),
    )
