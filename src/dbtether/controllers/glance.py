"""The look of a resync: cheap, because it may be a little old, and therefore without consequences.

Whatever would be written - a status, a Secret, a statement - ends it with LookCloser; the reconcile then
starts anew on what is there now.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dbtether.api.resource import Key, Resource, Secret
from dbtether.postgres.glance import glance_seconds
from dbtether.runtime.store import Change, EventType, Store


class LookCloser(Exception):
    """A look at what may be old has found something to do."""


def act() -> None:
    """Before anything is changed anywhere. Raises LookCloser in a look that may be old."""
    if glance_seconds() is not None:
        raise LookCloser


class StoreOfGlances:
    """A store that no look at what may be old writes to."""

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
        act()
        return await self._store.write_status(resource, status)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers."""
        act()
        return await self._store.write_finalizers(resource, finalizers)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation."""
        act()
        return await self._store.write_annotation(resource, name, value)

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now."""
        return await self._store.get_secret(namespace, name)

    async def write_secret(self, secret: Secret) -> Secret:
        """Create or replace a Secret."""
        act()
        return await self._store.write_secret(secret)

    async def delete_secret(self, secret: Secret) -> None:
        """Delete a Secret."""
        act()
        await self._store.delete_secret(secret)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Tell people about something that happened."""
        act()
        await self._store.record_event(resource, type_, reason, message)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change."""
        self._store.subscribe(listener)
