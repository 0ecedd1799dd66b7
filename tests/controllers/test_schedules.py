"""BackupSchedules on a real folder, without a server: who runs the Backups is played by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.backup.samples import manifest
from tests.controllers.world import scenario
from tests.controllers.wrappers import CountingStore

from dbtether.api.resource import Key, Resource
from dbtether.backup.manifest import Content, Origin, manifest_key, run_key, write_manifest
from dbtether.controllers.backupschedule import BackupScheduleController
from dbtether.controllers.base import World
from dbtether.controllers.directory import Directory
from dbtether.controllers.executor import Applying, Executor, ReadOnly
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.controllers.servers import Servers
from dbtether.controllers.storages import Storages
from dbtether.errors import Blocked
from dbtether.operator.limits import ReadOnlyStore
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import Store
from dbtether.storage.folder import Folder

START = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NIGHTLY = Key("BackupSchedule", "team", "nightly")


@dataclass
class Clock:
    """A world whose time passes when the test says so."""

    folder: Path
    time: datetime = START
    runs: int = 0
    executor: Executor = field(default_factory=Applying)
    store: MemoryStore = field(init=False)
    counted: CountingStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(installation="test", now=lambda: self.time)
        self.counted = CountingStore(self.store)

    @property
    def controller(self) -> BackupScheduleController:
        return self.over(self.counted)

    def over(self, store: Store) -> BackupScheduleController:
        secrets = PlatformSecrets(store, None)
        storages = Storages(secrets, self.folder, may_write=True)
        servers = Servers(secrets, {})
        return BackupScheduleController(World(store, servers, storages, Directory(), self.executor, lambda: self.time))

    async def look(self, key: Key = NIGHTLY) -> Outcome:
        self.counted.writes.clear()
        return await self.controller.reconcile(key)

    async def at(self, text: str, key: Key = NIGHTLY) -> Outcome:
        self.time = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return await self.look(key)

    async def schedule(self, key: Key = NIGHTLY, **changes: Any) -> Resource:
        spec = {
            "databaseRef": {"name": "shop"},
            "storageRef": {"name": "folder"},
            "schedule": "0 2 * * *",
            **changes,
        }
        return await self.store.apply_resource(key, {name: part for name, part in spec.items() if part is not None})

    async def status(self, key: Key = NIGHTLY) -> Any:
        found = await self.store.get(key)
        assert found is not None
        return found.status

    async def condition(self, type_: str, key: Key = NIGHTLY) -> tuple[str, str] | None:
        for one in (await self.status(key)).get("conditions", ()):
            if one["type"] == type_:
                return one["status"], one["reason"]
        return None

    async def backups(self) -> list[Resource]:
        found = await self.store.list("Backup")
        return sorted((one for one in found if one.deleted is None), key=lambda one: (one.created, one.key))

    async def finish(self, phase: str = "Completed", schedule: str | None = "nightly") -> str:
        """Play the run of the newest Backup: its object and manifest, and its status; gives the key."""
        backup, self.runs = (await self.backups())[-1], self.runs + 1
        key = f"pg/shop/{self.time:%Y%m%d-%H%M%S}-{self.runs}.sql.gz"
        if phase == "Completed":
            await self.stored(key, schedule)
        path = f"file://{self.folder}/backups/{key}"
        told = {"phase": phase, "path": path, "completedAt": self.time.strftime("%Y-%m-%dT%H:%M:%SZ")}
        await self.store.write_status(backup, told)
        return key

    async def stored(self, key: str, schedule: str | None) -> None:
        made = manifest(
            run_id=f"run{self.runs:05}",
            key=key,
            origin=Origin(namespace="team", name="x", schedule=schedule),
            stored=Content(bytes=4, sha256="a" * 64),
            started_at=self.time,
            snapshot_at=self.time,
            finished_at=self.time,
        )
        store = Folder(self.folder / "backups", "")
        await store.put_if_absent(key, b"dump")
        signed = write_manifest(made, run_key(self.store.fingerprint_key, made.run_id))
        await store.put_if_absent(manifest_key(key), signed)

    def objects(self) -> list[str]:
        root = self.folder / "backups"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*.sql.gz"))


@asynccontextmanager
async def clock(folder: Path) -> AsyncIterator[Clock]:
    """A Ready database and a Ready folder."""
    (folder / "backups").mkdir()
    world = Clock(folder)
    database = await world.store.apply_resource(Key("Database", "team", "shop"), {"clusterRef": {"name": "pg"}})
    await world.store.write_status(database, {"phase": "Ready"})
    storage = await world.store.apply_resource(Key("BackupStorage", "", "folder"), {"local": {"path": "backups"}})
    await world.store.write_status(storage, {"phase": "Ready"})
    yield world


async def days(world: Clock, count: int, first: int = 1) -> list[str]:
    """So many nights, each with a good backup."""
    keys = []
    for day in range(first, first + count):
        await world.at(f"2026-03-{day:02}T02:00:00")
        keys.append(await world.finish())
        await world.at(f"2026-03-{day:02}T02:10:00")
    return keys


@scenario
async def test_a_new_schedule_waits_for_its_time_and_a_settled_one_writes_nothing(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        assert await world.look() == Again(1800.0)
        status = await world.status()
        assert (status["phase"], status["nextScheduledTime"]) == ("Active", "2026-03-01T02:00:00Z")
        assert await world.backups() == []
        await world.look()
        assert world.counted.writes == []


@scenario
async def test_at_its_time_it_creates_a_backup_of_its_own(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(filenameTemplate="{{ .Timestamp }}.sql.zst")
        await world.look()
        assert await world.at("2026-03-01T02:00:01") == Again(24 * 3600.0 - 1)
        (backup,) = await world.backups()
        assert backup.key.name.startswith("nightly-")
        assert len(backup.key.name) == len("nightly-") + 8
        assert backup.labels == {"dbtether.io/schedule": "nightly"}
        assert backup.spec == {
            "databaseRef": {"name": "shop"},
            "storageRef": {"name": "folder"},
            "filenameTemplate": "{{ .Timestamp }}.sql.zst",
        }
        status = await world.status()
        assert status["lastBackupTime"] == "2026-03-01T02:00:01Z"
        assert status["nextScheduledTime"] == "2026-03-02T02:00:00Z"
        await world.look()
        assert len(await world.backups()) == 1


@scenario
async def test_a_crash_after_the_creation_starts_nothing_twice(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        before = await world.store.get(NIGHTLY)
        assert before is not None
        await world.at("2026-03-01T02:00:01")
        latest = await world.store.get(NIGHTLY)
        assert latest is not None
        await world.store.write_status(latest, before.status)
        await world.at("2026-03-01T02:05:00")
        assert len(await world.backups()) == 1
        assert (await world.status())["nextScheduledTime"] == "2026-03-02T02:00:00Z"


@scenario
async def test_an_outage_is_made_up_for_once_or_told_when_it_is_too_late(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        await world.at("2026-03-09T13:00:00")
        assert len(await world.backups()) == 1
        await world.finish()
        await world.schedule(startingDeadline="30m")
        await world.look()
        await world.at("2026-03-12T13:00:00")
        assert len(await world.backups()) == 1
        assert "Event BackupMissed" in world.counted.writes
        await world.look()
        assert "Event BackupMissed" not in world.counted.writes


@scenario
async def test_a_changed_schedule_and_one_that_was_suspended_make_up_for_nothing(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        await world.schedule(schedule="30 5 * * *")
        await world.at("2026-03-01T06:00:00")
        assert await world.backups() == []
        await world.schedule(suspend=True)
        await world.look()
        status = await world.status()
        assert (status["phase"], status.get("nextScheduledTime")) == ("Suspended", None)
        assert await world.at("2026-03-20T06:00:00") == Done()
        await world.schedule()
        await world.look()
        assert await world.backups() == []
        assert (await world.status())["nextScheduledTime"] == "2026-03-21T02:00:00Z"


@pytest.mark.parametrize(("policy", "count"), [("Forbid", 1), ("Allow", 2), ("Replace", 1)])
@scenario
async def test_a_backup_that_is_still_running(policy: str, count: int, tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(concurrencyPolicy=policy)
        await world.look()
        await world.at("2026-03-01T02:00:00")
        (first,) = await world.backups()
        await world.at("2026-03-02T02:00:00")
        left = await world.backups()
        assert len(left) == count
        assert (first in left) is (policy != "Replace")
        assert ("Event BackupSkipped" in world.counted.writes) is (policy == "Forbid")


@scenario
async def test_the_last_good_backup_tells_how_fresh_the_schedule_is(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(alertAfter="26h")
        await world.look()
        assert await world.condition("Fresh") == ("True", "Ready")
        await world.at("2026-03-01T02:00:00")
        await world.finish()
        await world.at("2026-03-01T02:10:00")
        status = await world.status()
        assert (status["lastSuccessfulBackup"], status["managedBackups"]) == ("2026-03-01T02:00:00Z", 1)
        assert await world.at("2026-03-02T02:00:00") == Again(2 * 3600.0), "when it would alarm"
        await world.finish("Failed")
        await world.at("2026-03-02T04:00:00")
        assert await world.condition("Fresh") == ("False", "BackupOverdue")
        assert (await world.status())["lastSuccessfulBackup"] == "2026-03-01T02:00:00Z"


@scenario
async def test_retention_follows_a_success_and_takes_the_backup_resource_along(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(retention={"keepLast": 2})
        await world.look()
        keys = await days(world, 2)
        manual = "pg/shop/by-hand.sql.gz"
        world.runs += 1
        await world.stored(manual, None)
        await world.at("2026-03-03T02:00:00")
        await world.finish("Failed")
        await world.at("2026-03-03T02:10:00")
        assert world.objects() == sorted([*keys, manual]), "a failure deletes nothing"
        keys += await days(world, 1, first=4)
        assert world.objects() == sorted([*keys[1:], manual])
        status = await world.status()
        assert (status["retention"]["deleted"], status["retention"]["keptCount"], status["managedBackups"]) == (1, 2, 3)
        assert status["retention"]["kept"][0] == {"name": keys[2], "reasons": ["the newest", "last 1 of 2"]}
        await world.look()
        assert len([one for one in await world.backups() if one.status["phase"] == "Completed"]) == 2
        assert (await world.status())["managedBackups"] == 2


@scenario
async def test_schedules_of_one_database_keep_what_the_other_keeps(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(retention={"keepLast": 1})
        weekly = Key("BackupSchedule", "team", "weekly")
        await world.schedule(weekly, schedule="0 4 * * 0", retention={"keepDaily": 2})
        await world.look()
        keys = await days(world, 4)
        assert world.objects() == keys[2:], "the other one's two days"
        await world.store.apply_resource(weekly, {"databaseRef": {"name": "shop"}, "schedule": "broken"})
        keys += await days(world, 1, first=5)
        assert world.objects() == keys[2:], "nothing goes while one of them cannot be read"
        assert await world.condition("Retained") == ("False", "InvalidSpec")
        await world.store.request_deletion(weekly)
        await world.at("2026-03-05T02:20:00")
        assert world.objects() == keys[4:]
        assert await world.condition("Retained") == ("True", "Ready")


@scenario
async def test_a_store_that_cannot_be_listed_loses_nothing_and_the_success_counts(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(retention={"keepLast": 1})
        await world.look()
        await days(world, 1)
        await world.at("2026-03-02T02:00:00")
        await world.finish()
        (tmp_path / "backups").rename(tmp_path / "away")
        assert await world.at("2026-03-02T02:10:00") == Again(300.0)
        assert (await world.status())["lastSuccessfulBackup"] == "2026-03-02T02:00:00Z"
        assert await world.condition("Retained") == ("False", "BucketNotFound")
        (tmp_path / "away").rename(tmp_path / "backups")
        assert len(world.objects()) == 2
        await world.at("2026-03-02T02:15:00")
        assert len(world.objects()) == 1


@scenario
async def test_an_operator_that_only_reads_deletes_nothing(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(retention={"keepLast": 1})
        await world.look()
        await days(world, 1)
        await world.at("2026-03-02T02:00:00")
        await world.finish()
        world.executor = ReadOnly()
        await world.at("2026-03-02T02:10:00")
        assert len(world.objects()) == 2
        assert await world.condition("Retained") == ("False", "ReadOnlyMode")


@scenario
async def test_most_of_many_need_the_annotation(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        await days(world, 12)
        await world.schedule(retention={"keepLast": 1})
        await days(world, 1, first=13)
        assert len(world.objects()) == 13
        assert await world.condition("Retained") == ("False", "PruneNotConfirmed")
        latest = await world.store.get(NIGHTLY)
        assert latest is not None
        await world.store.write_annotation(latest, "dbtether.io/confirm-prune", "12")
        await world.at("2026-03-13T02:20:00")
        assert len(world.objects()) == 1
        latest = await world.store.get(NIGHTLY)
        assert latest is not None
        assert latest.annotations == {}, "it was about these alone"


@scenario
async def test_failed_backups_are_kept_to_look_at_up_to_the_limit(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(failedHistoryLimit=2)
        await world.look()
        for day in range(1, 6):
            await world.at(f"2026-03-{day:02}T02:00:00")
            await world.finish("Failed")
        await world.look()
        assert [one.created.day for one in await world.backups()] == [4, 5]


@scenario
async def test_another_tenants_database_is_refused_without_telling_whether_it_is_there(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        thief = Key("BackupSchedule", "thieves", "nightly")
        for name in ("shop", "nothing"):
            await world.schedule(thief, databaseRef={"name": name, "namespace": "team"})
            await world.look(thief)
            await world.at("2026-03-05T02:00:00", thief)
            status = await world.status(thief)
            assert status["message"] == (
                f'Database team/{name} does not exist or does not allow the namespace "thieves"'
            )
        assert await world.backups() == []


@scenario
async def test_a_schedule_takes_its_backups_along_and_their_objects_stay(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        keys = await days(world, 2)
        await world.store.request_deletion(NIGHTLY)
        await world.look()
        assert await world.backups() == []
        assert await world.store.get(NIGHTLY) is None
        assert world.objects() == keys


@pytest.mark.parametrize(
    ("zone", "start", "looks", "fired"),
    [
        pytest.param(
            "Europe/Berlin",
            "2026-03-29T00:10:00",
            ["2026-03-29T00:59:00", "2026-03-29T01:00:30", "2026-03-29T01:31:00", "2026-03-29T23:00:00"],
            ["2026-03-29T01:00:30Z"],
            id="half past two is not on the clock: right after the gap",
        ),
        pytest.param(
            "Europe/Berlin",
            "2026-10-25T00:10:00",
            ["2026-10-25T00:31:00", "2026-10-25T01:31:00", "2026-10-25T02:31:00", "2026-10-25T23:00:00"],
            ["2026-10-25T00:31:00Z"],
            id="half past two comes twice: at the first",
        ),
    ],
)
@scenario
async def test_clocks_that_are_put_forward_or_back_leave_one_backup_a_night(
    zone: str, start: str, looks: list[str], fired: list[str], tmp_path: Path
) -> None:
    async with clock(tmp_path) as world:
        world.time = datetime.fromisoformat(start).replace(tzinfo=UTC)
        await world.schedule(schedule="30 2 * * *", timeZone=zone)
        await world.look()
        for text in looks:
            if len(await world.backups()) and "completedAt" not in (await world.backups())[-1].status:
                await world.finish()
            await world.at(text)
        assert [one.created.strftime("%Y-%m-%dT%H:%M:%SZ") for one in await world.backups()] == fired


@scenario
async def test_what_would_go_is_not_looked_for_again_until_a_person_confirms_it(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule()
        await world.look()
        await days(world, 12)
        await world.schedule(retention={"keepLast": 1})
        await days(world, 1, first=13)
        status = await world.status()
        assert "12 of 13 backups would go at once" in status["message"]
        assert await world.condition("Ready") == ("True", "RetentionIncomplete")
        (tmp_path / "backups").rename(tmp_path / "away")
        await world.at("2026-03-13T03:00:00")
        assert await world.status() == status, "the store was not asked"


@scenario
async def test_a_storage_that_goes_and_comes_back_has_retention_go_on_where_it_failed(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(retention={"keepLast": 1}, alertAfter="26h")
        await world.look()
        await days(world, 1)
        await world.at("2026-03-02T02:00:00")
        await world.finish()
        (tmp_path / "backups").rename(tmp_path / "away")
        await world.at("2026-03-02T02:10:00")
        storage = await world.store.get(Key("BackupStorage", "", "folder"))
        assert storage is not None
        storage = await world.store.write_status(storage, {"phase": "Failed"})
        assert await world.at("2026-03-02T03:00:00") == Again(25 * 3600.0), "it alarms in time all the same"
        assert await world.condition("Ready") == ("False", "StorageNotReady")
        assert await world.condition("Retained") == ("False", "BucketNotFound")
        assert await world.condition("Fresh") == ("True", "Ready")
        await world.at("2026-03-03T05:00:00")
        assert await world.condition("Fresh") == ("False", "BackupOverdue")
        (tmp_path / "away").rename(tmp_path / "backups")
        await world.store.write_status(storage, {"phase": "Ready"})
        await world.at("2026-03-03T05:01:00")
        assert len(world.objects()) == 1
        assert await world.condition("Retained") == ("True", "Ready")

        await world.schedule(retention=None, alertAfter=None)
        await world.look()
        assert (await world.condition("Retained"), await world.condition("Fresh")) == (None, None)


@scenario
async def test_an_operator_that_only_reads_starts_nothing_and_tells_how_old_the_last_one_is(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(alertAfter="2h")
        await world.look()
        controller = world.over(ReadOnlyStore(world.store))
        world.time = START + 3 * HOUR
        with pytest.raises(Blocked, match="did not: create Backup team/nightly-"):
            await controller.reconcile(NIGHTLY)
        assert await world.backups() == []
        assert await world.condition("Fresh") == ("False", "BackupOverdue")


async def drills(world: Clock) -> list[Resource]:
    return sorted(await world.store.list("Restore"), key=lambda one: (one.created, one.key))


@scenario
async def test_a_drill_that_gets_to_no_end_has_no_second_beside_it_and_is_complained_of(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(verify={"schedule": "0 4 * * *"})
        await world.look()
        await world.at("2026-03-01T02:00:00")
        await world.at("2026-03-01T02:00:01")
        await world.finish()
        await world.at("2026-03-01T04:00:00")
        (drill,) = await drills(world)
        assert drill.spec["verifyOnly"] is True
        assert drill.spec["target"] == {"databaseRef": {"name": "shop"}}
        assert await world.condition("Verified") == ("False", "NotVerified")
        await world.at("2026-03-02T04:00:00")
        assert [one.key for one in await drills(world)] == [drill.key]
        assert await world.condition("Verified") == ("False", "VerificationFailed")
        assert await world.condition("Ready") == ("True", "VerificationFailed")


@scenario
async def test_an_operator_that_only_reads_begins_no_drill(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(verify={"schedule": "0 4 * * *"})
        await world.look()
        await world.at("2026-03-01T02:00:00")
        await world.at("2026-03-01T02:00:01")
        await world.finish()
        controller = world.over(ReadOnlyStore(world.store))
        world.time = START + 3 * HOUR
        with pytest.raises(Blocked, match="did not: create Restore team/nightly-verify-"):
            await controller.reconcile(NIGHTLY)
        assert await drills(world) == []


@scenario
async def test_the_newest_drill_and_a_few_before_it_are_kept(tmp_path: Path) -> None:
    async with clock(tmp_path) as world:
        await world.schedule(verify={"schedule": "0 4 * * *"}, failedHistoryLimit=1)
        await world.look()
        await days(world, 1)
        phases = ["Failed", "Completed", "Completed", "Failed", "Completed", "Completed", "Failed"]
        for day, phase in enumerate(phases, 1):
            await world.at(f"2026-03-{day:02}T04:00:00")
            newest = (await drills(world))[-1]
            told = {"phase": phase, "completedAt": f"2026-03-{day:02}T04:01:00Z", "message": phase}
            await world.store.write_status(newest, told)
            await world.at(f"2026-03-{day:02}T04:02:00")
        left = [one.status["phase"] for one in await drills(world) if one.deleted is None]
        assert left == ["Completed", "Completed", "Completed", "Failed"]
        assert await world.condition("Verified") == ("False", "VerificationFailed")
        assert (await world.status())["lastVerifiedRestore"] == "2026-03-06T04:01:00Z"
