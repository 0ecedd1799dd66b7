"""The conformance suite over every Store that we keep ourselves, and the rules that only those have."""

import asyncio
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.store_conformance import DATABASE, SECRET, StoreConformance
from tests.runtime.worlds import WORLDS, RecordWorld

from dbtether.api.resource import Key, Secret
from dbtether.errors import StateError
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import MemoryStore, OverlayStore
from dbtether.runtime.records import FROM_MANIFEST_LABEL
from dbtether.runtime.store import EventType


class _Ours(StoreConformance):
    name = ""
    path: Path

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def open_world(self) -> AbstractContextManager[RecordWorld]:
        return WORLDS[self.name](self.path)


class TestLocalStore(_Ours):
    name = "local"


class TestOverlayStore(_Ours):
    name = "overlay"


class TestMemoryStore(_Ours):
    name = "memory"


class Phase(StrEnum):
    """Statuses are made of enums as often as of strings."""

    READY = "Ready"


def memory() -> MemoryStore:
    return MemoryStore(installation="test")


def test_the_generation_grows_with_the_spec_alone() -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {"a": 1}, {"team": "x"})
        labelled = await store.apply_resource(DATABASE, {"a": 1}, {"team": "y"}, {"note": "1"})
        changed = await store.apply_resource(DATABASE, {"a": 2}, {"team": "y"}, {"note": "1"})
        assert [r.generation for r in (created, labelled, changed)] == [1, 1, 2]
        assert labelled.labels == {"team": "y"}
        assert labelled.annotations == {"note": "1"}
        assert changed.uid == created.uid

    asyncio.run(main())


def test_a_repeated_request_for_deletion_changes_nothing() -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {"a": 1})
        await store.write_finalizers(created, ("one",))
        first = await store.request_deletion(DATABASE)
        assert first
        assert first.generation == 2
        assert await store.request_deletion(DATABASE) == first
        assert await store.request_deletion(Key("Database", "default", "absent")) is None

    asyncio.run(main())


def test_statuses_are_stored_as_plain_json_values() -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {})
        found = await store.write_status(created, {"phase": Phase.READY, "names": ("a", "b"), "n": 1.5})
        assert found.status == {"phase": "Ready", "names": ["a", "b"], "n": 1.5}
        assert type(found.status["phase"]) is str

    asyncio.run(main())


@pytest.mark.parametrize(
    "value",
    [datetime.now(UTC), {1, 2}, b"bytes", float("nan"), {1: "a"}, object()],
    ids=["time", "set", "bytes", "nan", "number as key", "object"],
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {})
        with pytest.raises(TypeError):
            await store.write_status(created, {"value": value})
        assert await store.get(DATABASE) == created

    asyncio.run(main())


def test_a_manifests_secret_is_created_updated_and_left_alone_when_equal() -> None:
    async def main() -> None:
        store = memory()
        first = await store.apply_secret("default", "admin", {"password": b"one"})
        same = await store.apply_secret("default", "admin", {"password": b"one"})
        second = await store.apply_secret("default", "admin", {"password": b"two"})
        assert first == same
        assert first.labels == {FROM_MANIFEST_LABEL: "true"}
        assert second.data == {"password": b"two"}
        assert [s.name for s in await store.list_secrets()] == ["admin"]

    asyncio.run(main())


def test_a_manifest_never_touches_a_generated_secret() -> None:
    async def main() -> None:
        store = memory()
        generated = await store.write_secret(SECRET)
        with pytest.raises(StateError, match="not made from a manifest"):
            await store.apply_secret(SECRET.namespace, SECRET.name, {"password": b"mine"})
        assert await store.get_secret(SECRET.namespace, SECRET.name) == generated

    asyncio.run(main())


def test_equal_events_in_a_row_are_counted_and_others_kept_apart() -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {})
        for reason in ("Waiting", "Waiting", "Created", "Waiting"):
            await store.record_event(created, EventType.NORMAL, reason, "a sentence")
        assert [(event.reason, event.count) for event in store.events(DATABASE)] == [
            ("Waiting", 2),
            ("Created", 1),
            ("Waiting", 1),
        ]

    asyncio.run(main())


def test_a_resources_events_are_bounded() -> None:
    async def main() -> None:
        store = memory()
        created = await store.apply_resource(DATABASE, {})
        for number in range(100):
            await store.record_event(created, EventType.WARNING, "Failed", f"attempt {number}")
        assert [event.message for event in store.events(DATABASE)][-1] == "attempt 99"
        assert len(store.events(DATABASE)) == 20

    asyncio.run(main())


def test_a_cancelled_write_is_finished_first_so_that_memory_and_files_agree(tmp_path: Path) -> None:
    async def main() -> None:
        with LocalStore.open(tmp_path / "state") as store:
            writing = asyncio.create_task(store.write_secret(SECRET))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait({writing})
            assert writing.cancelled()
            in_memory = await store.get_secret(SECRET.namespace, SECRET.name)
        with LocalStore.open(tmp_path / "state", read_only=True) as store:
            assert await store.get_secret(SECRET.namespace, SECRET.name) == in_memory
            assert in_memory is not None

    asyncio.run(main())


def test_an_overlay_reads_through_and_leaves_its_base_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        with LocalStore.open(tmp_path / "state") as base:
            kept = await base.apply_resource(DATABASE, {"a": 1})
            gone = Key("Database", "default", "gone")
            await base.apply_resource(gone, {"a": 1})
            secret = await base.write_secret(SECRET)
            before = _contents(tmp_path)

            overlay = OverlayStore(base)
            assert await overlay.get(DATABASE) == kept
            assert overlay.installation == base.installation
            await overlay.write_status(kept, {"phase": "Ready"})
            await overlay.apply_resource(Key("Database", "default", "added"), {})
            await overlay.request_deletion(gone)
            await overlay.delete_secret(secret)
            await overlay.apply_secret("default", "admin", {"password": b"x"})
            assert [r.key.name for r in await overlay.list("Database")] == ["added", "my-app"]
            assert await overlay.get(gone) is None
            assert [s.name for s in await overlay.list_secrets()] == ["admin"]

            assert await base.get(DATABASE) == kept
            assert [r.key.name for r in await base.list("Database")] == ["gone", "my-app"]
            assert await base.list_secrets() == (secret,)
            assert _contents(tmp_path) == before

    asyncio.run(main())


def test_a_secrets_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        with LocalStore.open(tmp_path / "state") as store:
            for name in ("../../escape", "a/b", "..", "", "UPPER", "a" * 251, "nul\0"):
                with pytest.raises(StateError, match="cannot be stored"):
                    await store.write_secret(Secret("default", name, {}))
                with pytest.raises(StateError, match="cannot be stored"):
                    await store.apply_resource(Key("Database", "default", name), {})
            with pytest.raises(StateError, match="cannot be stored"):
                await store.apply_resource(Key("Database", "_cluster", "a"), {})
            with pytest.raises(StateError, match="cannot be stored"):
                await store.apply_resource(Key("../x", "default", "a"), {})

    asyncio.run(main())


def _contents(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
