"""A store in front of another one: for those that change a few of its operations."""

from collections.abc import Callable, Mapping
from typing import Any

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.runtime.store import Change, EventType, Store


class ForwardingStore:
    """Hands everything on to the store behind it. Raises what that one raises."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def installation(self) -> str:
        """The installation id that ownership markers carry."""
        return self._store.installation

    @property
    def fingerprint_key(self) -> bytes:
        """The key of password fingerprints."""
        return self._store.fingerprint_key

    async def get(self, key: Key) -> Resource | None:
        """The resource as it is now."""
        return await self._store.get(key)

    async def list(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, sorted by key."""
        return await self._store.list(kind)

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status."""
        return await self._store.write_status(resource, status)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers."""
        return await self._store.write_finalizers(resource, finalizers)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation."""
        return await self._store.write_annotation(resource, name, value)

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Create a resource that another one owns."""
        return await self._store.create_resource(key, spec, labels=labels, owner=owner)

    async def delete_resource(self, resource: Resource) -> None:
        """Ask for the deletion of exactly this resource."""
        await self._store.delete_resource(resource)

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now."""
        return await self._store.get_secret(namespace, name)

    async def write_secret(self, secret: Secret) -> Secret:
        """Create or replace a Secret."""
        return await self._store.write_secret(secret)

    async def delete_secret(self, secret: Secret) -> None:
        """Delete a Secret."""
        await self._store.delete_secret(secret)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Tell people about something that happened."""
        await self._store.record_event(resource, type_, reason, message)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change."""
        self._store.subscribe(listener)
