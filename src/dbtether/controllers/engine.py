"""The controllers put together over a store: what the command line and the operator both run."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbtether.controllers.backup import BackupController, BackupSettings
from dbtether.controllers.backupline import BackupLine
from dbtether.controllers.backupschedule import BackupScheduleController
from dbtether.controllers.backupstorage import BackupStorageController
from dbtether.controllers.base import World, ignore_rotation, name_label
from dbtether.controllers.database import DatabaseController
from dbtether.controllers.databaseuser import DatabaseUserController
from dbtether.controllers.dbcluster import DBClusterController
from dbtether.controllers.directory import Directory
from dbtether.controllers.executor import Applying, Executor
from dbtether.controllers.glance import StoreOfGlances
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.controllers.references import (
    references_of_backup,
    references_of_cluster,
    references_of_database,
    references_of_storage,
    references_of_user,
    schedule_of,
    with_rivals,
)
from dbtether.controllers.restore import RestoreController
from dbtether.controllers.rotation import OVERDUE_SPREAD
from dbtether.controllers.servers import Servers
from dbtether.controllers.storages import Storages
from dbtether.controllers.verified import VerifiedLogins
from dbtether.postgres.apply import Fence, no_fence
from dbtether.runtime.controller import ControlLoop, LoopSettings, OutcomeHook, Registration
from dbtether.runtime.jobs import Jobs
from dbtether.runtime.outcomes import RotationOutcome
from dbtether.runtime.store import Store


@dataclass(frozen=True, slots=True)
class Engine:
    """A control loop with its world."""

    loop: ControlLoop
    world: World


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened_engine(
    store: Store,
    *,
    executor: Executor | None = None,
    settings: LoopSettings | None = None,
    on_outcome: OutcomeHook | None = None,
    environment: Mapping[str, str] | None = None,
    secret_namespaces: frozenset[str] | None = None,
    now: Callable[[], datetime] = _utc_now,
    namespace_labels: Callable[[str], Awaitable[Mapping[str, str]]] = name_label,
    fence: Fence = no_fence,
    local_root: Path | None = None,
    own_folder: Path | None = None,
    on_rotation: Callable[[RotationOutcome], None] = ignore_rotation,
    overdue_spread: timedelta = OVERDUE_SPREAD,
    jobs: Jobs | None = None,
    backups: BackupSettings | None = None,
) -> AsyncIterator[Engine]:
    """An engine over the store; every server it opened is closed at the end.

    Backups and Restores are left alone where there are no `jobs` to do them.
    """
    directory = Directory()
    await directory.open(store)
    secrets = PlatformSecrets(store, secret_namespaces)
    executor = executor or Applying()
    servers = Servers(secrets, os.environ if environment is None else environment, fence)
    storages = Storages(secrets, local_root, executor.may_write, own_folder)
    world = World(
        StoreOfGlances(store),
        servers,
        storages,
        directory,
        executor,
        now,
        namespace_labels,
        wake=lambda key: loop.wake(key),
        verified_logins=VerifiedLogins(now),
        on_rotation=on_rotation,
        overdue_spread=overdue_spread,
    )
    registrations = [
        Registration("DBCluster", DBClusterController(world), references_of_cluster),
        Registration("Database", DatabaseController(world), with_rivals(references_of_database, directory)),
        Registration("DatabaseUser", DatabaseUserController(world), with_rivals(references_of_user, directory)),
        Registration("BackupStorage", BackupStorageController(world), references_of_storage),
    ]
    if jobs is not None or executor.only_plans:
        at_work, numbers = None if executor.only_plans else jobs, backups or BackupSettings()
        line = BackupLine(world.store, numbers.at_once)
        backup = BackupController(world, at_work, numbers, line)
        restore = RestoreController(world, at_work, numbers, line)
        registrations += [
            Registration("Backup", backup, backup.references, schedule_of),
            Registration("BackupSchedule", BackupScheduleController(world), references_of_backup),
            Registration("Restore", restore, restore.references, schedule_of),
        ]
    loop = ControlLoop(store, registrations, settings, on_outcome=on_outcome)
    if jobs is not None:
        jobs.subscribe(loop.wake)
    try:
        yield Engine(loop, world)
    finally:
        await servers.close_all()
