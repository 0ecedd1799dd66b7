"""What is in a store, told from the store itself: no cluster and no state is needed for it."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from dbtether.api.templates import SUFFIXES
from dbtether.backup.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestInvalid,
    Trust,
    manifest_key,
    object_key,
    read_manifest,
)
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.lookup import find
from dbtether.storage.store import ObjectInfo, ObjectStore

HOLD_SUFFIX = ".hold"
"""An object of a dump's key and this suffix, whoever put it there, keeps the dump from retention."""
_AT_ONCE = 16


class State(StrEnum):
    """What an entry of a store is."""

    COMPLETE = "Complete"
    """A manifest, and an object of the size that it says."""
    NO_MANIFEST = "NoManifest"
    """A dump that is being written, was never completed, or comes from another tool."""
    NO_OBJECT = "NoObject"
    """A manifest whose object is gone."""
    WRONG_SIZE = "WrongSize"
    """An object of another size than its manifest says."""
    DAMAGED = "Damaged"
    """A manifest that cannot be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One dump, or what is left of it."""

    key: str
    state: State
    size: int | None
    """Of the object, in bytes; None when there is none."""
    last_modified: datetime
    manifest: Manifest | None = None
    trust: Trust = Trust.UNKNOWN
    problem: str | None = None
    is_held: bool = False
    """Whether somebody put a hold beside it."""

    @property
    def taken(self) -> datetime:
        """When the database was as the dump shows it; without a manifest, when the object was written."""
        return self.last_modified if self.manifest is None else self.manifest.snapshot_at


async def catalog(store: ObjectStore, folder: str = "", installation_key: bytes | None = None) -> tuple[Entry, ...]:
    """All dumps under a folder, the newest first; other files are passed over. Raises StorageError."""
    objects = {found.key: found for found in await store.list(folder)}
    dumps = {key for key in objects if key.endswith(SUFFIXES)}
    manifests = {described for key in objects if (described := object_key(key)) is not None}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def entry(key: str) -> Entry:
        found, told = objects.get(key), objects.get(manifest_key(key))
        if told is None:
            assert found is not None, "it is a manifest's or an object's key"
            return Entry(key, State.NO_MANIFEST, found.size, found.last_modified)
        async with gate:
            return await _described(store, key, found, told, installation_key)

    entries = [
        replace(found, is_held=f"{found.key}{HOLD_SUFFIX}" in objects)
        for found in await asyncio.gather(*(entry(key) for key in sorted(dumps | manifests)))
    ]
    return tuple(sorted(entries, key=lambda item: (item.taken, item.key), reverse=True))


async def read_entry(store: ObjectStore, key: str, installation_key: bytes | None = None) -> Entry:
    """The dump at one key. Raises StorageError when neither it nor its manifest is there."""
    found, told = await find(store, key), await find(store, manifest_key(key))
    if told is not None:
        return await _described(store, key, found, told, installation_key)
    if found is None:
        raise StorageError(Fault.OBJECT_NOT_FOUND, "looking at", f"{store.url}/{key}")
    return Entry(key, State.NO_MANIFEST, found.size, found.last_modified)


async def _described(
    store: ObjectStore, key: str, found: ObjectInfo | None, told: ObjectInfo, installation_key: bytes | None
) -> Entry:
    size, where = None if found is None else found.size, f"{store.url}/{manifest_key(key)}"
    try:
        content = await store.read(manifest_key(key), MAX_MANIFEST_BYTES)
        manifest, trust = read_manifest(content, where, installation_key)
        if manifest.key != key:
            raise ManifestInvalid(f"{where}: the manifest is that of {manifest.key}: somebody moved or copied it")
    except ManifestInvalid as error:
        return Entry(key, State.DAMAGED, size, told.last_modified, problem=str(error))
    state, problem = State.COMPLETE, None
    if size is None:
        state, problem = State.NO_OBJECT, f"{store.url}/{key} is gone, and its manifest is still there"
    elif size != manifest.stored.bytes:
        state = State.WRONG_SIZE
        problem = f"{store.url}/{key} has {size} bytes, and its manifest says {manifest.stored.bytes}"
    return Entry(key, state, size, told.last_modified, manifest, trust, problem)
