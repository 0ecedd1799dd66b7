"""Stores and executors around the real ones: they count, keep, or end the process's power to write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.controllers.executor import Applying
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement, batches
from dbtether.runtime.forwarding import ForwardingStore
from dbtether.runtime.store import EventType, Store

_WRITES = ("CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT", "REASSIGN", "INSERT", "UPDATE", "DELETE", "DO ")


def is_write(statement: str) -> bool:
    """Whether a logged statement changes anything on the server."""
    return statement.lstrip().upper().startswith(_WRITES) or "pg_terminate_backend" in statement


class Crash(Exception):
    """The process is dead from here on."""


class WrappedStore(ForwardingStore):
    """Passes everything on; each write is told before and afterwards."""

    def before(self, what: str) -> None:
        """Called before each write."""

    def after(self, what: str) -> None:
        """Called after each write."""

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        self.before(f"status of {resource.key}")
        written = await super().write_status(resource, status)
        self.after(f"status of {resource.key}")
        return written

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        self.before(f"finalizers of {resource.key}")
        written = await super().write_finalizers(resource, finalizers)
        self.after(f"finalizers of {resource.key}")
        return written

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        self.before(f"annotation of {resource.key}")
        written = await super().write_annotation(resource, name, value)
        self.after(f"annotation of {resource.key}")
        return written

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        self.before(f"creation of {key}")
        created = await super().create_resource(key, spec, labels=labels, owner=owner)
        self.after(f"creation of {key}")
        return created

    async def delete_resource(self, resource: Resource) -> None:
        self.before(f"deletion of {resource.key}")
        await super().delete_resource(resource)
        self.after(f"deletion of {resource.key}")

    async def write_secret(self, secret: Secret) -> Secret:
        self.before(f"Secret {secret.name}")
        written = await super().write_secret(secret)
        self.after(f"Secret {secret.name}")
        return written

    async def delete_secret(self, secret: Secret) -> None:
        self.before(f"deletion of Secret {secret.name}")
        await super().delete_secret(secret)
        self.after(f"deletion of Secret {secret.name}")

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        self.before(f"Event {reason}")
        await super().record_event(resource, type_, reason, message)
        self.after(f"Event {reason}")


class CountingStore(WrappedStore):
    """Remembers every write."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.writes: list[str] = []

    def before(self, what: str) -> None:
        self.writes.append(what)


@dataclass(slots=True)
class Life:
    """How many steps a process may take before it dies; a step is a store's write or a server's batch."""

    steps_left: int
    after_step: Callable[[], None] = lambda: None
    """Looks at the world after each step."""

    @property
    def is_over(self) -> bool:
        return self.steps_left < 0

    def check(self) -> None:
        if self.steps_left <= 0:
            self.steps_left = -1
            raise Crash

    def step(self) -> None:
        if self.steps_left > 0:
            self.steps_left -= 1
        self.after_step()


class MortalStore(WrappedStore):
    """Refuses every write once the life is over."""

    def __init__(self, store: Store, life: Life) -> None:
        super().__init__(store)
        self._life = life

    def before(self, what: str) -> None:
        self._life.check()

    def after(self, what: str) -> None:
        self._life.step()


class MortalExecutor(Applying):
    """Applies batch by batch, until the life is over."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        for batch in batches(statements):
            self._life.check()
            await super().run(key, cluster, server, batch.statements, creates)
            self._life.step()

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        self._life.check()
        await super().rehearse(key, server, statements)
        self._life.step()


@dataclass
class Keeping(Applying):
    """Runs everything and keeps it."""

    kept: list[tuple[Key, Statement]] = field(default_factory=list)

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        self.kept += [(key, statement) for statement in statements]
        await super().run(key, cluster, server, statements, creates)

    def run_by_key(self) -> dict[Key, list[str]]:
        """The SQL by resource, secrets masked."""
        found: dict[Key, list[str]] = {}
        for key, statement in self.kept:
            found.setdefault(key, []).append(statement.text)
        return found
