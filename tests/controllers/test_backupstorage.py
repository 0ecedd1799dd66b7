"""BackupStorages: whether the store can be used, told in the status, and who may name which Secret."""

import asyncio
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.world import SETTINGS, scenario
from tests.storage.fixtures import Place, new_bucket
from tests.storage.servers import S3Server, s3_data
from tests.storage.wire import Wire

from dbtether.api.resource import Key
from dbtether.controllers.engine import opened_engine
from dbtether.controllers.executor import Executor, ReadOnly, Recording
from dbtether.runtime.overlay import MemoryStore

KEY = Key("BackupStorage", "", "main")
SECRET = {"credentialsSecretRef": {"name": "keys", "namespace": "platform"}}


class Clock:
    """A clock that moves on by a minute at each look."""

    def __init__(self) -> None:
        self.minutes = 0

    def __call__(self) -> datetime:
        self.minutes += 1
        return datetime(2030, 1, 1, self.minutes // 60, self.minutes % 60, tzinfo=UTC)


class Storage:
    """One BackupStorage in a store of its own."""

    def __init__(self, root: Path | None = None) -> None:
        self.store = MemoryStore(installation="test")
        self.root = root
        self.now = Clock()

    async def settle(
        self, *, executor: Executor | None = None, secret_namespaces: frozenset[str] | None = None
    ) -> Mapping[str, Any]:
        """Let an engine work, and give the status."""
        async with opened_engine(
            self.store,
            executor=executor,
            settings=SETTINGS,
            local_root=self.root,
            now=self.now,
            secret_namespaces=secret_namespaces,
        ) as engine:
            await engine.loop.run_until_settled(30, retry_horizon_seconds=0.35)
        return await self.status()

    async def status(self) -> Mapping[str, Any]:
        resource = await self.store.get(KEY)
        assert resource is not None
        return resource.status

    async def apply(self, spec: Mapping[str, Any]) -> None:
        await self.store.apply_resource(KEY, spec)

    async def keys(self, data: Mapping[str, bytes]) -> None:
        await self.store.apply_secret("platform", "keys", data)


def condition(status: Mapping[str, Any], type_: str) -> tuple[str, str] | None:
    """Status and reason of a condition."""
    return next(((one["status"], one["reason"]) for one in status["conditions"] if one["type"] == type_), None)


@scenario
async def test_a_folder_that_works_is_ready(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": "backups"}})
    status = await storage.settle()
    assert (status["phase"], status["provider"]) == ("Ready", "local")
    assert status["message"] == f"file://{tmp_path}/backups can be used"
    assert condition(status, "Ready") == ("True", "Ready")
    assert condition(status, "Deletable") == ("True", "Ready")
    assert status["lastValidation"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@scenario
async def test_a_second_look_changes_no_status(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": "backups"}})
    await storage.settle()
    before = await storage.store.get(KEY)
    await storage.settle()
    assert await storage.store.get(KEY) == before


@scenario
async def test_a_second_look_at_a_store_that_cannot_be_used_changes_no_status(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "dbtether-probes").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    away = {"s3": {"bucket": "backups", "region": "eu-west-1", "endpoint": closed}, **SECRET}
    for spec, reason in (({"local": {"path": "backups"}}, "StorageRefused"), (away, "StorageUnreachable")):
        storage = Storage(tmp_path)
        await storage.keys({"AWS_ACCESS_KEY_ID": b"id", "AWS_SECRET_ACCESS_KEY": b"key"})
        await storage.apply(spec)
        assert condition(await storage.settle(), "Ready") == ("False", reason)
        before = await storage.store.get(KEY)
        await storage.settle()
        assert await storage.store.get(KEY) == before


@scenario
async def test_the_time_of_validation_moves_with_the_spec(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": "backups"}})
    before = (await storage.settle())["lastValidation"]
    await storage.apply({"local": {"path": "backups"}, "importPrefixes": [{"prefix": "old/", "namespaces": ["*"]}]})
    assert (await storage.settle())["lastValidation"] > before


@scenario
async def test_an_address_needs_no_word_about_the_path_style(s3: S3Server) -> None:
    place = new_bucket(s3)
    assert "//127.0.0.1:" in place.spec["s3"]["endpoint"]
    parts = {name: value for name, value in place.spec["s3"].items() if name != "forcePathStyle"}
    storage = Storage()
    await storage.keys(place.data or {})
    await storage.apply({"s3": parts, **SECRET})
    assert (await storage.settle())["phase"] == "Ready"


@scenario
async def test_a_bucket_with_keys_is_ready(place: Place) -> None:
    storage = Storage(place.root)
    await storage.keys(place.data or {})
    await storage.apply({**place.spec, **({} if place.data is None else SECRET)})
    status = await storage.settle()
    assert (status["phase"], status["provider"]) == ("Ready", place.provider)


@scenario
async def test_what_is_wrong_with_a_bucket_is_told(s3: S3Server) -> None:
    place, storage = new_bucket(s3), Storage()
    await storage.keys(place.data or {})
    for change, reason in (
        ({"bucket": "never-made"}, "BucketNotFound"),
        ({"region": "us-west-2"}, "WrongRegion"),
    ):
        await storage.apply({"s3": {**place.spec["s3"], **change}, **SECRET})
        status = await storage.settle()
        assert (status["phase"], status["provider"]) == ("Failed", "s3")
        assert condition(status, "Ready") == ("False", reason)
        assert condition(status, "Stalled") == ("True", reason)
        assert "lastValidation" not in status


@scenario
async def test_a_bucket_that_deletes_nothing_is_ready_with_a_condition(s3: S3Server) -> None:
    place, storage, account = new_bucket(s3), Storage(), s3.make_account()
    s3.allow(place.spec["s3"]["bucket"], account, "s3:PutObject", "s3:GetObject", "s3:ListBucket")
    await storage.keys(account)
    await storage.apply({**place.spec, **SECRET})
    status = await storage.settle()
    assert status["phase"] == "Ready"
    assert condition(status, "Deletable") == ("False", "DeleteRefused")


@scenario
async def test_a_missing_secret_and_a_wrong_one_are_told_and_a_right_one_wakes_it(s3: S3Server) -> None:
    place, storage = new_bucket(s3), Storage()
    await storage.apply({**place.spec, **SECRET})
    assert condition(await storage.settle(), "Ready") == ("False", "SecretNotFound")
    await storage.keys({"AWS_ACCESS_KEY_ID": b"x"})
    status = await storage.settle()
    assert condition(status, "Ready") == ("False", "SecretInvalid")
    assert status["message"] == "Secret platform/keys: no plain text under the key AWS_SECRET_ACCESS_KEY"
    await storage.keys(s3_data("AKIDROOT", "hunter2hunter2"))
    status = await storage.settle()
    assert condition(status, "Ready") == ("False", "StorageCredentialsRefused")
    assert "hunter2" not in str(status)
    async with opened_engine(storage.store, settings=SETTINGS) as engine:
        running = asyncio.create_task(engine.loop.run_forever())
        await asyncio.sleep(0.3)
        await storage.keys(place.data or {})
        for _ in range(100):
            if (await storage.status())["phase"] == "Ready":
                break
            await asyncio.sleep(0.05)
        running.cancel()
    assert (await storage.status())["phase"] == "Ready"


@scenario
async def test_a_secret_of_another_namespace_is_never_sent_anywhere(s3: S3Server) -> None:
    place, storage = new_bucket(s3), Storage()
    await storage.keys(place.data or {})
    async with Wire.opened(s3.port) as wire:
        await storage.apply({"s3": {**place.spec["s3"], "endpoint": wire.endpoint}, **SECRET})
        status = await storage.settle(secret_namespaces=frozenset({"operator"}))
        assert condition(status, "Ready") == ("False", "ReferenceNotAllowed")
        assert wire.carried == 0


@pytest.mark.parametrize("path", ["/etc", "{root}-other/x"])
@scenario
async def test_a_folder_outside_the_root_is_refused(tmp_path: Path, path: str) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": path.format(root=tmp_path)}})
    assert condition(await storage.settle(), "Ready") == ("False", "LocalStorageNotAllowed")


@scenario
async def test_without_a_root_no_folder_is_touched(tmp_path: Path) -> None:
    storage = Storage()
    await storage.apply({"local": {"path": str(tmp_path / "x")}})
    assert condition(await storage.settle(), "Ready") == ("False", "LocalStorageNotAllowed")
    assert list(tmp_path.iterdir()) == []


@scenario
async def test_neither_a_plan_nor_a_read_only_operator_writes_to_a_store(s3: S3Server, tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": "backups"}})
    assert (await storage.settle(executor=Recording()))["phase"] == "Ready"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "backups").mkdir()
    status = await storage.settle(executor=ReadOnly())
    assert status["message"] == f"file://{tmp_path}/backups can be listed"
    assert list((tmp_path / "backups").iterdir()) == []


@scenario
async def test_a_deleted_storage_goes_and_its_objects_stay(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    await storage.apply({"local": {"path": "backups"}})
    await storage.settle()
    (tmp_path / "backups" / "kept.sql").write_text("data")
    await storage.store.request_deletion(KEY)
    async with opened_engine(storage.store, settings=SETTINGS, local_root=tmp_path) as engine:
        await engine.loop.run_until_settled(30)
    assert await storage.store.get(KEY) is None
    assert (tmp_path / "backups" / "kept.sql").read_text() == "data"
