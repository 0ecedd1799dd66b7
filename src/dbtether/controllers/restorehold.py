"""The hold beside an object that is being restored: retention, whoever's, leaves what has one."""

import contextlib
import json
import logging

from dbtether.api.resource import Resource
from dbtether.backup.catalog import HOLD_SUFFIX
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.store import ObjectStore

logger = logging.getLogger(__name__)

_HOLD_BYTES = 4096


def _content(installation: str) -> bytes:
    return json.dumps({"heldBy": f"restores of dbtether installation {installation}"}).encode()


async def hold(store: ObjectStore, key: str, installation: str) -> None:
    """Put a hold beside the object, unless somebody has; where none may be written, the restore goes on without."""
    try:
        await store.put_if_absent(f"{key}{HOLD_SUFFIX}", _content(installation))
    except StorageError as error:
        if error.fault is not Fault.OBJECT_EXISTS:
            logger.warning("%s/%s cannot be held while it is restored: %s", store.url, key, error)


async def let_go(store: ObjectStore, key: str, installation: str, others: tuple[Resource, ...]) -> None:
    """Take our own hold away, unless another Restore reads the same object; what cannot be deleted stays."""
    url = f"{store.url}/{key}"
    if any(other.status.get("sourcePath") == url and "completedAt" not in other.status for other in others):
        return
    with contextlib.suppress(StorageError):
        if await store.read(f"{key}{HOLD_SUFFIX}", _HOLD_BYTES) == _content(installation):
            await store.delete(f"{key}{HOLD_SUFFIX}")
