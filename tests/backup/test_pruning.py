"""Retention on real stores: what it deletes, what it never does, and what a crash leaves."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.backup.samples import INSTALLATION_KEY, manifest
from tests.controllers.world import scenario
from tests.storage.fixtures import Place

from dbtether.api.backupschedule import Retention
from dbtether.backup.catalog import Entry, State, catalog
from dbtether.backup.keys import claim
from dbtether.backup.manifest import Content, Origin, manifest_key, run_key, write_manifest
from dbtether.backup.pruning import Decision, Pruned, Rule, databases_of, decide, prune
from dbtether.backup.retention import DatabaseId, Policy
from dbtether.errors import Retryable
from dbtether.storage.errors import Fault, StorageError
from dbtether.storage.store import ObjectInfo, ObjectStore

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
NIGHTLY = "team/nightly"


def rule(database: str = "shop", schedule: str | None = NIGHTLY, last: int = 2, **changes: Any) -> Rule:
    policy = Policy(Retention.model_validate({"keepLast": last, "keepDaily": 0, "keepWeekly": 0, "keepMonthly": 0}))
    return Rule(schedule, DatabaseId("test", "pg", database), {schedule: policy}, **changes)


async def backup(
    store: ObjectStore,
    day: int,
    database: str = "shop",
    *,
    schedule: str | None = "nightly",
    key: bytes = INSTALLATION_KEY,
    taken: datetime | None = None,
    folder: str | None = None,
) -> str:
    """A small backup as a run leaves it; gives its key."""
    name = f"{folder or f'pg/{database}'}/202603{day:02}-020000.sql.gz"
    taken = taken or datetime(2026, 3, day, 2, tzinfo=UTC)
    sample = manifest()
    made = manifest(
        run_id=f"run{day:05}",
        key=name,
        origin=Origin(namespace="team", name="nightly", schedule=schedule),
        source=sample.source.model_copy(update={"database": database}),
        stored=Content(bytes=len(name), sha256="a" * 64),
        started_at=taken,
        snapshot_at=taken,
        finished_at=taken + timedelta(minutes=1),
    )
    await store.put_if_absent(name, name.encode())
    await store.put_if_absent(manifest_key(name), write_manifest(made, run_key(key, made.run_id)))
    return name


async def backups(store: ObjectStore, days: Iterable[int], database: str = "shop", **more: Any) -> list[str]:
    return [await backup(store, day, database, **more) for day in days]


async def seen(store: ObjectStore, folder: str = "") -> tuple[Entry, ...]:
    return await catalog(store, folder, INSTALLATION_KEY)


async def decided(store: ObjectStore, wanted: Rule, now: datetime = NOW) -> Decision:
    return decide(wanted, await seen(store), now)


async def pruned(store: ObjectStore, wanted: Rule, now: datetime = NOW) -> Pruned:
    return await prune(store, "", await decided(store, wanted, now))


async def keys(store: ObjectStore) -> list[str]:
    return [found.key for found in await store.list()]


def with_manifests(*names: str) -> list[str]:
    return sorted(key for name in names for key in (name, manifest_key(name)))


class Faulty:
    """A real store that one operation fails on: what a crash or a store in trouble does at that moment."""

    def __init__(
        self, store: ObjectStore, *, delete: str | None = None, fault: Fault = Fault.UNREACHABLE, list_: bool = False
    ) -> None:
        self._store, self._delete, self._fault, self._list = store, delete, fault, list_

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list(self, folder: str = "") -> tuple[ObjectInfo, ...]:
        if self._list:
            raise StorageError(Fault.BUSY, "listing", self._store.url)
        return await self._store.list(folder)

    async def delete(self, key: str) -> None:
        if key == self._delete:
            raise StorageError(self._fault, "deleting", key)
        await self._store.delete(key)


@scenario
async def test_object_and_manifest_go_together_and_the_rest_stays(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 6))
    other = await backups(store, [1], "shop2") + await backups(store, [1], "sho")
    by_hand = await backup(store, 7, schedule=None)
    weekly = await backup(store, 8, schedule="weekly")
    await store.put_if_absent("pg/shop/notes.txt", b"by hand")
    await store.put_if_absent("pg/shop/20200101-020000.sql.gz", b"of another tool")
    done = await pruned(store, rule())
    assert done == Pruned(tuple(names[:3])), "the oldest first"
    stays = with_manifests(*names[3:], *other, by_hand, weekly)
    assert await keys(store) == sorted([*stays, "pg/shop/20200101-020000.sql.gz", "pg/shop/notes.txt"])
    assert await pruned(store, rule()) == Pruned(()), "nothing to do a second time"


@scenario
async def test_names_that_begin_alike_are_different_databases_even_in_one_folder(place: Place) -> None:
    store = place.open()
    for day, name in enumerate(("db", "db2", "db-old", "db.old", "d"), start=1):
        await backups(store, (day, day + 10, day + 20), name, folder="all")
    before = await keys(store)
    done = await pruned(store, rule("db", last=1))
    assert done.deleted == ("all/20260301-020000.sql.gz", "all/20260311-020000.sql.gz")
    assert await keys(store) == [key for key in before if not key.startswith(done.deleted)]


@scenario
async def test_what_is_held_stays_whoever_holds_it(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 6))
    await store.put_if_absent(f"{names[0]}.hold", b"the auditors want it")
    decision = await decided(store, rule(held=(names[1],)))
    assert [judged.reasons for judged in decision.plan.kept][-2:] == [("held",), ("held",)]
    await store.put_if_absent(f"{names[2]}.hold", b"just now")
    assert (await prune(store, "", decision)).deleted == (), "a hold that comes after the decision counts, too"
    assert with_manifests(*names) == [key for key in await keys(store) if not key.endswith(".hold")]


@scenario
async def test_a_crash_between_the_two_deletions_is_finished_next_time(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 5))
    cut = await pruned(Faulty(store, delete=manifest_key(names[0])), rule())
    assert cut.deleted == ()
    assert cut.failure is not None
    assert manifest_key(names[0]) in await keys(store)
    assert names[0] not in await keys(store)
    assert (await pruned(store, rule())).deleted == (names[0], names[1])
    assert await keys(store) == with_manifests(*names[2:])


@scenario
async def test_an_object_that_may_not_go_keeps_no_other_and_a_store_in_trouble_ends_the_round(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 6))
    for fault in (Fault.UNREACHABLE, Fault.ACCESS_DENIED):
        done = await pruned(Faulty(store, delete=names[0], fault=fault), rule())
        assert done.failure is not None
        assert done.deleted == (() if fault is Fault.UNREACHABLE else (names[1], names[2]))
    assert await keys(store) == with_manifests(names[0], *names[3:])


@scenario
async def test_an_object_that_somebody_took_away_stays_told_of_while_the_rules_would_keep_it(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 4))
    await store.delete(names[1])
    assert (await pruned(store, rule(last=2))).deleted == ()
    states = {entry.key: entry.state for entry in await seen(store)}
    assert states[names[1]] is State.NO_OBJECT
    assert (await pruned(store, rule(last=0))).deleted == ()


@scenario
async def test_a_listing_that_fails_deletes_nothing(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 6))
    decision = await decided(store, rule())
    with pytest.raises(StorageError):
        await prune(Faulty(store, list_=True), "", decision)
    with pytest.raises(StorageError):
        await catalog(Faulty(store, list_=True), "", INSTALLATION_KEY)
    assert await keys(store) == with_manifests(*names)


@scenario
async def test_a_store_that_changed_meanwhile_is_decided_about_anew(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 6))
    decision = await decided(store, rule())
    await store.delete(names[-1])
    with pytest.raises(Retryable, match="was changed or deleted while retention decided: nothing was deleted"):
        await prune(store, "", decision)
    assert names[0] in await keys(store)
    newer = await backup(store, 9)
    fresh = await decided(store, rule())
    await backup(store, 10)
    await prune(store, "", fresh)
    assert newer in await keys(store), "a newer one that came meanwhile harms nobody"


@scenario
async def test_the_manifests_of_strangers_and_forgers_count_for_nothing(place: Place) -> None:
    store = place.open()
    names = await backups(store, (1, 2))
    forged = await backups(store, (20, 21, 22), key=b"x" * 32)
    assert (await pruned(store, rule())).deleted == ()
    assert databases_of(await seen(store), any_signature=False) == (DatabaseId("test", "pg", "shop"),)
    # As a person may say that there is no key any more to tell by.
    assert (await pruned(store, rule(any_signature=True))).deleted == (*names, forged[0])


@scenario
async def test_damaged_and_cut_off_backups_take_no_place_and_are_not_touched(place: Place) -> None:
    store = place.open()
    names = await backups(store, (1, 2, 3))
    await store.delete(names[2])
    await store.put_if_absent(names[2], b"short")
    moved = "pg/shop/20260304-020000.sql.gz"
    await store.put_if_absent(moved, b"moved")
    await store.put_if_absent(manifest_key(moved), await store.read(manifest_key(names[0]), 100_000))
    before = await keys(store)
    assert (await pruned(store, rule(last=2))).deleted == ()
    assert await keys(store) == before


@scenario
async def test_a_claim_that_the_run_left_goes_with_its_backup_and_nobody_elses(place: Place) -> None:
    store = place.open()
    first, second = "pg/shop/20260301-020000.sql.gz", "pg/shop/20260302-020000.sql.gz"
    await claim(store, first, "run00001")
    await claim(store, second, "another1")
    await backups(store, range(1, 5))
    assert (await pruned(store, rule())).deleted == (first, second)
    assert [key for key in await keys(store) if key.endswith(".claim.json")] == [f"{second}.claim.json"]


@scenario
async def test_clocks_that_jumped_take_no_place_and_lose_nothing(place: Place) -> None:
    store = place.open()
    names = await backups(store, (1, 2, 3))
    ahead = await backup(store, 28, taken=NOW + timedelta(days=400))
    assert (await pruned(store, rule(last=2))).deleted == (names[0],)
    # Our own clock jumps back by years: everything seems to be of the future, and stays.
    assert (await pruned(store, rule(last=1), NOW - timedelta(days=4000))).deleted == ()
    # Ahead by years: age deletes nothing.
    assert (await pruned(store, rule(last=3), NOW + timedelta(days=4000))).deleted == ()
    assert await keys(store) == with_manifests(*names[1:], ahead)


@scenario
async def test_most_of_many_go_only_when_the_number_is_confirmed(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 13))
    assert (await decided(store, rule())).plan.refusal is not None
    assert await pruned(store, rule()) == Pruned(())
    assert await pruned(store, rule(confirmed="9")) == Pruned(())
    assert (await pruned(store, rule(confirmed="10"))).deleted == tuple(names[:10])


@scenario
async def test_two_thousand_objects_are_all_seen(place: Place) -> None:
    store = place.open()
    names = await backups(store, range(1, 8))
    for number in range(1990):
        await store.put_if_absent(f"pg/shop/foreign-{number:04}.sql.gz", b"x")
    assert len(await store.list()) == 2004
    assert (await pruned(store, rule(last=4))).deleted == tuple(names[:3])
    assert len(await store.list()) == 1998
