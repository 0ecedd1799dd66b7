"""A store over another one that keeps every write in memory: for plans, which must change nothing."""

from collections.abc import Callable
from datetime import UTC, datetime

from dbtether.api.resource import Key, Resource, Secret
from dbtether.runtime.events import Event, EventLog
from dbtether.runtime.records import RecordStore
from dbtether.runtime.store import Store


class OverlayStore(RecordStore):
    """Reads through to the base, writes to memory only. The base must hold still meanwhile."""

    def __init__(self, base: Store, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(
            _Overlay(base),
            installation=base.installation,
            fingerprint_key=base.fingerprint_key,
            events=EventLog(),
            now=now,
        )


class MemoryStore(RecordStore):
    """A store with nothing behind it: what a plan sees where nothing was ever applied."""

    def __init__(
        self,
        *,
        installation: str,
        fingerprint_key: bytes = bytes(32),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(
            _Overlay(None),
            installation=installation,
            fingerprint_key=fingerprint_key,
            events=EventLog(),
            now=now,
        )


class _Overlay:
    """A Backing in memory; None marks what was removed and must not be looked for below."""

    def __init__(self, base: Store | None) -> None:
        self._base = base
        self._resources: dict[Key, Resource | None] = {}
        self._secrets: dict[tuple[str, str], Secret | None] = {}

    async def resource(self, key: Key) -> Resource | None:
        if key in self._resources or self._base is None:
            return self._resources.get(key)
        return await self._base.get(key)

    async def resources(self, kind: str) -> tuple[Resource, ...]:
        below = await self._base.list(kind) if self._base else ()
        found: dict[Key, Resource | None] = {resource.key: resource for resource in below}
        found |= {key: resource for key, resource in self._resources.items() if key.kind == kind}
        return tuple(resource for key in sorted(found) if (resource := found[key]) is not None)

    async def put_resource(self, resource: Resource, *, status_only: bool) -> None:
        self._resources[resource.key] = resource

    async def remove_resource(self, key: Key) -> None:
        self._resources[key] = None

    async def secret(self, namespace: str, name: str) -> Secret | None:
        if (namespace, name) in self._secrets or self._base is None:
            return self._secrets.get((namespace, name))
        return await self._base.get_secret(namespace, name)

    async def secrets(self) -> tuple[Secret, ...]:
        """Those below, where the base can list them (Kubernetes does not let us), and those written here."""
        below = await self._base.list_secrets() if isinstance(self._base, RecordStore) else ()
        found: dict[tuple[str, str], Secret | None] = {(secret.namespace, secret.name): secret for secret in below}
        found |= self._secrets
        return tuple(secret for place in sorted(found) if (secret := found[place]) is not None)

    async def put_secret(self, secret: Secret) -> None:
        self._secrets[secret.namespace, secret.name] = secret

    async def remove_secret(self, namespace: str, name: str) -> None:
        self._secrets[namespace, name] = None

    def put_event(self, event: Event) -> None:
        """Nothing to keep: the log of the store has it."""

    def remove_events(self, key: Key) -> None:
        """Nothing to remove."""
