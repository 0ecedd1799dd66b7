"""Retention of one BackupSchedule: on its store, and of the Backups whose objects went."""

from collections.abc import Sequence
from dataclasses import dataclass

from dbtether.api.backupschedule import BackupScheduleSpec
from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.api.database import database_name
from dbtether.api.kinds import CONFIRM_PRUNE
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.backup.catalog import catalog
from dbtether.backup.pruning import Decision, Pruned, Rule, decide, prune
from dbtether.backup.retention import DatabaseId, Policy
from dbtether.controllers.base import Waiting, World
from dbtether.controllers.consent import admitting_database, ready_storage
from dbtether.controllers.glance import act
from dbtether.controllers.storages import database_folder
from dbtether.errors import Blocked, Retryable
from dbtether.storage.store import ObjectStore

_KEPT_TOLD = 50


@dataclass(frozen=True, slots=True)
class Target:
    """What a schedule backs up, and where to."""

    database: Key
    cluster: str
    name: str
    """In PostgreSQL."""
    storage: BackupStorageSpec


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention did."""

    decision: Decision
    pruned: Pruned
    store_url: str

    @property
    def urls(self) -> frozenset[str]:
        """Where the objects were that are gone."""
        return frozenset(f"{self.store_url}/{key}" for key in self.pruned.deleted)

    @property
    def status(self) -> dict[str, object]:
        """The schedule's status field."""
        kept = self.decision.plan.kept
        told = [{"name": judged.key, "reasons": list(judged.reasons)} for judged in kept[:_KEPT_TOLD]]
        return {"kept": told, "keptCount": len(kept), "deleted": len(self.pruned.deleted)}


async def schedule_target(world: World, schedule: Resource, spec: BackupScheduleSpec) -> Target:
    """What the schedule names. Raises Waiting until both are there and admit its namespace."""
    namespace = schedule.key.namespace
    key = spec.database_ref.key(namespace)
    database, wanted = await admitting_database(world, key, namespace)
    if wanted is None or database.deleted is not None:
        why = "not valid: see its status" if wanted is None else "being deleted"
        raise Waiting("DatabaseNotReady", f"{key} is {why}")
    storage = await ready_storage(world, spec.storage_ref.name, namespace)
    return Target(key, wanted.cluster_ref.name, database_name(wanted, key.name), storage)


async def retain(world: World, schedule: Resource, spec: BackupScheduleSpec, target: Target) -> Retained:
    """Delete what no schedule of the database keeps. Raises StorageError, Retryable or Blocked: nothing went then."""
    store: ObjectStore = await world.storages.open(target.storage)
    database = DatabaseId(world.store.installation, target.cluster, target.name)
    policies = await _policies(world, schedule, spec, target.database)
    rule = Rule(schedule.key.path, database, policies, schedule.annotations.get(CONFIRM_PRUNE))
    folder = database_folder(target.storage.path_template, target.cluster, target.name)
    decision = decide(rule, await catalog(store, folder, world.store.fingerprint_key), world.now())
    if decision.to_delete:
        act()
        if not world.executor.may_write:
            count = len(decision.to_delete)
            raise Blocked("ReadOnlyMode", f"The operator is in read-only mode and did not: delete {count} backups")
    return Retained(decision, await prune(store, folder, decision), store.url)


async def _policies(
    world: World, schedule: Resource, spec: BackupScheduleSpec, database: Key
) -> dict[str | None, Policy]:
    """Those of all schedules of the database. Raises Retryable when one of them cannot be read."""
    found: dict[str | None, Policy] = {schedule.key.path: Policy(spec.retention, spec.time_zone)}
    for other in await world.store.list("BackupSchedule"):
        if other.key == schedule.key:
            continue
        wanted = check(BackupScheduleSpec, other.key, other.spec)[0]
        if wanted is None and _names(other.spec, database.name):
            raise Retryable(
                "InvalidSpec", f"{other.key} is of the same database, and not valid: nothing is deleted until it is"
            )
        if wanted is not None and wanted.database_ref.key(other.key.namespace) == database:
            found[other.key.path] = Policy(wanted.retention, wanted.time_zone)
    return found


def _names(spec: object, database: str) -> bool:
    """Whether a spec that nobody could validate names a Database of this name."""
    reference = spec.get("databaseRef") if isinstance(spec, dict) else None
    return isinstance(reference, dict) and reference.get("name") == database


def gone_with(retained: Retained, paths: Sequence[tuple[Resource, str | None]]) -> tuple[Resource, ...]:
    """The Backups whose object retention deleted. Pure."""
    return tuple(backup for backup, path in paths if path in retained.urls)
