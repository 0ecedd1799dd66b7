"""A view stays right, whatever the API server and the network do to lists and watches."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web
from tests.runtime.kube.api_server import DATABASES, ApiServer, running, status, watch_line
from tests.runtime.kube.world import eventually

from dbtether.api.resource import Key
from dbtether.runtime.kube.client import Client, ClientSettings
from dbtether.runtime.kube.informer import Informer, InformerSettings
from dbtether.runtime.kube.lines import Lines, LineTooLong
from dbtether.runtime.kube.requests import Collection
from dbtether.runtime.kube.view import View
from dbtether.runtime.queue import Backoff
from dbtether.runtime.store import Change

FAST = InformerSettings(page=3, backoff=Backoff(first_seconds=0.01, limit_seconds=0.1, jitter=0.5))
CLIENT = ClientSettings(timeout_seconds=5, backoff=Backoff(first_seconds=0.01, limit_seconds=0.1, jitter=0.5))
EVERYWHERE = Collection(DATABASES)


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


@dataclass
class Watching:
    """An informer at work, what it told, and the server."""

    server: ApiServer
    informer: Informer
    view: View
    changes: list[Change]

    @property
    def names(self) -> list[str]:
        return [resource.key.name for resource in self.view.all()]

    @property
    def told(self) -> list[str]:
        return [f"{change.type} {change.key.name}" for change in self.changes]

    def put(self, name: str, **parts: Any) -> None:
        self.server.put("databases", "default", name, **parts)

    async def until(self, *names: str) -> None:
        await eventually(lambda: self.names == list(names))


@asynccontextmanager
async def watching(
    server: ApiServer, settings: InformerSettings = FAST, collection: Collection = EVERYWHERE
) -> AsyncIterator[Watching]:
    changes: list[Change] = []
    view = View("Database", changes.append)
    async with running(server), Client(server.connection, CLIENT) as client:
        informer = Informer(client, collection, view, settings)
        task = asyncio.create_task(informer.run())
        try:
            await informer.synced()
            yield Watching(server, informer, view, changes)
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def with_databases(*names: str, **settings: Any) -> ApiServer:
    server = ApiServer(**settings)
    for name in names:
        server.put("databases", "default", name)
    return server


def stream(*parts: bytes | Callable[[web.Request], None]) -> Callable[[web.Request], Coroutine[Any, Any, Any]]:
    """A watch that sends these bytes and does these things, then ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
                await asyncio.sleep(0.01)
            else:
                part(request)
        return response

    return answer


def abort(request: web.Request) -> None:
    assert request.transport
    request.transport.abort()


def nasty_watches(server: ApiServer, *answers: Callable[[web.Request], Coroutine[Any, Any, Any]]) -> None:
    """The next watches get these answers, those after them good ones."""
    left = list(answers)

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        if "watch" in request.query and left:
            found: web.StreamResponse | None = await left.pop(0)(request)
            return found
        return None

    server.intercept = intercept


def test_a_list_comes_in_pages_and_what_follows_in_a_watch() -> None:
    async def main() -> None:
        async with watching(with_databases(*"abcdefgh")) as seen:
            assert seen.names == list("abcdefgh")
            assert len(seen.server.seen()) == 3
            seen.put("i")
            seen.put("a", spec={"x": 1})
            seen.server.remove("databases", "default", "b")
            await eventually(lambda: len(seen.changes) == 11)
            assert seen.told[8:] == ["Added i", "Modified a", "Removed b"]
            assert seen.changes[9].old
            assert seen.changes[9].new
            assert (seen.changes[9].old.spec, seen.changes[9].new.spec) == ({}, {"x": 1})

    run(main())


def test_an_empty_list_may_be_null() -> None:
    async def main() -> None:
        async def null(request: web.Request) -> web.StreamResponse | None:
            body = {"metadata": {"resourceVersion": "1"}, "items": None}
            return None if "watch" in request.query else web.json_response(body)

        async with watching(ApiServer(intercept=null)) as seen:
            assert seen.names == []

    run(main())


def test_a_watch_cut_in_the_middle_of_a_line_goes_on_where_it_was() -> None:
    async def main() -> None:
        server = with_databases("a")
        whole = watch_line("ADDED", server.put("databases", "default", "b"))
        server.objects["databases"].pop(("default", "b"))
        half = watch_line("ADDED", server.put("databases", "default", "c"))[:-20]
        server.objects["databases"].pop(("default", "c"))
        at = server.version - 2
        server.history.clear()
        nasty_watches(server, stream(whole, half, abort))
        async with watching(server) as seen:
            await eventually(lambda: len(server.seen(watch=True)) == 2)
            assert seen.names == ["a", "b"]
            assert [one.query["resourceVersion"] for one in server.seen(watch=True)] == [str(at + 2), str(at + 1)]
            assert len(server.seen()) == 1

    run(main())


def test_lines_of_megabytes_arrive_whole() -> None:
    async def main() -> None:
        async with watching(with_databases("a")) as seen:
            text = "x" * 2_000_000
            seen.put("big", spec={"text": text})
            seen.put("after")
            await seen.until("a", "after", "big")
            found = seen.view.get(Key("Database", "default", "big"))
            assert found
            assert found.spec == {"text": text}

    run(main())


def test_an_event_in_many_pieces_is_one() -> None:
    async def main() -> None:
        server = with_databases("a")
        line = watch_line("ADDED", server.put("databases", "default", "b", spec={"text": "ü\n" * 100}))
        server.objects["databases"].pop(("default", "b"))
        nasty_watches(server, stream(*(line[i : i + 7] for i in range(0, len(line), 7))))
        async with watching(server) as seen:
            await seen.until("a", "b")

    run(main())


def test_bookmarks_move_the_place_from_which_a_watch_is_opened_anew() -> None:
    async def main() -> None:
        server = with_databases("a", bookmark_seconds=0.05)
        async with watching(server) as seen:
            for n in range(5):
                server.put("others", "", f"other-{n}")
            await asyncio.sleep(0.2)
            # Only the bookmark knows a version that is young enough.
            server.compact()
            server.cut_watches()
            seen.put("b")
            await seen.until("a", "b")
            assert len(server.seen()) == 1
            assert all(one.query["allowWatchBookmarks"] == "true" for one in server.seen(watch=True))

    run(main())


@pytest.mark.parametrize("in_stream", [True, False], ids=["in the stream", "as the answer"])
def test_a_watch_that_is_too_old_leads_to_a_list_which_tells_what_vanished(in_stream: bool) -> None:
    async def main() -> None:
        server = with_databases("a", "b", "c")
        async with watching(server) as seen:

            async def gone(request: web.Request) -> web.StreamResponse | None:
                if in_stream or "watch" not in request.query or len(server.seen()) > 1:
                    return None
                return status(410, "Expired", "too old")

            await eventually(lambda: server.seen(watch=True))
            server.intercept = gone
            server.cut_watches()
            server.remove("databases", "default", "b")
            seen.put("a", spec={"x": 1})
            seen.put("d")
            server.compact()
            server.version += 1
            await seen.until("a", "c", "d")
            assert sorted(seen.told[3:]) == ["Added d", "Modified a", "Removed b"]

    run(main())


def test_a_list_that_expires_between_two_pages_is_made_in_one_piece() -> None:
    async def main() -> None:
        server = with_databases(*"abcdefgh")

        async def expire(request: web.Request) -> web.StreamResponse | None:
            if "continue" in request.query:
                server.version += 1
                server.compact()
            return None

        server.intercept = expire
        async with watching(server) as seen:
            assert seen.names == list("abcdefgh")
            assert ["limit" in one.query for one in server.seen()] == [True, True, False]

    run(main())


def test_a_silent_watch_is_opened_anew_and_in_the_end_the_list_is() -> None:
    async def main() -> None:
        server = with_databases("a")

        async def hang(request: web.Request) -> web.StreamResponse | None:
            if "watch" not in request.query or len(server.seen(watch=True)) > 2:
                return None
            if len(server.seen(watch=True)) == 1:
                await asyncio.sleep(60)
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(60)
            return response

        server.intercept = hang
        async with watching(server, replace(FAST, silent_seconds=0.2)) as seen:
            await eventually(lambda: len(server.seen(watch=True)) == 2)
            assert len(server.seen()) == 1
            # As after a restored etcd, when the version that the watch asks for is far in the future.
            server.objects["databases"].clear()
            server.put("databases", "default", "restored")
            await seen.until("restored")
            assert len(server.seen()) == 2

    run(main())


def test_a_server_that_restarts_is_followed_again() -> None:
    async def main() -> None:
        server = with_databases("a")
        view = View("Database", lambda _: None)
        async with running(server), Client(server.connection, CLIENT) as client:
            informer = Informer(client, EVERYWHERE, view, FAST)
            task = asyncio.create_task(informer.run())
            await informer.synced()
        await eventually(lambda: informer.problem)
        task.cancel()
        await asyncio.wait({task})
        async with Client(server.connection, CLIENT) as client:
            informer = Informer(client, EVERYWHERE, view, FAST)
            task = asyncio.create_task(informer.run())
            await eventually(lambda: informer.problem)
            assert not informer.has_synced
            server.put("databases", "default", "b")
            async with running(server):
                await informer.synced()
                assert informer.problem is None
                assert len(view) == 2
                task.cancel()
                await asyncio.wait({task})

    run(main())


def test_a_list_that_fails_is_told_at_once() -> None:
    async def main() -> None:
        async def refuse(_: web.Request) -> web.StreamResponse | None:
            return status(500, "InternalError", "etcd")

        async with running(ApiServer(intercept=refuse)) as server, Client(server.connection) as client:
            informer = Informer(client, EVERYWHERE, View("Database", lambda _: None))
            task = asyncio.create_task(informer.run())
            # Long before the client, which is patient, would give up.
            await eventually(lambda: informer.problem, 5)
            task.cancel()
            await asyncio.wait({task})

    run(main())


def test_a_server_that_refuses_for_a_while_is_asked_less_and_less_often() -> None:
    async def main() -> None:
        async def refuse(_: web.Request) -> web.StreamResponse | None:
            return status(403, "Forbidden", "no")

        server = with_databases("a", intercept=refuse)
        settings = replace(FAST, backoff=Backoff(first_seconds=0.05, limit_seconds=10.0, jitter=0.0))
        async with running(server), Client(server.connection, CLIENT) as client:
            informer = Informer(client, EVERYWHERE, View("Database", lambda _: None), settings)
            task = asyncio.create_task(informer.run())
            await asyncio.sleep(1)
            assert 3 <= len(server.requests) <= 6
            assert "403 Forbidden" in str(informer.problem)
            task.cancel()
            await asyncio.wait({task})

    run(main())


def test_a_watch_that_always_ends_at_once_is_no_endless_loop() -> None:
    async def main() -> None:
        server = with_databases("a")
        nasty_watches(server, *[stream()] * 1000)
        settings = replace(FAST, backoff=Backoff(first_seconds=0.05, limit_seconds=10.0, jitter=0.0))
        async with watching(server, settings):
            await asyncio.sleep(1)
            assert len(server.requests) < 30

    run(main())


@pytest.mark.parametrize(
    "junk",
    [b"<html>\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {"metadata": 5}}\n', b"\xff\xfe\n"],
)
def test_junk_in_a_watch_is_no_end(junk: bytes) -> None:
    async def main() -> None:
        server = with_databases("a")
        nasty_watches(server, stream(junk))
        async with watching(server) as seen:
            seen.put("b")
            await seen.until("a", "b")

    run(main())


def test_an_error_in_a_watch_is_no_end() -> None:
    async def main() -> None:
        server = with_databases("a")
        error = watch_line("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd"})
        nasty_watches(server, *[stream(error)] * 6)
        async with watching(server) as seen:
            seen.put("b")
            await seen.until("a", "b")

    run(main())


def test_managed_fields_and_kubectls_copy_are_not_kept_and_a_namespace_may_be_watched_alone() -> None:
    async def main() -> None:
        server = with_databases()
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{...}", "mine": "1"}
        server.put("databases", "default", "a", metadata={"annotations": annotations})
        server.put("databases", "other", "b")
        async with watching(server, collection=Collection(DATABASES, "default")) as seen:
            assert seen.names == ["a"]
            assert seen.view.all()[0].annotations == {"mine": "1"}
            assert "managedFields" not in repr(seen.view.all())
            assert server.requests[0].path.endswith("/namespaces/default/databases")

    run(main())


def test_lines_are_split_wherever_the_network_cuts_them() -> None:
    text = b"".join(json.dumps({"n": n, "s": "x" * n}).encode() + b"\n" for n in range(50))
    for size in (1, 2, 3, 7, 64, 10_000):
        lines = Lines()
        found = [line for i in range(0, len(text), size) for line in lines.feed(text[i : i + size])]
        assert found == text.splitlines()


def test_a_line_without_end_is_refused() -> None:
    lines = Lines(longest=100)
    for _ in range(10):
        assert list(lines.feed(b"x" * 10)) == []
    with pytest.raises(LineTooLong):
        list(lines.feed(b"x"))
