"""What a Backup names: its Database, the server behind that, and its BackupStorage; each only by consent."""

from dataclasses import dataclass

from dbtether.api.backup import BackupSpec
from dbtether.api.backupstorage import BackupStoragePhase, BackupStorageSpec
from dbtether.api.database import DatabasePhase, DatabaseSpec, database_name
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.backuprun import DatabaseOnServer
from dbtether.controllers.base import Waiting, World, connected_server
from dbtether.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Storage:
    """A BackupStorage and the store behind it."""

    spec: BackupStorageSpec
    store: ObjectStore


async def backed_up_database(world: World, backup: Resource, spec: BackupSpec) -> DatabaseOnServer:
    """The database on its server. Raises Waiting until it may be and can be backed up, Retryable or Blocked."""
    namespace = spec.database_ref.namespace or backup.key.namespace
    key = Key("Database", namespace, spec.database_ref.name)
    database = await world.store.get(key)
    wanted = None if database is None else check(DatabaseSpec, key, database.spec)[0]
    is_own = namespace == backup.key.namespace
    if database is None or (not is_own and (wanted is None or not wanted.allows(namespace, backup.key.namespace))):
        # One sentence for both: a refusal does not tell whether the target exists.
        refused = "" if is_own else f' or does not allow the namespace "{backup.key.namespace}"'
        raise Waiting("DatabaseNotFound", f"{key} does not exist{refused}")
    if wanted is None or database.deleted is not None or database.status.get("phase") != DatabasePhase.READY:
        why = database.status.get("message")
        raise Waiting("DatabaseNotReady", f"{key} is not ready" + (f": {why}" if why else ""))
    cluster = wanted.cluster_ref.name
    _, server = await connected_server(world, cluster, backup.key.namespace)
    return DatabaseOnServer(key, cluster, database_name(wanted, key.name), server)


async def named_storage(world: World, backup: Resource, spec: BackupSpec) -> Storage:
    """The storage, opened. Raises Waiting until it may be used and is Ready, Retryable or Blocked."""
    name, namespace = spec.storage_ref.name, backup.key.namespace
    key = Key("BackupStorage", "", name)
    storage = await world.store.get(key)
    wanted = None if storage is None else check(BackupStorageSpec, key, storage.spec)[0]
    if storage is None or wanted is None or not wanted.allows(namespace, await world.namespace_labels(namespace)):
        raise Waiting(
            "StorageNotFound",
            f'BackupStorage "{name}" does not exist, is not valid, or does not admit the namespace "{namespace}"',
        )
    if storage.status.get("phase") != BackupStoragePhase.READY:
        why = storage.status.get("message")
        raise Waiting("StorageNotReady", f'BackupStorage "{name}" is not ready' + (f": {why}" if why else ""))
    return Storage(wanted, await world.storages.open(wanted))
