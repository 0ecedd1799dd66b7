"""A store with an engine over it, and shorthand for what people do: apply, delete, look, log in."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from tests.servers.fixtures import Admin

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.controllers.engine import Engine, opened_engine
from dbtether.controllers.executor import Executor, Planned, Recording
from dbtether.runtime.controller import LoopSettings
from dbtether.runtime.local import LocalStore
from dbtether.runtime.outcomes import OutcomeLabel, RotationOutcome, Settlement
from dbtether.runtime.overlay import MemoryStore, OverlayStore
from dbtether.runtime.queue import Backoff
from dbtether.runtime.records import RecordStore
from dbtether.runtime.store import Store

CLUSTER = "pg"
TEAM = "team"
PLATFORM = "platform"
# Failures pass quickly in tests, and what fails for good is known soon.
SETTINGS = LoopSettings(backoff=Backoff(first_seconds=0.05, limit_seconds=0.4), bug_backoff=Backoff(60.0, 60.0))


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test written as a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@dataclass(slots=True)
class World:
    """One store, one server, names that no other test uses."""

    admin: Admin
    unique: str
    store: RecordStore
    outcomes: list[tuple[Key, OutcomeLabel, BaseException | None]] = field(default_factory=list)
    rotations: list[RotationOutcome] = field(default_factory=list)
    ahead: timedelta = timedelta()
    """How far the controllers' clock is ahead of the real one."""

    def now(self) -> datetime:
        """The controllers' time."""
        return datetime.now(UTC) + self.ahead

    # -- names ----------------------------------------------------------------------------------------

    def database_key(self, name: str = "app", namespace: str = TEAM) -> Key:
        return Key("Database", namespace, f"{self.unique}-{name}")

    def user_key(self, name: str = "reader", namespace: str = TEAM) -> Key:
        return Key("DatabaseUser", namespace, f"{self.unique}-{name}")

    @property
    def cluster_key(self) -> Key:
        return Key("DBCluster", "", CLUSTER)

    def named(self, name: str = "app") -> str:
        """The database's name in PostgreSQL."""
        return f"{self.unique}_{name}"

    def login(self, name: str = "reader") -> str:
        return f"{self.unique}-{name}"

    # -- what people apply ----------------------------------------------------------------------------

    async def admin_secret(self, **changes: bytes) -> None:
        data = {"username": self.admin.user.encode(), "password": self.admin.password.encode(), **changes}
        await self.store.apply_secret(PLATFORM, "admin", data)

    async def cluster(self, *, annotations: Mapping[str, str] | None = None, **changes: Any) -> Resource:
        await self.admin_secret()
        return await self.cluster_without_secret(annotations=annotations, **changes)

    async def cluster_without_secret(self, *, annotations: Mapping[str, str] | None = None, **changes: Any) -> Resource:
        spec: dict[str, Any] = {
            "endpoint": self.admin.server.host,
            "port": self.admin.server.port,
            "tls": {"mode": "disable"},
            "credentialsSecretRef": {"name": "admin", "namespace": PLATFORM},
            **changes,
        }
        return await self.store.apply_resource(self.cluster_key, spec, annotations=annotations)

    async def database(
        self,
        name: str = "app",
        namespace: str = TEAM,
        *,
        annotations: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> Resource:
        spec = {"clusterRef": {"name": CLUSTER}, "deletionPolicy": "Delete", **changes}
        return await self.store.apply_resource(self.database_key(name, namespace), spec, annotations=annotations)

    async def user(
        self,
        name: str = "reader",
        namespace: str = TEAM,
        *,
        annotations: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> Resource:
        spec: dict[str, Any] = {"privileges": "readonly", **changes}
        if not {"database", "databases", "databaseRef"} & set(spec):
            spec["databaseRef"] = {"name": self.database_key().name}
        return await self.store.apply_resource(self.user_key(name, namespace), spec, annotations=annotations)

    def ref(self, name: str = "app", namespace: str | None = None, **more: str) -> dict[str, str]:
        """A reference to one of the databases."""
        found = {"name": self.database_key(name).name, **more}
        return found if namespace is None else {**found, "namespace": namespace}

    async def annotate(self, key: Key, **annotations: str) -> Resource:
        resource = await self.get(key)
        named = {f"dbtether.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        return await self.store.apply_resource(key, resource.spec, resource.labels, {**resource.annotations, **named})

    async def change(self, key: Key, **changes: Any) -> Resource:
        resource = await self.get(key)
        spec = {name: value for name, value in {**resource.spec, **changes}.items() if value is not None}
        return await self.store.apply_resource(key, spec, resource.labels, resource.annotations)

    async def delete(self, *keys: Key) -> None:
        for key in keys:
            await self.store.request_deletion(key)

    # -- running --------------------------------------------------------------------------------------

    async def settle(
        self, seconds: float = 30, *, store: Store | None = None, executor: Executor | None = None
    ) -> Settlement:
        """Let an engine of its own work until nothing is left to do now."""
        self.outcomes.clear()
        async with opened_engine(
            store or self.store,
            executor=executor,
            settings=SETTINGS,
            on_outcome=lambda key, label, error, _: self.outcomes.append((key, label, error)),
            now=self.now,
            on_rotation=self.rotations.append,
        ) as engine:
            settlement = await engine.loop.run_until_settled(seconds, retry_horizon_seconds=0.35)
        bugs = [(key, error) for key, label, error in self.outcomes if label is OutcomeLabel.BUG]
        if bugs:
            raise AssertionError(f"a bug in the reconcile of {bugs[0][0]}") from bugs[0][1]
        return settlement

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        """One engine that lives on; what happens meanwhile wakes what it concerns, and nothing is polled."""
        async with opened_engine(self.store, settings=replace(SETTINGS, blocked_again_seconds=None)) as engine:
            await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
            yield engine

    async def plan(self) -> dict[Key, Planned]:
        """What applying would run; nothing is written."""
        recording = Recording()
        await self.settle(store=OverlayStore(self.store), executor=recording)
        return recording.planned

    async def settled_and_ready(self, *keys: Key) -> None:
        await self.settle()
        await self.assert_ready(*keys)

    async def assert_ready(self, *keys: Key) -> None:
        """These are Ready, or everything is."""
        for resource in [await self.get(key) for key in keys] if keys else await self.everything():
            assert phase(resource) in ("Ready", "Connected"), f"{resource.key}: {resource.status}"
            assert resource.status["observedGeneration"] == resource.generation

    async def assert_nothing_left(self) -> None:
        """Neither resources nor Secrets of ours, neither roles nor databases."""
        assert [resource.key for resource in await self.everything()] == []
        assert [s.name for s in await self.store.list_secrets() if s.namespace != PLATFORM] == []
        assert self.left() == []

    # -- what is there --------------------------------------------------------------------------------

    async def everything(self) -> list[Resource]:
        kinds = ("DBCluster", "Database", "DatabaseUser")
        return [resource for kind in kinds for resource in await self.store.list(kind)]

    async def get(self, key: Key) -> Resource:
        found = await self.store.get(key)
        assert found is not None, f"{key} is gone"
        return found

    async def status(self, key: Key) -> Mapping[str, Any]:
        return (await self.get(key)).status

    async def is_gone(self, key: Key) -> bool:
        return await self.store.get(key) is None

    async def reason(self, key: Key) -> str:
        return reason_of(await self.get(key))

    async def secret(self, name: str, namespace: str = TEAM) -> Secret:
        found = await self.store.get_secret(namespace, name)
        assert found is not None, f"Secret {name} is gone"
        return found

    async def credentials(self, name: str = "reader", namespace: str = TEAM) -> Secret:
        return await self.secret(f"{self.login(name)}-credentials", namespace)

    async def older_secret(self, user: Resource, **data: str) -> None:
        """The Secret that the older operator made for a user: owned by it, without our label and annotation."""
        values = {"host": "db", "port": "5432", "database": "app", **data}
        encoded = {name: value.encode() for name, value in values.items()}
        owner = Owner(user.key.kind, user.key.name, user.uid)
        await self.store.write_secret(Secret(user.key.namespace, f"{user.key.name}-credentials", encoded, owner=owner))

    async def edit_secret(self, name: str, namespace: str = TEAM, **data: bytes) -> None:
        secret = await self.secret(name, namespace)
        await self.store.write_secret(replace(secret, data={**secret.data, **data}))

    async def password(self, name: str = "reader", namespace: str = TEAM) -> str:
        return (await self.credentials(name, namespace)).data["password"].decode()

    # -- the server -----------------------------------------------------------------------------------

    def rows(self, query: LiteralString, *values: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        with self.admin.server.connect(dbname=dbname) as connection:
            return connection.execute(query, values or None).fetchall()

    def execute(self, query: LiteralString, *names: str, dbname: str = "postgres") -> None:
        """Run SQL as the superuser, with names in the places `{}`."""
        with self.admin.server.connect(dbname=dbname) as connection:
            connection.execute(sql.SQL(query).format(*map(sql.Identifier, names)))

    def left(self) -> list[str]:
        """The roles and databases of this test."""
        found = self.rows(
            "SELECT rolname::text FROM pg_roles WHERE strpos(rolname, %s) > 0 "
            "UNION ALL SELECT datname FROM pg_database WHERE strpos(datname, %s) > 0",
            self.unique,
            self.unique,
        )
        return sorted(row[0] for row in found)

    @contextmanager
    def logged_in(self, login: str, password: str, database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        dsn = self.admin.server.dsn(login, password, database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection

    def works(self, login: str, password: str, database: str, query: LiteralString = "SELECT 1") -> bool:
        """Whether the login gets in and may run the query."""
        try:
            with self.logged_in(login, password, database) as connection:
                connection.execute(query)
        except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
            return False
        return True

    async def login_works(self, name: str = "reader", database: str = "app", namespace: str = TEAM) -> bool:
        """Whether what stands in the user's Secret lets it into the database."""
        password = await self.password(name, namespace)
        return self.works(self.login(name), password, self.named(database))


def phase(resource: Resource) -> str:
    return str(resource.status.get("phase"))


def condition(resource: Resource, type_: str = "Ready") -> Mapping[str, Any] | None:
    found: Sequence[Mapping[str, Any]] = resource.status.get("conditions", ())
    return next((entry for entry in found if entry["type"] == type_), None)


def reason_of(resource: Resource) -> str:
    ready = condition(resource)
    return "" if ready is None else str(ready["reason"])


@contextmanager
def memory_store(_: Path) -> Iterator[RecordStore]:
    yield MemoryStore(installation="test")


@contextmanager
def local_store(path: Path) -> Iterator[RecordStore]:
    with LocalStore.open(path / "state", "test") as store:
        yield store


STORES = {"memory": memory_store, "local": local_store}
both_stores = pytest.mark.parametrize("world", STORES, indirect=True)
"""Runs a test over each store; without it the one in memory is used."""
