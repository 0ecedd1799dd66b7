"""What the Kubernetes store does beyond the suite of all stores."""

import asyncio
import base64
from collections.abc import Coroutine
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from tests.runtime.kube.api_server import ApiServer, running, status
from tests.runtime.kube.world import KubeWorld, eventually, kube_world

from dbtether.api.resource import Key, Owner, Secret
from dbtether.errors import Retryable, StateError
from dbtether.runtime.kube import Client, NotLeader, StoreSettings, TaskEnded, open_store
from dbtether.runtime.kube.errors import Unreachable
from dbtether.runtime.kube.installation import FINGERPRINT_SECRET
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US
from dbtether.runtime.store import Change, ChangeType, EventType

DATABASE = Key("Database", "default", "my-app")
ADMIN = Key("Secret", "default", "admin")
OURS = Secret("default", "ours", {"password": b"hunter2"}, labels={MANAGED_BY: MANAGED_BY_US})
SETTINGS = StoreSettings(namespace="operator")
AUTHOR: ContextVar[str] = ContextVar("author", default="somebody")


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


def cluster(**settings: Any) -> ApiServer:
    server = ApiServer(**settings)
    server.put("namespaces", "", "kube-system", metadata={"uid": "0f1e2d3c-0000-4000-8000-000000000000"})
    return server


def put_secret(server: ApiServer, name: str, value: bytes, **metadata: Any) -> None:
    server.put("secrets", "default", name, metadata=metadata, data={"password": base64.b64encode(value).decode()})


async def apply(world: KubeWorld) -> Any:
    return await world.apply(DATABASE, {"a": 1})


# -- writes --------------------------------------------------------------------------------------------


def test_a_conflict_on_every_write_is_a_state_error_and_nothing_is_lost() -> None:
    async def main() -> None:
        async def conflict(request: web.Request) -> web.StreamResponse | None:
            return status(409, "Conflict", "modified") if request.method in ("PUT", "PATCH") else None

        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)
            server.intercept = conflict
            for _ in range(20):
                with pytest.raises(StateError, match="changed meanwhile"):
                    await world.store.write_status(created, {"phase": "Ready"})
                with pytest.raises(StateError, match="changed meanwhile"):
                    await world.store.write_finalizers(created, ("f",))
            assert await world.store.get(DATABASE) == created

    run(main())


def test_an_own_write_is_read_at_once_although_the_watches_are_silent() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)

            async def mute(request: web.Request) -> web.StreamResponse | None:
                if "watch" in request.query:
                    await asyncio.sleep(60)
                return None

            server.intercept = mute
            server.cut_watches()
            await asyncio.sleep(0.05)
            ready = await world.store.write_status(created, {"phase": "Ready"})
            held = await world.store.write_finalizers(ready, ("f",))
            assert held
            assert await world.store.get(DATABASE) == held
            assert await world.store.list("Database") == (held,)
            assert await world.store.write_finalizers(held, ()) is not None

    run(main())


def test_an_own_write_whose_watch_event_comes_before_its_answer_is_told_as_ours() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)
            told: list[str] = []
            world.store.subscribe(lambda change: told.append(f"{change.type} by {AUTHOR.get()}"))

            async def slow(request: web.Request) -> web.StreamResponse | None:
                if request.method != "PUT":
                    return None
                server.intercept = None
                response = await server.handle(request)
                await asyncio.sleep(0.2)
                return response

            server.intercept = slow
            AUTHOR.set("me")
            await world.store.write_status(created, {"phase": "Ready"})
            server.put("databases", "default", "my-app", spec={"a": 2})
            await eventually(lambda: len(told) == 2)
            assert told == ["Modified by me", "Modified by somebody"]

    run(main())


def test_a_write_without_an_answer_is_looked_up_before_the_next_read() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)

            async def swallow(request: web.Request) -> web.StreamResponse | None:
                if "watch" in request.query:
                    await asyncio.sleep(60)
                if request.method == "PATCH":
                    server.intercept = mute
                    await server.handle(request)
                    assert request.transport
                    request.transport.abort()
                return None

            async def mute(request: web.Request) -> web.StreamResponse | None:
                if "watch" in request.query:
                    await asyncio.sleep(60)
                return None

            server.intercept = mute
            server.cut_watches()
            await asyncio.sleep(0.05)
            server.intercept = swallow
            with pytest.raises(Unreachable):
                await world.store.write_finalizers(created, ("f",))
            found = await world.store.get(DATABASE)
            assert found
            assert found.finalizers == ("f",)

    run(main())


def test_a_cancelled_writer_leaves_no_view_that_is_older_than_the_server() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)

            async def slow(request: web.Request) -> web.StreamResponse | None:
                if request.method == "PUT":
                    await asyncio.sleep(0.2)
                return None

            server.intercept = slow
            writing = asyncio.create_task(world.store.write_status(created, {"phase": "Ready"}))
            await asyncio.sleep(0.05)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            found = await world.store.get(DATABASE)
            assert found
            assert found.status == {"phase": "Ready"}

    run(main())


def test_an_equal_status_costs_no_request() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            ready = await world.store.write_status(await apply(world), {"phase": "Ready"})
            server.requests.clear()
            assert await world.store.write_status(ready, {"phase": "Ready"}) == ready
            assert await world.store.write_finalizers(ready, ()) == ready
            assert server.requests == []

    run(main())


def test_who_does_not_lead_writes_nothing() -> None:
    async def main() -> None:
        leads = [True]
        async with (
            running(cluster()) as server,
            kube_world(server.connection, SETTINGS, may_write=lambda: leads[0]) as world,
        ):
            created = await apply(world)
            secret = await world.store.write_secret(OURS)
            leads[0] = False
            server.requests.clear()
            with pytest.raises(NotLeader):
                await world.store.write_status(created, {"phase": "Ready"})
            with pytest.raises(NotLeader):
                await world.store.write_finalizers(created, ("f",))
            with pytest.raises(NotLeader):
                await world.store.write_secret(replace(secret, data={}))
            with pytest.raises(NotLeader):
                await world.store.delete_secret(secret)
            await world.store.record_event(created, EventType.NORMAL, "Created", "made")
            await world.store.events_written()
            assert [one for one in server.requests if one.method != "GET"] == []

    run(main())


def test_a_store_that_makes_no_key_takes_the_one_there_is_and_writes_nothing_on_opening() -> None:
    async def main() -> None:
        async with running(cluster()) as server:
            for put in (None, bytes(range(32))):
                if put is not None:
                    data = {"key": base64.b64encode(put).decode()}
                    server.put("secrets", "operator", FINGERPRINT_SECRET, data=data)
                async with kube_world(server.connection, replace(SETTINGS, makes_key=False)) as world:
                    found = world.store.fingerprint_key
                    assert (found == put, len(found)) == (put is not None, 32)
            assert [one for one in server.requests if one.method != "GET"] == []

    run(main())


# -- Secrets -------------------------------------------------------------------------------------------


def test_changes_of_our_secrets_are_told_and_their_content_is_never_listed() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            changes: list[Change] = []
            world.store.subscribe(changes.append)
            await world.store.write_secret(OURS)
            put_secret(server, "ours", b"edited")
            put_secret(server, "strangers", b"x")
            server.remove("secrets", "default", "ours")
            key = Key("Secret", "default", "ours")
            await eventually(lambda: len(changes) == 3)
            assert changes == [Change(type_, key) for type_ in ChangeType]
            listed = [one for one in server.requests if one.path.endswith("/secrets") and one.method == "GET"]
            assert {one.query["labelSelector"] for one in listed} == {f"{MANAGED_BY}={MANAGED_BY_US}"}
            assert all("PartialObjectMetadata" in one.headers["Accept"] for one in listed)

    run(main())


def test_changes_of_a_secret_that_was_read_are_told_and_those_of_its_neighbours_are_not() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            put_secret(server, "admin", b"1")
            put_secret(server, "neighbour", b"1")
            changes: list[Change] = []
            world.store.subscribe(changes.append)
            found = await world.store.get_secret("default", "admin")
            assert found
            assert found.data == {"password": b"1"}
            assert await world.store.get_secret("default", "comes-later") is None
            await eventually(lambda: any("!=" in one.query.get("labelSelector", "") for one in server.seen(watch=True)))
            put_secret(server, "admin", b"2")
            put_secret(server, "neighbour", b"2")
            put_secret(server, "comes-later", b"1")
            await eventually(lambda: len(changes) >= 2 and changes[-1].key.name == "comes-later")
            assert [(change.type, change.key) for change in changes[-2:]] == [
                (ChangeType.MODIFIED, ADMIN),
                (ChangeType.ADDED, Key("Secret", "default", "comes-later")),
            ]
            assert "neighbour" not in {change.key.name for change in changes}

    run(main())


def test_a_secret_that_is_read_before_we_create_it_needs_no_further_watch() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            assert await world.store.get_secret("default", "ours") is None
            await world.store.write_secret(OURS)
            await asyncio.sleep(1.3)
            assert not any("!=" in one.query.get("labelSelector", "") for one in server.requests)

    run(main())


def test_a_secret_keeps_what_we_do_not_know_and_belongs_to_its_controller() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u2"}
            put_secret(server, "admin", b"1", finalizers=["theirs"], ownerReferences=[other])
            found = await world.store.get_secret("default", "admin")
            assert found
            owned = replace(found, data={"password": b"2"}, owner=Owner("DatabaseUser", "my-app", "u1"))
            assert (await world.store.write_secret(owned)).owner == owned.owner
            stored = server.objects["secrets"]["default", "admin"]
            assert stored["metadata"]["finalizers"] == ["theirs"]
            assert stored["metadata"]["ownerReferences"] == [
                other,
                {
                    "apiVersion": "dbtether.io/v1alpha1",
                    "kind": "DatabaseUser",
                    "name": "my-app",
                    "uid": "u1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                },
            ]

    run(main())


def test_no_error_about_a_secret_repeats_what_the_server_says() -> None:
    async def main() -> None:
        async def quote(request: web.Request) -> web.StreamResponse | None:
            return status(422, "Invalid", "Invalid value: hunter2") if request.method == "POST" else None

        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            server.intercept = quote
            with pytest.raises(Retryable) as refused:
                await world.store.write_secret(OURS)
            assert "hunter2" not in str(refused.value)
            assert refused.value.__cause__ is None

    run(main())


# -- identity, namespaces, Events, failures ------------------------------------------------------------


def test_the_identity_is_the_clusters_and_the_key_is_made_once() -> None:
    async def main() -> None:
        async with running(cluster()) as server:
            keys = []
            for _ in range(2):
                async with kube_world(server.connection, SETTINGS) as world:
                    assert world.store.installation == "0f1e2d3c"
                    keys.append(world.store.fingerprint_key)
            assert keys[0] == keys[1] != bytes(32)
            async with kube_world(server.connection, replace(SETTINGS, installation="mine")) as world:
                assert world.store.installation == "mine"

    run(main())


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        (replace(SETTINGS, installation="No Way"), {}, "an installation id is"),
        (SETTINGS, {"key": "c2hvcnQ="}, "does not hold a key of 32 bytes"),
    ],
)
def test_an_identity_that_cannot_be_is_refused(settings: StoreSettings, data: dict[str, str], message: str) -> None:
    async def main() -> None:
        async with running(cluster()) as server, Client(server.connection) as client:
            server.put("secrets", "operator", FINGERPRINT_SECRET, data=data)
            with pytest.raises(StateError, match=message):
                async with open_store(client, settings):
                    raise AssertionError

    run(main())


@pytest.mark.parametrize("namespaces", [(), ("default", "team")], ids=["all", "some"])
def test_labels_of_namespaces_are_known_and_only_the_watched_namespaces_are_read(namespaces: tuple[str, ...]) -> None:
    async def main() -> None:
        async with running(cluster()) as server:
            server.put("namespaces", "", "team", metadata={"labels": {"tier": "gold"}})
            server.put("databases", "elsewhere", "x")
            server.put("databases", "team", "y")
            async with kube_world(server.connection, replace(SETTINGS, watch_namespaces=namespaces)) as world:
                assert await world.store.namespace_labels("team") == {"tier": "gold"}
                assert await world.store.namespace_labels("none") is None
                names = [found.key.name for found in await world.store.list("Database")]
                assert names == (["y"] if namespaces else ["x", "y"])
                await apply(world)
                told: list[Change] = []
                world.store.subscribe(told.append)
                server.put("namespaces", "", "elsewhere")
                server.put("namespaces", "", "team", metadata={"labels": {"tier": "silver"}})
                await eventually(lambda: Key("Namespace", "", "team") in [change.key for change in told])
                assert await world.store.namespace_labels("team") == {"tier": "silver"}
                assert (await world.store.namespace_labels("elsewhere") is None) == bool(namespaces)

    run(main())


def test_equal_events_in_a_row_become_one_series() -> None:
    async def main() -> None:
        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            created = await apply(world)
            for _ in range(5):
                await world.store.record_event(created, EventType.WARNING, "ServerAway", "no answer " + "ü" * 1000)
            await world.store.record_event(created, EventType.NORMAL, "Created", "made")
            await world.store.events_written()
            series, single = sorted(server.objects["events"].values(), key=lambda one: one["eventTime"])
            assert series["series"]["count"] == 2
            assert len(series["note"].encode()) <= 1024
            assert series["regarding"]["uid"] == created.uid
            assert (single["reason"], single["type"], "series" in single) == ("Created", "Normal", False)
            assert len([one for one in server.requests if one.path.endswith("/events")]) == 2

    run(main())


def test_an_event_that_cannot_be_written_holds_up_nobody() -> None:
    async def main() -> None:
        async def refuse(request: web.Request) -> web.StreamResponse | None:
            return status(403, "Forbidden", "no events") if "events" in request.path else None

        async with running(cluster()) as server, kube_world(server.connection, SETTINGS) as world:
            server.intercept = refuse
            created = await apply(world)
            await world.store.record_event(created, EventType.NORMAL, "Created", "made")
            await world.store.events_written()
            await world.store.write_status(created, {"phase": "Ready"})

    run(main())


def test_a_missing_crd_is_named_when_the_store_cannot_open() -> None:
    async def main() -> None:
        async def missing(request: web.Request) -> web.StreamResponse | None:
            return status(404, "NotFound", "no such kind") if "restores" in request.path else None

        async with running(cluster(intercept=missing)) as server, Client(server.connection) as client:
            with pytest.raises(StateError, match=r"did not give all lists: restores: .*404"):
                async with open_store(client, replace(SETTINGS, sync_seconds=0.5)):
                    raise AssertionError

    run(main())


def test_a_watch_that_ends_by_a_bug_ends_everything() -> None:
    async def main() -> None:
        def bug(_: Change) -> None:
            raise ZeroDivisionError

        async def body(server: ApiServer) -> None:
            async with kube_world(server.connection, SETTINGS) as world:
                world.store.subscribe(bug)
                server.put("databases", "default", "x")
                await asyncio.sleep(10)

        async with running(cluster()) as server:
            with pytest.raises(TaskEnded, match="watch of databases ended"):
                await body(server)

    run(main())
