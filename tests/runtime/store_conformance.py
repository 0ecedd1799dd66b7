"""What every Store must do, whatever holds its resources. Subclass it and say how to open one."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import pytest

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.errors import StateError
from dbtether.runtime.store import Change, ChangeType, EventType, Store

DATABASE = Key("Database", "default", "my-app")
CLUSTER = Key("DBCluster", "", "main")
PASSWORD = b"correct horse battery staple"
SECRET = Secret(
    namespace="default",
    name="my-app-credentials",
    data={"password": PASSWORD, "binary": bytes(range(256)), "empty": b""},
    labels={"app": "my-app"},
    annotations={"note": "1e3"},
    owner=Owner("DatabaseUser", "my-app", "uid-1"),
)


class World(Protocol):
    """A store with the writes that people make and controllers do not."""

    @property
    def store(self) -> Store: ...

    async def apply(self, key: Key, spec: Mapping[str, Any]) -> Resource: ...

    async def delete(self, key: Key) -> Resource | None: ...


Body = Callable[[World], Coroutine[Any, Any, None]]


class StoreConformance:
    """The port's contract, sentence by sentence."""

    def open_world(self) -> AbstractContextManager[World]:
        """An empty world, fresh for each test."""
        raise NotImplementedError

    def run(self, body: Body) -> None:
        with self.open_world() as world:
            asyncio.run(asyncio.wait_for(body(world), 20))

    # -- reads ----------------------------------------------------------------------------------------

    def test_what_is_not_there_is_none(self) -> None:
        async def body(world: World) -> None:
            assert await world.store.get(DATABASE) is None
            assert await world.store.list("Database") == ()
            assert await world.store.get_secret("default", "nothing") is None

        self.run(body)

    def test_a_list_holds_one_kind_sorted_by_key(self) -> None:
        async def body(world: World) -> None:
            keys = [Key("Database", namespace, name) for namespace in "ba" for name in "dc"]
            for key in keys:
                await world.apply(key, {"name": key.name})
            await world.apply(CLUSTER, {"endpoint": "localhost"})
            assert [found.key for found in await world.store.list("Database")] == sorted(keys)
            assert [found.key for found in await world.store.list("DBCluster")] == [CLUSTER]

        self.run(body)

    def test_a_resource_has_identity_generation_and_time_from_the_start(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"clusterRef": {"name": "main"}})
            assert created.uid
            assert created.generation == 1
            assert created.created.tzinfo is not None
            assert created.spec == {"clusterRef": {"name": "main"}}
            assert await world.store.get(DATABASE) == created

        self.run(body)

    # -- what a resource owns -------------------------------------------------------------------------

    def test_an_owned_resource_is_created_once(self) -> None:
        async def body(world: World) -> None:
            parent = await world.apply(DATABASE, {"a": 1})
            owner, child = Owner("Database", DATABASE.name, parent.uid), replace(DATABASE, name="child")
            labels = {"dbtether.io/schedule": "app"}
            created = await world.store.create_resource(child, {"b": 2}, labels=labels, owner=owner)
            assert (created.spec, created.labels, created.generation) == ({"b": 2}, labels, 1)
            assert await world.store.get(child) == created
            with pytest.raises(StateError, match="exists already"):
                await world.store.create_resource(child, {"b": 3}, labels=labels, owner=owner)
            assert await world.store.get(child) == created

        self.run(body)

    def test_exactly_this_resource_is_deleted(self) -> None:
        async def body(world: World) -> None:
            before = await world.apply(DATABASE, {"a": 1})
            await world.store.delete_resource(before)
            assert await world.store.get(DATABASE) is None
            await world.store.delete_resource(before)
            after = await world.apply(DATABASE, {"a": 1})
            await world.store.delete_resource(before)
            assert await world.store.get(DATABASE) == after
            held = await world.store.write_finalizers(after, ("dbtether.io/finalizer",))
            assert held is not None
            await world.store.delete_resource(held)
            left = await world.store.get(DATABASE)
            assert left is not None
            assert left.deleted is not None
            # A server keeps it for whoever comes next.
            assert await world.store.write_finalizers(left, ()) is None

        self.run(body)

    # -- status and finalizers ------------------------------------------------------------------------

    def test_a_status_is_replaced_and_the_generation_stays(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            first = await world.store.write_status(created, {"phase": "Creating", "message": "soon"})
            second = await world.store.write_status(first, {"phase": "Ready"})
            assert second.status == {"phase": "Ready"}
            assert second.generation == created.generation
            assert len({created.resource_version, first.resource_version, second.resource_version}) == 3
            assert await world.store.get(DATABASE) == second

        self.run(body)

    def test_a_status_written_over_a_newer_resource_is_refused(self) -> None:
        async def body(world: World) -> None:
            stale = await world.apply(DATABASE, {"a": 1})
            await world.apply(DATABASE, {"a": 2})
            with pytest.raises(StateError, match="changed meanwhile"):
                await world.store.write_status(stale, {"phase": "Ready"})
            with pytest.raises(StateError, match="changed meanwhile"):
                await world.store.write_finalizers(stale, ("dbtether.io/finalizer",))

        self.run(body)

    def test_a_status_of_a_resource_that_was_made_anew_is_refused(self) -> None:
        async def body(world: World) -> None:
            stale = await world.apply(DATABASE, {"a": 1})
            await world.delete(DATABASE)
            await world.apply(DATABASE, {"a": 1})
            with pytest.raises(StateError):
                await world.store.write_status(stale, {"phase": "Ready"})

        self.run(body)

    def test_one_annotation_is_set_and_removed_and_the_others_stay(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            one = await world.store.write_annotation(created, "example.com/one", "1")
            both = await world.store.write_annotation(one, "example.com/two", "2")
            assert both.annotations == {"example.com/one": "1", "example.com/two": "2"}
            left = await world.store.write_annotation(both, "example.com/one", None)
            assert left.annotations == {"example.com/two": "2"}
            assert left.generation == created.generation
            assert await world.store.get(DATABASE) == left
            assert await world.store.write_annotation(left, "example.com/one", None) == left
            with pytest.raises(StateError, match="changed meanwhile"):
                await world.store.write_annotation(both, "example.com/two", None)

        self.run(body)

    def test_a_caller_cannot_change_what_it_stored_or_read(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            status: dict[str, Any] = {"conditions": [{"type": "Ready"}]}
            await world.store.write_status(created, status)
            status["conditions"].append("mine")
            found = await world.store.get(DATABASE)
            assert found
            assert found.status == {"conditions": [{"type": "Ready"}]}

        self.run(body)

    def test_a_resource_without_finalizers_goes_at_once(self) -> None:
        async def body(world: World) -> None:
            await world.apply(DATABASE, {"a": 1})
            assert await world.delete(DATABASE) is None
            assert await world.store.get(DATABASE) is None
            assert await world.store.list("Database") == ()

        self.run(body)

    def test_a_resource_with_a_finalizer_stays_until_the_last_one_is_gone(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            held = await world.store.write_finalizers(created, ("one", "two"))
            assert held
            assert held.deleted is None
            waiting = await world.delete(DATABASE)
            assert waiting
            assert waiting.deleted
            one_left = await world.store.write_finalizers(waiting, ("two",))
            assert one_left
            assert one_left.finalizers == ("two",)
            assert await world.store.write_finalizers(one_left, ()) is None
            assert await world.store.get(DATABASE) is None

        self.run(body)

    def test_taking_the_last_finalizer_of_a_live_resource_keeps_it(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            held = await world.store.write_finalizers(created, ("one",))
            assert held
            bare = await world.store.write_finalizers(held, ())
            assert bare
            assert await world.store.get(DATABASE) == bare

        self.run(body)

    # -- Secrets --------------------------------------------------------------------------------------

    def test_a_secret_comes_back_as_it_was_written(self) -> None:
        async def body(world: World) -> None:
            written = await world.store.write_secret(SECRET)
            found = await world.store.get_secret(SECRET.namespace, SECRET.name)
            assert found == written
            assert replace(written, uid="", resource_version="") == SECRET
            assert written.uid
            assert written.resource_version

        self.run(body)

    def test_a_secret_that_exists_is_not_created_again(self) -> None:
        async def body(world: World) -> None:
            first = await world.store.write_secret(SECRET)
            with pytest.raises(StateError, match="exists already"):
                await world.store.write_secret(replace(SECRET, data={"password": b"another"}))
            assert await world.store.get_secret(SECRET.namespace, SECRET.name) == first

        self.run(body)

    def test_a_secret_is_replaced_by_who_saw_its_latest_version(self) -> None:
        async def body(world: World) -> None:
            first = await world.store.write_secret(SECRET)
            second = await world.store.write_secret(replace(first, data={"password": b"new"}))
            assert second.data == {"password": b"new"}
            assert second.uid == first.uid
            with pytest.raises(StateError, match="changed meanwhile"):
                await world.store.write_secret(replace(first, data={"password": b"stale"}))
            assert await world.store.get_secret(SECRET.namespace, SECRET.name) == second

        self.run(body)

    def test_only_the_secret_that_was_seen_is_deleted(self) -> None:
        async def body(world: World) -> None:
            first = await world.store.write_secret(SECRET)
            second = await world.store.write_secret(replace(first, data={"password": b"new"}))
            with pytest.raises(StateError):
                await world.store.delete_secret(first)
            await world.store.delete_secret(second)
            assert await world.store.get_secret(SECRET.namespace, SECRET.name) is None
            await world.store.delete_secret(second)
            another = await world.store.write_secret(SECRET)
            await world.store.delete_secret(second)
            assert await world.store.get_secret(SECRET.namespace, SECRET.name) == another

        self.run(body)

    def test_two_writers_of_one_secret_do_not_both_win(self) -> None:
        async def body(world: World) -> None:
            results = await asyncio.gather(
                *(world.store.write_secret(replace(SECRET, data={"n": b"%d" % n})) for n in range(5)),
                return_exceptions=True,
            )
            won = [result for result in results if isinstance(result, Secret)]
            assert len(won) == 1
            assert all(isinstance(result, StateError) for result in results if result not in won)
            assert await world.store.get_secret(SECRET.namespace, SECRET.name) == won[0]

        self.run(body)

    def test_no_error_and_no_repr_shows_a_value(self) -> None:
        async def body(world: World) -> None:
            written = await world.store.write_secret(SECRET)
            assert PASSWORD.decode() not in repr(written)
            with pytest.raises(StateError) as refused:
                await world.store.write_secret(SECRET)
            assert PASSWORD.decode() not in str(refused.value)

        self.run(body)

    # -- changes and Events ---------------------------------------------------------------------------

    def test_changes_are_told_in_order_after_they_are_stored(self) -> None:
        async def body(world: World) -> None:
            changes: list[Change] = []
            world.store.subscribe(changes.append)
            created = await world.apply(DATABASE, {"a": 1})
            ready = await world.store.write_status(created, {"phase": "Ready"})
            secret = await world.store.write_secret(SECRET)
            await world.store.write_secret(replace(secret, data={"password": b"new"}))
            await world.delete(DATABASE)
            secret_key = Key("Secret", SECRET.namespace, SECRET.name)
            assert changes == [
                Change(ChangeType.ADDED, DATABASE, None, created),
                Change(ChangeType.MODIFIED, DATABASE, created, ready),
                Change(ChangeType.ADDED, secret_key),
                Change(ChangeType.MODIFIED, secret_key),
                Change(ChangeType.REMOVED, DATABASE, ready),
            ]

        self.run(body)

    def test_a_write_that_changes_nothing_is_not_told(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            ready = await world.store.write_status(created, {"phase": "Ready"})
            secret = await world.store.write_secret(SECRET)
            changes: list[Change] = []
            world.store.subscribe(changes.append)
            assert await world.apply(DATABASE, {"a": 1}) == ready
            assert await world.store.write_status(ready, {"phase": "Ready"}) == ready
            assert await world.store.write_finalizers(ready, ()) == ready
            assert await world.store.write_secret(secret) == secret
            assert changes == []

        self.run(body)

    def test_an_event_can_be_recorded(self) -> None:
        async def body(world: World) -> None:
            created = await world.apply(DATABASE, {"a": 1})
            await world.store.record_event(created, EventType.NORMAL, "Created", "the database was made")

        self.run(body)

    def test_the_identity_of_the_installation_is_stable(self) -> None:
        async def body(world: World) -> None:
            assert world.store.installation == world.store.installation != ""
            assert len(world.store.fingerprint_key) == 32

        self.run(body)
