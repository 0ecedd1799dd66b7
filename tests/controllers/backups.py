"""A world whose Backups are taken by child processes, into a folder or a bucket of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from tests.controllers.world import SETTINGS, TEAM, World, reason_of

from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_of
from dbtether.backup.catalog import Entry, catalog
from dbtether.backup.verify import Expected, verify
from dbtether.controllers.backup import BackupSettings
from dbtether.controllers.engine import Engine, opened_engine
from dbtether.postgres.roles.model import role_names
from dbtether.runtime.jobs import Jobs
from dbtether.runtime.local import LocalJobs
from dbtether.runtime.local.processes import ProcessId, is_alive
from dbtether.storage.folder import Folder
from dbtether.storage.store import ObjectStore

STORAGE = Key("BackupStorage", "", "main")
QUICK = BackupSettings(pauses_seconds=(0.1,) * 4)
RUN_LOGINS: LiteralString = """
    SELECT r.rolname::text FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
      JOIN pg_roles g ON g.oid = m.roleid
     WHERE starts_with(r.rolname, 'dbtether_run_') AND strpos(g.rolname, %s) > 0 GROUP BY 1"""


def backup_key(name: str = "nightly", namespace: str = TEAM) -> Key:
    return Key("Backup", namespace, name)


def schedule_key(name: str = "nightly", namespace: str = TEAM) -> Key:
    return Key("BackupSchedule", namespace, name)


@dataclass(slots=True)
class Backups:
    """What people do with Backups, and what they see."""

    world: World
    folder: Path

    @property
    def store(self) -> ObjectStore:
        """The folder as a store."""
        return Folder(self.folder, "backups")

    async def database(self, rows: int = 1000, name: str = "app", **changes: Any) -> None:
        """A Ready Database with one table, and the storage."""
        (self.folder / "backups").mkdir(exist_ok=True)
        await self.world.cluster()
        await self.world.database(name, **changes)
        if await self.world.store.get(STORAGE) is None:
            await self.world.store.apply_resource(STORAGE, {"local": {"path": "backups"}})
        await self.settle()
        owner = role_names(self.world.named(name)).owner
        with self.world.admin.server.connect(dbname=self.world.named(name)) as connection:
            connection.execute("CREATE TABLE orders (id int, note text)")
            connection.execute(f'ALTER TABLE orders OWNER TO "{owner}"'.encode())
            connection.execute("INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, %s) n", (rows,))
        # A Database that is looked at again must find nothing to grant on a table that is locked.
        await self.settle()

    async def apply(self, name: str = "nightly", namespace: str = TEAM, **changes: Any) -> Resource:
        spec = {"databaseRef": self.world.ref(), "storageRef": {"name": "main"}, **changes}
        return await self.world.store.apply_resource(backup_key(name, namespace), spec)

    async def schedule(self, name: str = "nightly", namespace: str = TEAM, **changes: Any) -> Resource:
        """A BackupSchedule of the database `app`, for two o'clock each night."""
        spec = {"databaseRef": self.world.ref(), "storageRef": {"name": "main"}, "schedule": "0 2 * * *", **changes}
        return await self.world.store.apply_resource(schedule_key(name, namespace), spec)

    async def at(self, time: datetime, seconds: float = 60) -> None:
        """Do what is due at a time to come."""
        self.world.ahead = time - datetime.now(UTC)
        await self.settle(seconds)

    async def night(self, name: str = "nightly", *, later: timedelta = timedelta(seconds=1)) -> Mapping[str, Any]:
        """Let the schedule's next time come and go, and give its status."""
        planned = instant_of(await self.world.status(schedule_key(name)), "nextScheduledTime")
        assert planned is not None, await self.world.status(schedule_key(name))
        await self.at(planned + later)
        return await self.world.status(schedule_key(name))

    async def made(self, name: str = "nightly") -> list[Resource]:
        """The Backups of a schedule, the oldest run first."""
        found = [one for one in await self.world.store.list("Backup") if one.labels.get(SCHEDULE_LABEL) == name]
        return sorted(found, key=lambda one: str(one.status.get("startedAt", "~")))

    async def keys(self, name: str | None = "nightly") -> list[str]:
        """The keys of a schedule's dumps in the folder, or of those that a person asked for; the oldest first."""
        told = [one for one in reversed(await self.entries()) if one.manifest is not None]
        return [one.key for one in told if one.manifest is not None and one.manifest.origin.schedule == name]

    @asynccontextmanager
    async def engine(self, settings: BackupSettings = QUICK) -> AsyncIterator[tuple[Engine, Jobs]]:
        """An engine, and the jobs that it starts."""
        async with (
            LocalJobs(self.folder / "jobs", terminate_seconds=3.0) as jobs,
            opened_engine(
                self.world.store,
                settings=replace(SETTINGS, blocked_again_seconds=None),
                now=self.world.now,
                local_root=self.folder,
                jobs=jobs,
                backups=settings,
            ) as engine,
        ):
            yield engine, jobs

    async def settle(self, seconds: float = 60, settings: BackupSettings = QUICK) -> None:
        """Let an engine of its own work until nothing is left to do."""
        async with self.engine(settings) as (engine, _):
            settlement = await engine.loop.run_until_settled(seconds, retry_horizon_seconds=0.35)
        assert settlement.unsettled == ()

    @asynccontextmanager
    async def working(self, settings: BackupSettings = QUICK) -> AsyncIterator[Jobs]:
        """An engine that works for as long as the block runs."""
        async with self.engine(settings) as (engine, jobs):
            running = asyncio.create_task(engine.loop.run_forever())
            try:
                yield jobs
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def until(
        self, wanted: Callable[[Mapping[str, Any]], object], name: str = "nightly", seconds: float = 60
    ) -> Mapping[str, Any]:
        """The status once it is as wanted."""
        until = asyncio.get_running_loop().time() + seconds
        while not wanted(status := await self.status(name)):
            assert asyncio.get_running_loop().time() < until, status
            await asyncio.sleep(0.02)
        return status

    async def status(self, name: str = "nightly", namespace: str = TEAM) -> Mapping[str, Any]:
        return await self.world.status(backup_key(name, namespace))

    async def reason(self, name: str = "nightly", namespace: str = TEAM) -> str:
        return reason_of(await self.world.get(backup_key(name, namespace)))

    def process(self, status: Mapping[str, Any]) -> ProcessId | None:
        """The process of a run's job, where it lives."""
        try:
            found = ProcessId.parse((self.folder / "jobs" / status.get("jobName", "none") / "process").read_text())
        except OSError:
            return None
        return found if found is not None and is_alive(found) else None

    async def entries(self) -> tuple[Entry, ...]:
        """What is in the folder."""
        return await catalog(self.store, "", self.world.store.fingerprint_key)

    async def assert_sound(self, status: Mapping[str, Any], rows: int = 1000) -> None:
        """The backup of the status is complete, as the database was, and nothing of the run is left."""
        assert status["phase"] == "Completed", status
        key = status["path"].removeprefix(f"{self.store.url}/")
        entry = next(entry for entry in await self.entries() if entry.key == key)
        assert entry.manifest is not None
        assert (entry.problem, entry.trust.value) == (None, "ours")
        stored = entry.manifest.stored
        expected = Expected(object_bytes=stored.bytes, object_sha256=status["sha256"], rows={"public.orders": rows})
        await verify(self.store.stream(key), entry.manifest.format, expected)
        assert entry.manifest.tables == {"public.orders": rows}
        self.assert_nothing_runs(status)

    def assert_nothing_runs(self, status: Mapping[str, Any]) -> None:
        assert self.process(status) is None
        assert self.world.rows(RUN_LOGINS, self.world.unique) == []


class Locked:
    """Keeps a dump from getting on, for as long as the block runs."""

    def __init__(self, world: World) -> None:
        self._connection = psycopg.connect(
            world.admin.server.dsn(
                world.admin.server.superuser.user, world.admin.server.superuser.password, world.named()
            )
        )

    def __enter__(self) -> None:
        self._connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")

    def __exit__(self, *_: object) -> None:
        self._connection.close()
