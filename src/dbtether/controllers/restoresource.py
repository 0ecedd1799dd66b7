"""What a Restore reads: from what its spec names to one object of one store, each only by consent.

One sentence stands for "is not there" and "is not yours to read": a refusal does not tell whether it exists. Whose
data an object holds is told by its manifest, and only where this installation has signed it; any other object is
restored from `importPrefixes` alone.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from dbtether.api.backup import BackupSpec, RunPhase
from dbtether.api.backupstorage import BackupStoragePhase, BackupStorageSpec
from dbtether.api.database import DatabaseSpec, database_name
from dbtether.api.resource import Key, Resource
from dbtether.api.restore import BackupRef, LatestFrom, RestoreSpec
from dbtether.api.validation import check
from dbtether.backup.catalog import Entry, State, catalog, read_entry
from dbtether.backup.manifest import Manifest, Trust
from dbtether.controllers.backuptarget import Storage
from dbtether.controllers.base import Waiting, World
from dbtether.controllers.consent import admitting_database, ready_storage
from dbtether.controllers.directory import database_keys
from dbtether.controllers.storages import database_folder, failure_of
from dbtether.errors import Blocked
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.store import check_key

_AGAIN_SECONDS = 60.0
"""What wakes nobody by itself, such as a Database that is named by a Backup of another namespace."""


@dataclass(frozen=True, slots=True)
class Source:
    """One object, and what is known of it."""

    storage: Storage
    key: str
    manifest: Manifest | None
    """None for an object of another tool, or whose manifest cannot be read."""
    is_ours: bool
    """Whether this installation signed the manifest: only then is it believed."""

    @property
    def url(self) -> str:
        """Where the object is."""
        return f"{self.storage.store.url}/{self.key}"


async def find_source(world: World, restore: Resource, spec: RestoreSpec) -> Source:
    """The object that the spec names. Raises Waiting, Retryable or Blocked while there is none that may be read."""
    source, namespace = spec.source, restore.key.namespace
    if source.backup_ref is not None:
        return await _of_backup(world, namespace, source.backup_ref)
    if source.latest_from is not None:
        return await _latest(world, namespace, source.latest_from)
    assert source.path is not None, "exactly one source is valid"
    assert source.storage_ref is not None, "a path has its storage"
    storage = await _storage(world, source.storage_ref.name, namespace)
    return await _readable(world, namespace, storage, object_key_of(source.path, storage.store.url))


async def source_again(world: World, restore: Resource, spec: RestoreSpec, url: str) -> Source:
    """The object that a run has begun with: the newest one of a Database may be another one by now.

    Raises Waiting, Retryable or Blocked.
    """
    for name in await _storage_names(world, restore.key.namespace, spec):
        storage = await _storage(world, name, restore.key.namespace)
        if url.startswith(f"{storage.store.url}/"):
            return await _readable(world, restore.key.namespace, storage, url.removeprefix(f"{storage.store.url}/"))
    raise Blocked("RestoreFailed", f"The storage is another one than at the run's start ({url})")


def object_key_of(path: str, store_url: str) -> str:
    """The key that a path names, be it a key or a whole URL. Raises Blocked for that of another bucket."""
    key = path
    if "://" in path:
        if not path.startswith(f"{store_url}/"):
            raise Blocked(
                "SourceNotAllowed", f"spec.source.path: it is not in {store_url}, the place of spec.source.storageRef"
            )
        key = path.removeprefix(f"{store_url}/")
    key = "/".join(part for part in key.split("/") if part)
    try:
        return check_key(key, store_url)
    except StorageError:
        raise Blocked("SourceNotAllowed", "spec.source.path: not a plain object key") from None


# -- a Backup


async def _of_backup(world: World, namespace: str, ref: BackupRef) -> Source:
    key = Key("Backup", ref.namespace or namespace, ref.name)
    backup = await world.store.get(key)
    spec = None if backup is None else check(BackupSpec, key, backup.spec)[0]
    is_own = key.namespace == namespace
    if backup is None or spec is None:
        raise _no_backup(key, namespace)
    if not is_own:
        database = Key("Database", spec.database_ref.namespace or key.namespace, spec.database_ref.name)
        try:
            await admitting_database(world, database, namespace)
        except Waiting:
            raise _no_backup(key, namespace) from None
    path = backup.status.get("path")
    if backup.status.get("phase") != RunPhase.COMPLETED or not isinstance(path, str):
        raise Waiting(
            "BackupNotReady", f"{key} is not complete: {backup.status.get('message') or 'it has not run yet'}"
        )
    storage = await _storage(world, spec.storage_ref.name, namespace)
    if not path.startswith(f"{storage.store.url}/"):
        raise Blocked("RestoreFailed", f"The storage of {key} is another one than when it was taken ({path})")
    source = await _readable(world, namespace, storage, path.removeprefix(f"{storage.store.url}/"))
    recorded = backup.status.get("sha256")
    if source.manifest is not None and recorded not in (None, source.manifest.stored.sha256):
        raise Blocked("SourceDamaged", f"{source.url} is not what {key} wrote: its manifest was replaced")
    return source


def _no_backup(key: Key, namespace: str) -> Waiting:
    refused = "" if key.namespace == namespace else f' or its Database does not allow the namespace "{namespace}"'
    return Waiting("BackupNotFound", f"{key} does not exist{refused}", again_seconds=_AGAIN_SECONDS)


# -- the newest one


async def _latest(world: World, namespace: str, latest: LatestFrom) -> Source:
    database = Key("Database", latest.namespace or namespace, latest.database_ref.name)
    if database.namespace != namespace:
        await admitting_database(world, database, namespace)
    found: list[tuple[Storage, Entry]] = []
    async for storage in _storages_of(world, database, namespace):
        try:
            entries = await catalog(storage.store, await _folder(world, database, storage), world.store.fingerprint_key)
        except StorageError as error:
            raise failure_of(error) from None
        found += [(storage, entry) for entry in entries if _is_good(entry, database)]
    if not found:
        raise Waiting(
            "BackupNotFound",
            f"There is no complete backup of {database} in a BackupStorage that this namespace may use",
            again_seconds=_AGAIN_SECONDS,
        )
    storage, newest = max(found, key=lambda item: (item[1].taken, item[1].key))
    return Source(storage, newest.key, newest.manifest, is_ours=True)


def _is_good(entry: Entry, database: Key) -> bool:
    """Whether it is a complete backup of this very Database that this installation took."""
    manifest = entry.manifest
    if manifest is None or entry.state is not State.COMPLETE or entry.trust is not Trust.OURS:
        return False
    return (manifest.source.namespace, manifest.source.resource) == (database.namespace, database.name)


async def _storages_of(world: World, database: Key, namespace: str) -> AsyncIterator[Storage]:
    """Those that Backups and schedules of the Database name; where none does, all that the namespace may use."""
    named = await _named_storages(world, database)
    for storage in await world.store.list("BackupStorage"):
        if named and storage.key.name not in named:
            continue
        spec = check(BackupStorageSpec, storage.key, storage.spec)[0]
        if spec is None or not spec.allows(namespace, await world.namespace_labels(namespace)):
            continue
        if not named and storage.status.get("phase") != BackupStoragePhase.READY:
            continue
        yield await _storage(world, storage.key.name, namespace)


async def _named_storages(world: World, database: Key) -> frozenset[str]:
    names: set[str] = set()
    for kind in ("Backup", "BackupSchedule"):
        for resource in await world.store.list(kind):
            name = _name_at(resource.spec, "storageRef")
            if name is not None and database in database_keys(resource):
                names.add(name)
    return frozenset(names)


async def _folder(world: World, database: Key, storage: Storage) -> str:
    """Where its backups are in the storage; everything, when the Database is gone and nothing tells."""
    resource = await world.store.get(database)
    spec = None if resource is None else check(DatabaseSpec, database, resource.spec)[0]
    if spec is None:
        return ""
    return database_folder(storage.spec.path_template, spec.cluster_ref.name, database_name(spec, database.name))


# -- any object


async def _readable(world: World, namespace: str, storage: Storage, key: str) -> Source:
    """The object, if the namespace may read it. Raises Retryable or Blocked."""
    store = storage.store
    try:
        entry: Entry | None = await read_entry(store, key, world.store.fingerprint_key)
    except StorageError as error:
        if error.fault is not Fault.OBJECT_NOT_FOUND:
            raise failure_of(error) from None
        entry = None
    is_ours = entry is not None and entry.trust is Trust.OURS and entry.manifest is not None
    if entry is not None and is_ours:
        await _refuse_without_consent(world, namespace, entry, f"{store.url}/{key}")
    elif not storage.spec.may_import(namespace, key):
        raise _refusal(f"{store.url}/{key}", namespace)
    if entry is None or entry.state is State.NO_OBJECT:
        raise Blocked("ObjectNotFound", f"There is no object {store.url}/{key}")
    if entry.state is State.WRONG_SIZE:
        raise Blocked("SourceDamaged", entry.problem or f"{store.url}/{key} has another size than its manifest says")
    return Source(storage, key, entry.manifest, is_ours)


async def _refuse_without_consent(world: World, namespace: str, entry: Entry, url: str) -> None:
    """Raises Blocked unless the Database that was backed up admits the namespace."""
    assert entry.manifest is not None, "it is signed"
    source = entry.manifest.source
    if source.namespace == namespace:
        return
    try:
        await admitting_database(world, Key("Database", source.namespace, source.resource), namespace)
    except Waiting:
        raise _refusal(url, namespace) from None


def _refusal(url: str, namespace: str) -> Blocked:
    return Blocked(
        "SourceNotAllowed",
        f'{url} does not exist, or the namespace "{namespace}" may not restore it: a backup of dbtether needs the '
        "consent of its Database (spec.allowedNamespaces), anything else a prefix in the BackupStorage's "
        "spec.importPrefixes",
    )


async def _storage(world: World, name: str, namespace: str) -> Storage:
    wanted = await ready_storage(world, name, namespace)
    return Storage(wanted, await world.storages.open(wanted))


async def _storage_names(world: World, namespace: str, spec: RestoreSpec) -> tuple[str, ...]:
    """The storages that a run's object may be in."""
    source = spec.source
    if source.storage_ref is not None:
        return (source.storage_ref.name,)
    if source.backup_ref is not None:
        backup = await world.store.get(Key("Backup", source.backup_ref.namespace or namespace, source.backup_ref.name))
        name = None if backup is None else _name_at(backup.spec, "storageRef")
        if name is not None:
            return (name,)
    # Whoever was named is gone by now.
    names = [storage.key.name for storage in await world.store.list("BackupStorage")]
    admitted = await asyncio.gather(*(_admits(world, name, namespace) for name in names))
    return tuple(name for name, admits in zip(names, admitted, strict=True) if admits)


async def _admits(world: World, name: str, namespace: str) -> bool:
    try:
        await ready_storage(world, name, namespace)
    except Waiting:
        return False
    return True


def _name_at(spec: Any, field: str) -> str | None:
    part = spec.get(field)
    name = part.get("name") if isinstance(part, dict) else None
    return name if isinstance(name, str) else None
