"""Stores that do not do what they should: each trouble is told apart, and nothing half-written is ever visible."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.controllers.world import scenario
from tests.kube.process import free_port
from tests.storage.fixtures import Place, StoreServers, bucket_of, new_bucket
from tests.storage.servers import SECRET, S3Server, s3_data
from tests.storage.test_conformance import MIB, broken, fault, keys
from tests.storage.wire import Wire

from dbtether.api.backupstorage import S3
from dbtether.errors import Blocked
from dbtether.storage.cloud import Limits, open_s3
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.probe import validate
from dbtether.storage.store import ObjectStore

IMPATIENT = Limits(connect_seconds=1, call_seconds=3, stall_seconds=3, retries=1, retry_seconds=3)


def impatient(place: Place, **changes: object) -> ObjectStore:
    return open_s3(S3.model_validate({**place.spec["s3"], **changes}), place.data, IMPATIENT)


async def filled(store: ObjectStore, key: str, mebibytes: int) -> None:
    async with store.writing(key) as writer:
        for _ in range(mebibytes):
            await writer.write(os.urandom(MIB))


# -- told apart ---------------------------------------------------------------------------------------


@scenario
async def test_a_bucket_that_is_missing_is_said_to_be_missing(cloud: Place) -> None:
    name = "container" if cloud.provider == "azure" else "bucket"
    store = cloud.open(**dict[str, Any]({name: "never-made"}))
    assert await fault(validate(store)) is Fault.BUCKET_NOT_FOUND
    assert await fault(filled(store, "a/b", 1)) is Fault.BUCKET_NOT_FOUND
    with pytest.raises(StorageError, match=r"never-made/.*the bucket, container or folder does not exist: create it"):
        await validate(store)


@scenario
async def test_a_listing_of_a_bucket_that_is_missing_is_an_error_and_not_empty(s3: S3Server) -> None:
    store = new_bucket(s3).open(bucket="never-made")
    assert await fault(store.list()) is Fault.BUCKET_NOT_FOUND


@scenario
async def test_a_folder_without_its_root_is_missing(tmp_path: Path) -> None:
    store = Place({"local": {"path": "x"}}, None, root=tmp_path / "unmounted").open()
    assert await fault(validate(store)) is Fault.BUCKET_NOT_FOUND
    assert await fault(store.list()) is Fault.BUCKET_NOT_FOUND


@scenario
async def test_an_account_without_rights_is_denied(s3: S3Server) -> None:
    store = new_bucket(s3).open(data=s3.make_account())
    assert await fault(validate(store)) is Fault.ACCESS_DENIED
    assert await fault(store.list()) is Fault.ACCESS_DENIED
    assert await fault(filled(store, "a/b", 1)) is Fault.ACCESS_DENIED


@scenario
async def test_a_store_that_keeps_everything_is_a_finding_and_no_failure(s3: S3Server) -> None:
    place, account = new_bucket(s3), s3.make_account()
    s3.allow(place.spec["s3"]["bucket"], account, "s3:PutObject", "s3:GetObject", "s3:ListBucket")
    store = place.open(data=account)
    assert not (await validate(store)).can_delete
    assert await fault(store.delete((await keys(store))[0])) is Fault.ACCESS_DENIED


@scenario
async def test_tags_are_left_out_where_they_are_refused(s3: S3Server) -> None:
    place, account = new_bucket(s3), s3.make_account()
    s3.allow(place.spec["s3"]["bucket"], account, "s3:PutObject", "s3:GetObject", "s3:ListBucket")
    store = place.open(data=account)
    tags = {"dbtether.io/backup-name": "nightly", "dbtether.io/created-by": "dbtether"}
    await store.put_if_absent("a/claim", b"x", tags)
    async with store.writing("a/data", tags=tags) as writer:
        await writer.write(b"x")
    assert await keys(store) == ["a/claim", "a/data"]


@pytest.mark.parametrize("data", [s3_data("AKIDROOT", "another-secret"), s3_data("AKIDNOBODY", SECRET)])
@scenario
async def test_wrong_keys_are_told_and_never_shown(s3: S3Server, data: dict[str, bytes]) -> None:
    store = new_bucket(s3).open(data=data)
    with pytest.raises(StorageError) as caught:
        await validate(store)
    assert caught.value.fault is Fault.CREDENTIALS_REFUSED
    told = repr(caught.value) + str(caught.value.__cause__) + str(caught.value.__suppress_context__)
    for secret in (*data.values(), SECRET.encode()):
        assert secret.decode() not in told
    assert "Signature=" not in told


@scenario
async def test_a_wrong_account_key_is_told_by_azure(store_servers: StoreServers) -> None:
    place = bucket_of(store_servers, "azure")
    store = place.open(data={"AZURE_STORAGE_ACCOUNT_KEY": b"d3Jvbmcga2V5IHRoYXQgbm9ib2R5IGhhcw=="})
    assert await fault(store.list()) in (Fault.CREDENTIALS_REFUSED, Fault.ACCESS_DENIED)


@scenario
async def test_a_wrong_region_is_told(s3: S3Server) -> None:
    store = new_bucket(s3).open(region="us-west-2")
    assert await fault(store.list()) is Fault.WRONG_REGION
    with pytest.raises(StorageError, match=r"correct spec\.s3\.region"):
        await validate(store)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{port}", "http://nowhere.invalid", "https://127.0.0.1:{s3}"])
@scenario
async def test_a_store_that_is_away_is_told_soon(s3: S3Server, endpoint: str) -> None:
    place = new_bucket(s3)
    url = endpoint.format(port=free_port(), s3=s3.port)
    began = time.monotonic()
    with pytest.raises(StorageError, match="the store cannot be reached: check the endpoint") as caught:
        await validate(impatient(place, endpoint=url))
    assert caught.value.fault is Fault.UNREACHABLE
    assert caught.value.fault.passes
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("provider", "data"),
    [
        ("s3", {}),
        ("s3", {"AWS_ACCESS_KEY_ID": b"AKID"}),
        ("s3", {"AWS_ACCESS_KEY_ID": b"\xff", "AWS_SECRET_ACCESS_KEY": b"s3cr3t"}),
        ("gcs", {}),
        ("gcs", {"GOOGLE_APPLICATION_CREDENTIALS_JSON": b"s3cr3t"}),
        ("gcs", {"GOOGLE_APPLICATION_CREDENTIALS_JSON": b'{"type": "external_account", "s3cr3t": 1}'}),
        ("gcs", {"GOOGLE_APPLICATION_CREDENTIALS_JSON": b'{"private_key": "s3cr3t"}'}),
        ("azure", {}),
        ("azure", {"AZURE_CLIENT_ID": b"id", "AZURE_CLIENT_SECRET": b"s3cr3t"}),
    ],
)
def test_a_secret_that_does_not_fit_says_which_key(provider: str, data: dict[str, bytes]) -> None:
    specs = {
        "s3": {"bucket": "abc", "region": "eu-west-1"},
        "gcs": {"bucket": "abc"},
        "azure": {"container": "abc", "storageAccount": "abc"},
    }
    with pytest.raises(Blocked) as caught:
        Place({provider: specs[provider]}, data).open()
    assert caught.value.reason == "SecretInvalid"
    assert "s3cr3t" not in caught.value.message


# -- nothing half-written -----------------------------------------------------------------------------


@scenario
async def test_a_network_cut_in_the_middle_leaves_nothing_visible(s3: S3Server) -> None:
    place = new_bucket(s3)
    async with Wire.opened(s3.port) as wire:
        store = impatient(place, endpoint=wire.endpoint)
        wire.cut_after(40 * MIB)
        assert await fault(filled(store, "a/b", 100)) is Fault.UNREACHABLE
        assert wire.carried < 90 * MIB
    assert await place.open().list() == ()


@scenario
async def test_a_server_that_dies_in_the_middle_leaves_nothing_visible(private_s3: S3Server) -> None:
    place = new_bucket(private_s3)
    store = impatient(place)
    writing = asyncio.create_task(filled(store, "a/b", 4000))
    await asyncio.sleep(1)
    private_s3.stop()
    assert await fault(writing) is Fault.UNREACHABLE
    private_s3.start()
    store = impatient(place)
    assert await store.list() == ()
    await filled(store, "a/b", 1)
    assert await keys(store) == ["a/b"]


@scenario
async def test_a_given_up_upload_is_given_up_at_once(s3: S3Server) -> None:
    place = new_bucket(s3)
    began = time.monotonic()
    with pytest.raises(RuntimeError):
        await broken(place.open(), "a/b", 100)
    assert time.monotonic() - began < 20
    assert await place.open().list() == ()


@scenario
async def test_a_cancelled_writer_leaves_nothing(place: Place) -> None:
    store = place.open()
    begun = asyncio.Event()

    async def write() -> None:
        async with store.writing("a/b") as writer:
            await writer.write(bytes(20 * MIB))
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.list() == ()


@scenario
async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    # A file larger than the process may write stands in for a disk without room.
    code = (
        "import asyncio, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from dbtether.storage.folder import Folder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "async def main():\n"
        "    async with Folder(Path(sys.argv[1]), 'x').writing('a/b') as writer:\n"
        "        await writer.write(bytes(2 << 20))\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "the store has no room left" in ran.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# -- a folder keeps to itself -------------------------------------------------------------------------


@scenario
async def test_links_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (root / "x").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("other people's")
    (root / "x" / "link").symlink_to(outside)
    (root / "x" / "file").symlink_to(outside / "secret")
    (root / "linked").symlink_to(outside)
    store = Place({"local": {"path": "x"}}, None, root=root).open()
    assert await store.list() == ()
    assert await fault(store.read("link/secret", 100)) is Fault.REFUSED
    assert await fault(store.read("file", 100)) is Fault.REFUSED
    assert await fault(filled(store, "link/new", 1)) is Fault.REFUSED
    assert await fault(store.delete("link/secret")) is Fault.REFUSED
    assert await fault(Place({"local": {"path": "linked"}}, None, root=root).open().list()) is Fault.REFUSED
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


@pytest.mark.parametrize("path", ["/etc", "/", "{root}2", "{root}/../outside"])
def test_a_folder_outside_the_root_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises((Blocked, ValueError), match="local"):
        Place({"local": {"path": path.format(root=root)}}, None, root=root).open()


def test_a_folder_without_a_root_is_refused() -> None:
    with pytest.raises(Blocked, match="--local-storage-root"):
        Place({"local": {"path": "/backups"}}, None).open()


@scenario
async def test_what_a_killed_writer_left_is_swept_later_and_a_living_one_keeps_its_file(tmp_path: Path) -> None:
    store = Place({"local": {"path": "x"}}, None, root=tmp_path).open()
    uploads = tmp_path / "x" / ".dbtether-uploads"
    async with store.writing("a/living") as writer:
        await writer.write(b"x")
        (uploads / "killed.part").write_bytes(b"left")
        (uploads / "young.part").write_bytes(b"left")
        hours_ago = time.time() - 7200
        for path in uploads.iterdir():
            if path.name != "young.part":
                os.utime(path, (hours_ago, hours_ago))
        await validate(store)
        assert sorted(path.name for path in uploads.iterdir() if path.name in ("killed.part", "young.part")) == [
            "young.part"
        ]
    assert await keys(store) == ["a/living"]


# -- memory -------------------------------------------------------------------------------------------

_MEASURED = """
import asyncio, os, resource, sys
from dbtether.api.backupstorage import S3
from dbtether.storage.cloud import open_s3
from tests.storage.servers import ACCESS, SECRET, s3_data
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
async def main():
    spec = S3.model_validate_json(sys.argv[1])
    store = open_s3(spec, s3_data(ACCESS, SECRET))
    await store.put_if_absent("warm", b"x")
    before, chunk = peak(), os.urandom(1 << 20)
    async with store.writing("big") as writer:
        for _ in range(int(sys.argv[2])):
            await writer.write(chunk)
    print(before, peak())
asyncio.run(main())
"""


def _memory(place: Place, endpoint: str, mebibytes: int) -> tuple[int, int]:
    spec = S3.model_validate({**place.spec["s3"], "endpoint": endpoint}).model_dump_json(by_alias=True)
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED, spec, str(mebibytes)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    before, after = ran.stdout.split()
    return int(before), int(after)


@scenario
async def test_memory_stays_flat_however_slow_the_store_and_however_large_the_object(s3: S3Server) -> None:
    place = new_bucket(s3)
    async with Wire.opened(s3.port, bytes_per_second=60 * MIB) as wire:
        before, after = await asyncio.to_thread(_memory, place, wire.endpoint, 500)
    assert after - before < 100, f"{before} MiB before, {after} MiB at most"
