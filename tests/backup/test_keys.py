"""Which key a backup gets: never one that something lies at, and the same one when a run is tried again."""

import asyncio
from pathlib import Path

import pytest
from tests.controllers.world import scenario

from dbtether.backup.keys import claim, claim_key, release, with_run_id
from dbtether.backup.manifest import manifest_key
from dbtether.errors import InvalidSpec, Retryable
from dbtether.storage.folder import Folder

KEY = "pg/shop/daily.sql.gz"


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "backups")


def test_the_run_s_id_goes_before_the_suffix() -> None:
    assert with_run_id("a/b.c.sql.gz", "1234abcd") == "a/b.c-1234abcd.sql.gz"
    with pytest.raises(InvalidSpec):
        with_run_id("a/b", "1234abcd")


@scenario
async def test_a_run_keeps_its_key_when_it_is_tried_again(store: Folder) -> None:
    assert [await claim(store, KEY, "1") for _ in range(2)] == [KEY, KEY]


@pytest.mark.parametrize("there", [KEY, manifest_key(KEY)])
@scenario
async def test_a_key_with_something_at_it_is_left_alone(store: Folder, there: str) -> None:
    await store.put_if_absent(there, b"somebody's")
    assert await claim(store, KEY, "1") == "pg/shop/daily-1.sql.gz"
    assert [found.key for found in await store.list()] == [claim_key("pg/shop/daily-1.sql.gz"), there]
    assert await store.read(there, 100) == b"somebody's"


@scenario
async def test_of_many_runs_with_one_template_each_gets_a_key_of_its_own(store: Folder) -> None:
    found = await asyncio.gather(*(claim(store, KEY, str(number)) for number in range(20)))
    assert len(set(found)) == 20
    assert KEY in found


@scenario
async def test_a_key_that_was_given_back_can_be_had_again(store: Folder) -> None:
    await claim(store, KEY, "1")
    await release(store, KEY)
    assert await claim(store, KEY, "2") == KEY


@scenario
async def test_a_run_whose_every_key_is_taken_is_tried_again(store: Folder) -> None:
    await store.put_if_absent(KEY, b"x")
    await store.put_if_absent(with_run_id(KEY, "1"), b"x")
    with pytest.raises(Retryable, match="belongs to another run"):
        await claim(store, KEY, "1")
