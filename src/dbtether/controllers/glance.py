"""The look of a resync: cheap, because it may be a little old, and therefore without consequences.

Whatever would be written - a status, a Secret, a statement - ends it with LookCloser; the reconcile then
starts anew on what is there now.
"""

from collections.abc import Mapping
from typing import Any

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.postgres.glance import glance_seconds
from dbtether.runtime.forwarding import ForwardingStore
from dbtether.runtime.store import EventType


class LookCloser(Exception):
    """A look at what may be old has found something to do."""


def act() -> None:
    """Before anything is changed anywhere. Raises LookCloser in a look that may be old."""
    if glance_seconds() is not None:
        raise LookCloser


class StoreOfGlances(ForwardingStore):
    """A store that no look at what may be old writes to."""

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status."""
        act()
        return await super().write_status(resource, status)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers."""
        act()
        return await super().write_finalizers(resource, finalizers)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation."""
        act()
        return await super().write_annotation(resource, name, value)

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Create a resource that another one owns."""
        act()
        return await super().create_resource(key, spec, labels=labels, owner=owner)

    async def delete_resource(self, resource: Resource) -> None:
        """Ask for the deletion of a resource."""
        act()
        await super().delete_resource(resource)

    async def write_secret(self, secret: Secret) -> Secret:
        """Create or replace a Secret."""
        act()
        return await super().write_secret(secret)

    async def delete_secret(self, secret: Secret) -> None:
        """Delete a Secret."""
        act()
        await super().delete_secret(secret)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Tell people about something that happened."""
        act()
        await super().record_event(resource, type_, reason, message)
