"""What a resource refers to, each only by the consent of what is referred to.

One sentence stands for "is not there" and "does not admit you": a refusal does not tell whether the target exists.
"""

from dbtether.api.backupstorage import BackupStoragePhase, BackupStorageSpec
from dbtether.api.database import DatabaseSpec
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.base import Waiting, World


async def admitting_database(world: World, key: Key, namespace: str) -> tuple[Resource, DatabaseSpec | None]:
    """The Database and its spec, None when that is not valid. Raises Waiting unless it admits the namespace."""
    database = await world.store.get(key)
    spec = None if database is None else check(DatabaseSpec, key, database.spec)[0]
    is_own = key.namespace == namespace
    if database is None or (not is_own and (spec is None or not spec.allows(key.namespace, namespace))):
        refused = "" if is_own else f' or does not allow the namespace "{namespace}"'
        raise Waiting("DatabaseNotFound", f"{key} does not exist{refused}")
    return database, spec


async def ready_storage(world: World, name: str, namespace: str) -> BackupStorageSpec:
    """The BackupStorage's spec. Raises Waiting until it is Ready and admits the namespace."""
    key = Key("BackupStorage", "", name)
    storage = await world.store.get(key)
    spec = None if storage is None else check(BackupStorageSpec, key, storage.spec)[0]
    if storage is None or spec is None or not spec.allows(namespace, await world.namespace_labels(namespace)):
        raise Waiting(
            "StorageNotFound",
            f'BackupStorage "{name}" does not exist, is not valid, or does not admit the namespace "{namespace}"',
        )
    if storage.status.get("phase") != BackupStoragePhase.READY:
        why = storage.status.get("message")
        raise Waiting("StorageNotReady", f'BackupStorage "{name}" is not ready' + (f": {why}" if why else ""))
    return spec
