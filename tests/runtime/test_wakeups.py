"""Wake-ups: which change in the store makes which resource be looked at."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from tests.runtime.scripted import DATABASE, FAST, USER, Act, Scripted, in_turn, run

from dbtether.api.resource import Key, Resource, Secret
from dbtether.runtime.controller import ControlLoop, Registration
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.reconcile import Done, Outcome

CREDENTIALS = Key("Secret", "default", "user-credentials")


def references_of_user(user: Resource) -> Iterable[Key]:
    yield Key("Database", user.key.namespace, user.spec["databaseRef"])
    yield CREDENTIALS


@dataclass
class Pair:
    """A database and a user that references it and a Secret, all settled."""

    store: MemoryStore
    database: Scripted
    user: Scripted
    loop: ControlLoop

    @classmethod
    async def settled(cls, act_on_user: Act | None = None) -> "Pair":
        store = MemoryStore(installation="test")
        database = Scripted(in_turn(Done()))
        user = Scripted(act_on_user or in_turn(Done()))
        registrations = [
            Registration("Database", database),
            Registration("DatabaseUser", user, references_of_user),
        ]
        pair = cls(store, database, user, ControlLoop(store, registrations, FAST))
        await store.apply_resource(USER, {"databaseRef": "db"})
        await pair.woken()
        return pair

    async def woken(self) -> list[Key]:
        """Settle, and tell what was reconciled meanwhile."""
        await self.loop.run_until_settled(10)
        calls = self.database.calls + self.user.calls
        self.database.calls.clear()
        self.user.calls.clear()
        return calls


def test_a_resource_that_appears_wakes_those_that_waited_for_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(DATABASE, {})
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_a_status_wakes_those_that_reference_the_resource_and_not_itself() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.write_status(database, {"phase": "Ready"})
        assert await pair.woken() == [USER]

    run(main)


def test_a_resource_wakes_what_it_belongs_to_but_not_over_what_that_has_written() -> None:
    async def main() -> None:
        store = MemoryStore(installation="test")

        async def write(_: Key) -> Outcome:
            child = await store.get(USER)
            assert child is not None
            await store.write_annotation(child, "written", "1")
            return Done()

        child, parent = Scripted(in_turn(Done())), Scripted(write)
        registrations = [
            Registration("Database", parent),
            Registration("DatabaseUser", child, wakes=lambda change: [DATABASE] if change.new else []),
        ]
        loop = ControlLoop(store, registrations, FAST)
        user = await store.apply_resource(USER, {})
        await store.apply_resource(DATABASE, {})
        await loop.run_until_settled(10)
        assert (parent.calls, child.calls) == ([DATABASE], [USER, USER])
        user = await store.get(USER) or user
        await store.write_status(user, {"phase": "Completed"})
        await loop.run_until_settled(10)
        assert (len(parent.calls), len(child.calls)) == (2, 2)
        await store.request_deletion(USER)
        await loop.run_until_settled(10)
        assert (len(parent.calls), len(child.calls)) == (2, 3)

    run(main)


def test_finalizers_wake_the_resource_itself_alone() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.write_finalizers(database, ("one",))
        assert await pair.woken() == [DATABASE]

    run(main)


def test_spec_annotations_labels_and_deletion_wake_the_resource_itself() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        for change in (
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}),
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}, {"team": "x"}),
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}, {}, {"note": "x"}),
            pair.store.request_deletion(USER),
        ):
            await change
            assert await pair.woken() == [USER]

    run(main)


def test_a_secret_that_comes_changes_or_goes_wakes_those_that_reference_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        secret = await pair.store.write_secret(Secret(CREDENTIALS.namespace, CREDENTIALS.name, {"a": b"1"}))
        assert await pair.woken() == [USER]
        secret = await pair.store.write_secret(replace(secret, data={"a": b"2"}))
        assert await pair.woken() == [USER]
        await pair.store.delete_secret(secret)
        assert await pair.woken() == [USER]

    run(main)


def test_a_removed_resource_wakes_those_that_reference_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.request_deletion(DATABASE)
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_what_waits_for_its_deletion_is_woken_when_its_last_user_is_gone() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.store.write_finalizers(database, ("dbtether.io/finalizer",))
        await pair.woken()
        await pair.store.request_deletion(USER)
        assert await pair.woken() == [USER]
        await pair.store.apply_resource(USER, {"databaseRef": "db"})
        await pair.store.request_deletion(DATABASE)
        await pair.woken()
        await pair.store.request_deletion(USER)
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_a_changed_reference_is_followed() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(USER, {"databaseRef": "other"})
        await pair.woken()
        await pair.store.apply_resource(DATABASE, {})
        assert await pair.woken() == [DATABASE]
        other = Key("Database", "default", "other")
        await pair.store.apply_resource(other, {})
        assert await pair.woken() == [other, USER]

    run(main)


def test_what_a_reconcile_writes_does_not_wake_its_own_key() -> None:
    async def main() -> None:
        stores: list[MemoryStore] = []

        async def act(key: Key) -> Outcome:
            if stores:
                user = await stores[0].get(key)
                assert user
                held = await stores[0].write_finalizers(user, ("dbtether.io/finalizer",))
                assert held
                await stores[0].write_secret(Secret(CREDENTIALS.namespace, CREDENTIALS.name, {"a": b"1"}))
                await stores[0].write_status(held, {"phase": "Ready"})
            return Done()

        pair = await Pair.settled(act)
        stores.append(pair.store)
        pair.loop.wake(USER)
        assert await pair.woken() == [USER]

    run(main)


def test_a_change_by_somebody_else_during_a_reconcile_is_looked_at_afterwards() -> None:
    async def main() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act(_: Key) -> Outcome:
            begun.set()
            await go_on.wait()
            return Done()

        store = MemoryStore(installation="test")
        await store.apply_resource(DATABASE, {})
        reconciler = Scripted(act)
        loop = ControlLoop(store, [Registration("Database", reconciler)], FAST)
        running = asyncio.create_task(loop.run_until_settled(10))
        await begun.wait()
        await store.apply_resource(DATABASE, {"changed": True})
        go_on.set()
        await running
        assert reconciler.calls == [DATABASE, DATABASE]

    run(main)


def test_a_spec_whose_references_cannot_be_read_is_still_stored_and_reconciled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(USER, {"nonsense": 1})
        assert await pair.woken() == [USER]
        assert "references of DatabaseUser default/user" in caplog.text

    with caplog.at_level(logging.ERROR):
        run(main)
