"""Looks at what may not be there: a missing object is an answer, every other fault an error."""

from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.store import ObjectInfo, ObjectStore


async def find(store: ObjectStore, key: str) -> ObjectInfo | None:
    """The object as a listing shows it, None when there is none. Raises StorageError."""
    try:
        return await store.head(key)
    except StorageError as error:
        if error.fault is Fault.OBJECT_NOT_FOUND:
            return None
        raise


async def read_if_there(store: ObjectStore, key: str, limit_bytes: int) -> bytes | None:
    """A small object's content, None when there is none. Raises StorageError."""
    try:
        return await store.read(key, limit_bytes)
    except StorageError as error:
        if error.fault is Fault.OBJECT_NOT_FOUND:
            return None
        raise
