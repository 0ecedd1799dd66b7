"""What a Backup names: its Database, the server behind that, and its BackupStorage; each only by consent."""

from dataclasses import dataclass

from dbtether.api.backup import BackupSpec
from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.api.database import DatabasePhase, database_name
from dbtether.api.resource import Resource
from dbtether.controllers.backuprun import DatabaseOnServer
from dbtether.controllers.base import Waiting, World, connected_server
from dbtether.controllers.consent import admitting_database, ready_storage
from dbtether.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Storage:
    """A BackupStorage and the store behind it."""

    spec: BackupStorageSpec
    store: ObjectStore


async def backed_up_database(world: World, backup: Resource, spec: BackupSpec) -> DatabaseOnServer:
    """The database on its server. Raises Waiting until it may be and can be backed up, Retryable or Blocked."""
    key = spec.database_ref.key(backup.key.namespace)
    database, wanted = await admitting_database(world, key, backup.key.namespace)
    if wanted is None or database.deleted is not None or database.status.get("phase") != DatabasePhase.READY:
        why = database.status.get("message")
        raise Waiting("DatabaseNotReady", f"{key} is not ready" + (f": {why}" if why else ""))
    cluster = wanted.cluster_ref.name
    _, server = await connected_server(world, cluster, backup.key.namespace)
    return DatabaseOnServer(key, cluster, database_name(wanted, key.name), server)


async def named_storage(world: World, backup: Resource, spec: BackupSpec) -> Storage:
    """The storage, opened. Raises Waiting until it may be used and is Ready, Retryable or Blocked."""
    wanted = await ready_storage(world, spec.storage_ref.name, backup.key.namespace)
    return Storage(wanted, await world.storages.open(wanted))
