"""The store port: where resources, statuses, Secrets and Events live.

Two implementations: a local state directory (`runtime.local`) and the Kubernetes API. Both pass the
conformance suite in `tests/runtime/store_conformance.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from dbtether.api.resource import Key, Owner, Resource, Secret


class ChangeType(StrEnum):
    """What happened to a resource."""

    ADDED = "Added"
    MODIFIED = "Modified"
    REMOVED = "Removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a resource or a Secret (`key.kind == "Secret"`), told to subscribers after it is stored.

    For a Secret `old` and `new` are None: who wants its content reads it.
    """

    type: ChangeType
    key: Key
    old: Resource | None = None
    new: Resource | None = None


class EventType(StrEnum):
    """Kubernetes' two types of Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Store(Protocol):
    """What controllers may ask of the world that holds resources.

    Reads give the latest own write. Writes raise StateError when the resource changed meanwhile
    (`resource_version` differs), so that a stale decision never overwrites a newer one.
    """

    @property
    def installation(self) -> str:
        """The installation id that ownership markers carry; stable for the store's life."""
        ...

    @property
    def fingerprint_key(self) -> bytes:
        """The key of password fingerprints (HMAC-SHA-256), 32 bytes, private to the installation."""
        ...

    async def get(self, key: Key) -> Resource | None: ...

    async def list(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, sorted by key."""
        ...

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Replace the status and give back the resource as stored now."""
        ...

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Replace the finalizers; None means that it was the last one and the resource is gone."""
        ...

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set one annotation, or remove it (None), and give back the resource as stored now."""
        ...

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Create a resource that another one owns. Raises StateError when the name is taken.

        A cluster deletes it with its owner; elsewhere the owner's controller does.
        """
        ...

    async def delete_resource(self, resource: Resource) -> None:
        """Ask for the deletion of exactly this resource (uid); one that is gone already is no error."""
        ...

    async def get_secret(self, namespace: str, name: str) -> Secret | None: ...

    async def write_secret(self, secret: Secret) -> Secret:
        """Create (empty `resource_version`) or replace a Secret; durable when this returns.

        Raises StateError when it exists already, or has another version than `resource_version`.
        """
        ...

    async def delete_secret(self, secret: Secret) -> None:
        """Delete exactly this Secret (uid and version); one that is gone already is no error."""
        ...

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Tell people about something that happened; equal Events in a row are counted, not repeated."""
        ...

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each stored change, in order, for as long as the store is open.

        Where this process made the change, the call comes in the context of the task that wrote.
        """
        ...
