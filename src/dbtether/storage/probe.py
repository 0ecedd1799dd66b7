"""Finds out whether a store can be used: a small object is written, read, listed and deleted."""

import secrets
from dataclasses import dataclass

from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.folder import Folder
from dbtether.storage.store import ObjectStore

PROBES = "dbtether-probes"
"""The folder of probe objects; nothing else is ever put there."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What works, beside writing, reading and listing, which must."""

    can_delete: bool


async def validate(store: ObjectStore) -> Findings:
    """Write, read, list and delete a probe object. Raises StorageError where the first three fail.

    A refused deletion is a finding: buckets that keep everything (WORM) are good for backups, not for retention. An
    error names the folder: the object has another name each time, and the error would never be the same twice.
    """
    try:
        return await _probed(store)
    except StorageError as error:
        raise error.told_of(f"{store.url}/{PROBES}") from None


async def _probed(store: ObjectStore) -> Findings:
    key = f"{PROBES}/{secrets.token_hex(8)}"
    content = secrets.token_bytes(32)
    await store.put_if_absent(key, content)
    if isinstance(store, Folder):
        await store.sweep()
    try:
        if await store.read(key, 1024) != content:
            raise StorageError(Fault.REFUSED, "reading", f"{store.url}/{key}", "it is not what was written")
        if key not in {found.key for found in await store.list(PROBES)}:
            raise StorageError(Fault.REFUSED, "listing", f"{store.url}/{PROBES}", "what was written is not listed")
    finally:
        can_delete = await _deleted(store, key)
    return Findings(can_delete)


async def _deleted(store: ObjectStore, key: str) -> bool:
    try:
        await store.delete(key)
    except StorageError as error:
        if error.fault.passes:
            raise
        return False
    return True
