"""Which key a backup's object gets: the template's, or with the run's id where that one is taken."""

import json
from collections.abc import Mapping

from dbtether.backup.formats import format_of
from dbtether.backup.manifest import manifest_key
from dbtether.errors import Retryable
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.lookup import find, read_if_there
from dbtether.storage.store import ObjectStore

CLAIM_SUFFIX = ".claim.json"
_CLAIM_BYTES = 4096


def claim_key(key: str) -> str:
    """The small object that says which run a key belongs to, before there is anything else."""
    return f"{key}{CLAIM_SUFFIX}"


def with_run_id(key: str, run_id: str) -> str:
    """The key with the run's id before its suffix. Raises InvalidSpec for a key without a format."""
    suffix = format_of(key).value
    return f"{key.removesuffix(suffix)}-{run_id}{suffix}"


async def claim(store: ObjectStore, key: str, run_id: str, tags: Mapping[str, str] | None = None) -> str:
    """The key that is this run's from now on, also when the run is tried again.

    A store that refuses the `tags` is found out by this small object, not at the end of a long upload.

    A key is taken when another run claimed it, or something lies there that no claim tells of. Raises
    StorageError, and Retryable when even the key with the run's id is somebody else's.
    """
    for candidate in (key, with_run_id(key, run_id)):
        if await _take(store, candidate, run_id, tags):
            return candidate
    raise Retryable("BackupFailed", f"{store.url}/{with_run_id(key, run_id)} belongs to another run; trying again")


async def release(store: ObjectStore, key: str) -> None:
    """Take the claim away, once a manifest says whose the object is. Raises StorageError."""
    await store.delete(claim_key(key))


async def release_of(store: ObjectStore, key: str, run_id: str) -> None:
    """Take the claim away if it is there and this run's: what a run that was cut off left. Raises StorageError."""
    content = await read_if_there(store, claim_key(key), _CLAIM_BYTES)
    if content == _claim_content(run_id):
        await store.delete(claim_key(key))


def _claim_content(run_id: str) -> bytes:
    return json.dumps({"runId": run_id}).encode()


async def _take(store: ObjectStore, key: str, run_id: str, tags: Mapping[str, str] | None) -> bool:
    content = _claim_content(run_id)
    try:
        await store.put_if_absent(claim_key(key), content, tags)
    except StorageError as error:
        if error.fault is not Fault.OBJECT_EXISTS:
            raise
        return await store.read(claim_key(key), _CLAIM_BYTES) == content
    # Claimed now; what lies there without a claim is complete, or not ours to touch.
    if await find(store, key) is None and await find(store, manifest_key(key)) is None:
        return True
    await store.delete(claim_key(key))
    return False
