"""What every store does alike: a folder, S3, Google Cloud Storage and Azure Blob Storage."""

import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest
from tests.controllers.world import scenario
from tests.storage.fixtures import Place

from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.probe import PROBES, validate
from dbtether.storage.store import ObjectStore, check_key

MIB = 1024 * 1024


async def put(store: ObjectStore, *keys: str) -> None:
    for key in keys:
        await store.put_if_absent(key, key.encode())


async def keys(store: ObjectStore, folder: str = "") -> list[str]:
    return [found.key for found in await store.list(folder)]


async def content(store: ObjectStore, key: str) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key)])


async def fault(work: object) -> Fault:
    """The fault of what must fail."""
    with pytest.raises(StorageError) as caught:
        await work  # type: ignore[misc]
    return caught.value.fault


async def broken(store: ObjectStore, key: str, chunks: int) -> None:
    async with store.writing(key) as writer:
        for _ in range(chunks):
            await writer.write(bytes(MIB))
        raise RuntimeError("pg_dump was killed")


@scenario
async def test_what_was_put_is_read_seen_and_listed(place: Place) -> None:
    store = place.open()
    await store.put_if_absent("main/app/one.manifest.json", b"{}", {"dbtether.io/database": "app"})
    assert await content(store, "main/app/one.manifest.json") == b"{}"
    assert await store.read("main/app/one.manifest.json", 2) == b"{}"
    info = await store.head("main/app/one.manifest.json")
    assert (info.key, info.size) == ("main/app/one.manifest.json", 2)
    assert abs(datetime.now(UTC) - info.last_modified) < timedelta(minutes=5)
    listed = await store.list("main/app")
    assert [(found.key, found.size) for found in listed] == [("main/app/one.manifest.json", 2)]
    assert abs(listed[0].last_modified - info.last_modified) < timedelta(seconds=2)


@scenario
async def test_a_key_that_is_taken_stays_what_it_is(place: Place) -> None:
    store = place.open()
    await store.put_if_absent("a/claim", b"first")
    assert await fault(store.put_if_absent("a/claim", b"second")) is Fault.OBJECT_EXISTS
    assert await store.read("a/claim", 100) == b"first"


@scenario
async def test_an_object_that_is_missing_is_said_to_be_missing(place: Place) -> None:
    store = place.open()
    await put(store, "a/there")
    assert await fault(store.head("a/nowhere")) is Fault.OBJECT_NOT_FOUND
    assert await fault(store.read("a/nowhere", 10)) is Fault.OBJECT_NOT_FOUND
    assert await fault(content(store, "a/nowhere")) is Fault.OBJECT_NOT_FOUND
    with pytest.raises(StorageError, match="a/nowhere: the object does not exist: list what is there"):
        await store.head("a/nowhere")


@scenario
async def test_a_small_read_refuses_a_large_object(place: Place) -> None:
    store = place.open()
    await store.put_if_absent("a/large", bytes(101))
    assert await fault(store.read("a/large", 100)) is Fault.REFUSED


@scenario
async def test_deleting_is_done_when_it_is_gone_already(place: Place) -> None:
    store = place.open()
    await put(store, "a/one", "a/two")
    await store.delete("a/one")
    await store.delete("a/one")
    await store.delete("nothing/like/it")
    assert await keys(store) == ["a/two"]


@scenario
async def test_a_folder_never_matches_one_whose_name_begins_alike(place: Place) -> None:
    store = place.open()
    names = ["main/db/1.sql", "main/db-old/1.sql", "main/db.old/1.sql", "main/db2/1.sql", "main/db/sub/1.sql", "mai/db"]
    await put(store, *names)
    assert await keys(store, "main/db") == ["main/db/1.sql", "main/db/sub/1.sql"]
    assert await keys(store, "main/db2") == ["main/db2/1.sql"]
    assert await keys(store, "main/d") == []
    assert await keys(store, "mai") == ["mai/db"]
    assert await keys(store) == sorted(names)


@pytest.mark.parametrize(
    "key",
    [
        "main/a.b.c/x.sql.gz",
        "main/..a/b..",
        "main/-leading/_x",
        "main/with space/a+b=c&d",
        "main/percent%20/50%",
        "main/prüfung/д/日本",
        "main/#hash/?query",
        "main/[a]{b}/~'x'(1)*!",
    ],
)
@scenario
async def test_names_come_back_as_they_were_given(place: Place, key: str) -> None:
    store = place.open()
    await put(store, key)
    assert await keys(store, key.rpartition("/")[0]) == [key]
    assert await store.read(key, 1000) == key.encode()
    await store.delete(key)
    assert await keys(store) == []


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//x", "a/./x", "", "a/", "a\\..\\x", "a\nb", "x" * 1025])
@scenario
async def test_a_key_cannot_leave_the_store(place: Place, key: str) -> None:
    store = place.open()
    for work in (
        lambda: store.put_if_absent(key, b"x"),
        lambda: store.head(key),
        lambda: store.read(key, 10),
        lambda: content(store, key),
        lambda: store.delete(key),
    ):
        assert await fault(work()) is Fault.REFUSED
    with pytest.raises(StorageError, match="not a plain object key"):
        async with store.writing(key) as writer:
            await writer.write(b"x")
    if key:
        assert await fault(store.list(key)) is Fault.REFUSED
    assert await store.list() == ()


def test_a_plain_key_is_taken_as_it_is() -> None:
    assert check_key("a/b.c/d..e", "s3://bucket") == "a/b.c/d..e"


@scenario
async def test_a_large_object_is_written_in_parts_and_read_in_chunks(place: Place) -> None:
    store = place.open()
    sent, size = hashlib.sha256(), 0
    async with store.writing("main/app/big.sql", expected_bytes=40 * MIB) as writer:
        for _ in range(40):
            chunk = os.urandom(MIB + 17)
            sent.update(chunk)
            size += len(chunk)
            await writer.write(chunk)
    got = hashlib.sha256()
    async for chunk in store.stream("main/app/big.sql"):
        got.update(chunk)
    assert got.digest() == sent.digest()
    assert (await store.head("main/app/big.sql")).size == size


@scenario
async def test_a_short_stream_is_an_object_too(place: Place) -> None:
    store = place.open()
    async with store.writing("a/short", tags={"dbtether.io/database": "app"}) as writer:
        await writer.write(b"abc")
        await writer.write(b"")
        await writer.write(b"d")
    assert await content(store, "a/short") == b"abcd"


@scenario
async def test_nothing_is_visible_before_the_end(place: Place) -> None:
    store = place.open()
    async with store.writing("a/slowly") as writer:
        for _ in range(20):
            await writer.write(bytes(MIB))
        assert await store.list() == ()
        assert await fault(store.head("a/slowly")) is Fault.OBJECT_NOT_FOUND
    assert await keys(store) == ["a/slowly"]


@pytest.mark.parametrize("chunks", [0, 1, 40])
@scenario
async def test_nothing_is_visible_after_an_error(place: Place, chunks: int) -> None:
    store = place.open()
    with pytest.raises(RuntimeError, match="pg_dump was killed"):
        await broken(store, "a/broken", chunks)
    assert await store.list() == ()
    # The same key serves the next attempt.
    async with store.writing("a/broken") as writer:
        await writer.write(b"whole")
    assert await content(store, "a/broken") == b"whole"


@scenario
async def test_an_empty_object_is_refused(place: Place) -> None:
    store = place.open()
    with pytest.raises(StorageError, match="nothing was written"):
        async with store.writing("a/empty"):
            pass
    assert await store.list() == ()


@scenario
async def test_a_listing_is_whole_beyond_two_pages(place: Place) -> None:
    store = place.open()
    wanted = [f"main/app/{number:05}.sql" for number in range(2005)]
    await put(store, *wanted, "main/app2/other.sql")
    assert await keys(store, "main/app") == wanted


@scenario
async def test_a_store_that_works_passes_the_probe_and_keeps_nothing_of_it(place: Place) -> None:
    store = place.open()
    assert (await validate(store)).can_delete
    assert await keys(store, PROBES) == []
