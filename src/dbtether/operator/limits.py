"""What keeps an operator from writing: another replica that may lead by now, and the read-only mode."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from dbtether.api.resource import Key, Resource, Secret
from dbtether.errors import Blocked
from dbtether.runtime.kube.errors import NotLeader
from dbtether.runtime.store import Change, EventType, Store


def leading_only(may_write: Callable[[], bool]) -> Callable[[], None]:
    """A fence for what is sent to servers.

    A process that was stopped for a while goes on where it was: it must not send one more statement before its
    timers tell it that its time is over.
    """

    def fence() -> None:
        if not may_write():
            raise NotLeader("the server is left as it is: another replica may lead now")

    return fence


class ReadOnlyStore:
    """A store whose resources and Secrets stay as they are: a write is Blocked, as one on a server is.

    Statuses and Events are written: they are the report.
    """

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
        """The resource as it is: nothing is made for it that would have to be undone. Raises Blocked at its end."""
        if resource.deleted is not None and finalizers != resource.finalizers:
            raise Blocked("ReadOnlyMode", f"The operator is in read-only mode and did not: let {resource.key} go")
        return resource

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Set or remove one annotation."""
        return await self._store.write_annotation(resource, name, value)

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now."""
        return await self._store.get_secret(namespace, name)

    async def write_secret(self, secret: Secret) -> Secret:
        """Raise Blocked."""
        _refuse("change" if secret.resource_version else "create", secret)

    async def delete_secret(self, secret: Secret) -> None:
        """Raise Blocked."""
        _refuse("delete", secret)

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Have an Event written, unless it tells of an end that did not come."""
        if reason != "ForceDeleted":
            await self._store.record_event(resource, type_, reason, message)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change."""
        self._store.subscribe(listener)


def _refuse(verb: str, secret: Secret) -> NoReturn:
    raise Blocked(
        "ReadOnlyMode",
        f"The operator is in read-only mode and did not: {verb} Secret {secret.namespace}/{secret.name}",
    )
