"""The worlds that the store tests run in, and shorthand for what people do to them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtether.api.resource import Key, Resource
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import MemoryStore, OverlayStore
from dbtether.runtime.records import RecordStore


@dataclass(frozen=True)
class RecordWorld:
    """A world whose store offers people's writes itself."""

    store: RecordStore

    async def apply(self, key: Key, spec: Mapping[str, Any]) -> Resource:
        return await self.store.apply_resource(key, spec)

    async def delete(self, key: Key) -> Resource | None:
        return await self.store.request_deletion(key)


@contextmanager
def local_world(path: Path) -> Iterator[RecordWorld]:
    with LocalStore.open(path / "state") as store:
        yield RecordWorld(store)


@contextmanager
def overlay_world(path: Path) -> Iterator[RecordWorld]:
    with LocalStore.open(path / "state") as store:
        yield RecordWorld(OverlayStore(store))


@contextmanager
def memory_world(_: Path) -> Iterator[RecordWorld]:
    yield RecordWorld(MemoryStore(installation="test"))


WORLDS = {"local": local_world, "overlay": overlay_world, "memory": memory_world}
