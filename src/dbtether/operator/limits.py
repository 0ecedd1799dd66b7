"""What keeps an operator from writing: another replica that may lead by now, and the read-only mode."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from dbtether.api.resource import Key, Resource, Secret
from dbtether.controllers.executor import Applying
from dbtether.errors import Blocked
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement
from dbtether.runtime.kube.errors import NotLeader
from dbtether.runtime.store import Change, EventType, Store


class ApplyingWhileLeading(Applying):
    """Runs plans as long as this process leads.

    A process that was stopped for a while goes on where it was: it must not send one more plan before its
    timers tell it that its time is over.
    """

    def __init__(self, may_write: Callable[[], bool]) -> None:
        self._may_write = may_write

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        """Run the statements. Raises NotLeader, Retryable or Blocked."""
        if statements and not self._may_write():
            raise NotLeader(f"{key} is left as it is: another replica may lead now")
        await super().run(key, cluster, server, statements, creates)


class SecretsReadOnly:
    """A store whose Secrets stay as they are: a write is Blocked, as one on a server is in read-only mode.

    Statuses, finalizers and Events are written: they are the report.
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
        """Replace the finalizers."""
        return await self._store.write_finalizers(resource, finalizers)

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
        """Have an Event written."""
        await self._store.record_event(resource, type_, reason, message)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change."""
        self._store.subscribe(listener)


def _refuse(verb: str, secret: Secret) -> NoReturn:
    raise Blocked(
        "ReadOnlyMode",
        f"The operator is in read-only mode and did not: {verb} Secret {secret.namespace}/{secret.name}",
    )
