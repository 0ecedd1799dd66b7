"""What the client does about an API server that is busy, broken, slow, or says no."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace

import pytest
from aiohttp import web
from tests.runtime.kube.api_server import DATABASES, ApiServer, Intercept, running, status

from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client, ClientSettings, Sample
from dbtether.runtime.kube.connection import Connection
from dbtether.runtime.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerFailure,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from dbtether.runtime.kube.objects import Object
from dbtether.runtime.kube.requests import SECRETS, Request, create, delete, get, merge_patch
from dbtether.runtime.queue import Backoff

FAST = ClientSettings(
    timeout_seconds=5, attempt_seconds=2, backoff=Backoff(first_seconds=0.01, limit_seconds=0.1, jitter=0.5)
)
GET = get(DATABASES, "default", "my-app")
CREATE = create(DATABASES, "default", {"metadata": {"name": "my-app"}})


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


def first(times: int, **headers: str) -> Intercept:
    """Refuse the first requests, then let them pass."""
    left = [times]

    async def refuse(_: web.Request) -> web.StreamResponse | None:
        left[0] -= 1
        return status(429, "TooManyRequests", "slow down", headers) if left[0] >= 0 else None

    return refuse


@pytest.mark.parametrize("request_", [GET, CREATE], ids=["a read", "a write"])
def test_what_the_server_refused_for_now_is_sent_again_when_it_says(request_: Request) -> None:
    async def main() -> None:
        async with running(ApiServer()) as server:
            if request_ is GET:
                server.put("databases", "default", "my-app")
            server.intercept = first(3, **{"Retry-After": "1"})
            async with Client(server.connection, replace(FAST, backoff=Backoff(0.01, 5.0, 0.0))) as client:
                started = time.monotonic()
                await client.send(request_, Object)
                assert len(server.requests) == 4
                assert time.monotonic() - started > 2.9

    run(main())


def test_a_storm_of_429_ends_with_the_time_out_and_the_servers_own_word() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server:
            server.intercept = first(10**6)
            async with Client(server.connection, FAST) as client:
                with pytest.raises(TooManyRequests, match="slow down"):
                    await client.send(GET, Object, timeout_seconds=0.5)
            assert 3 < len(server.requests) < 30

    run(main())


def test_many_callers_in_a_storm_all_get_through() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server:
            server.put("databases", "default", "my-app")
            server.intercept = first(200, **{"Retry-After": "0"})
            async with Client(server.connection, FAST) as client:
                await asyncio.gather(*(client.send(GET, Object) for _ in range(100)))

    run(main())


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (500, "InternalError", ServerFailure),
        (503, "ServiceUnavailable", ServerFailure),
        (418, "Teapot", ApiError),
    ],
)
def test_errors_are_told_apart_and_carry_the_status(code: int, reason: str, kind: type[ApiError]) -> None:
    async def main() -> None:
        async def refuse(_: web.Request) -> web.StreamResponse | None:
            return status(code, reason, "because")

        async with running(ApiServer(intercept=refuse)) as server, Client(server.connection, FAST) as client:
            with pytest.raises(kind, match="because") as refused:
                await client.send(CREATE, Object)
            assert type(refused.value) is kind
            assert (refused.value.status.code, refused.value.status.reason) == (code, reason)
            assert isinstance(refused.value, StateError)
            assert len(server.requests) == 1

    run(main())


def test_a_page_of_a_proxy_is_no_answer() -> None:
    async def main() -> None:
        async def page(request: web.Request) -> web.StreamResponse | None:
            return web.Response(text="<html>log in</html>", status=200 if request.method == "GET" else 403)

        async with running(ApiServer(intercept=page)) as server, Client(server.connection, FAST) as client:
            with pytest.raises(Unreachable, match="not what an API server gives"):
                await client.send(GET, Object)
            with pytest.raises(Forbidden):
                await client.send(CREATE, Object)

    run(main())


def test_a_redirect_is_not_followed() -> None:
    async def main() -> None:
        async def redirect(_: web.Request) -> web.StreamResponse | None:
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

        async with running(ApiServer(intercept=redirect)) as server, Client(server.connection, FAST) as client:
            with pytest.raises(ApiError, match="302"):
                await client.send(GET, Object)

    run(main())


def test_a_server_that_hangs_is_left_after_the_time_out() -> None:
    async def main() -> None:
        async def hang(_: web.Request) -> web.StreamResponse | None:
            await asyncio.sleep(60)
            return None

        async with running(ApiServer(intercept=hang)) as server, Client(server.connection, FAST) as client:
            for request in (GET, CREATE):
                with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
                    await client.send(request, Object, timeout_seconds=0.2)

    run(main())


def test_a_read_is_tried_again_when_the_connection_breaks_and_a_write_is_not() -> None:
    async def main() -> None:
        broken = [0]

        async def cut(request: web.Request) -> web.StreamResponse | None:
            broken[0] += 1
            if broken[0] == 1 and request.transport:
                request.transport.abort()
            return None

        async with running(ApiServer()) as server, Client(server.connection, FAST) as client:
            server.put("databases", "default", "my-app")
            server.intercept = cut
            await client.send(GET, Object)
            broken[0] = 0
            with pytest.raises(Unreachable, match="the connection broke"):
                await client.send(create(SECRETS, "default", {"metadata": {"name": "x"}}), Object)

    run(main())


def test_nobody_there_is_said_with_the_reason() -> None:
    async def main() -> None:
        async with Client(Connection("http://127.0.0.1:1"), FAST) as client:
            with pytest.raises(Unreachable, match=r"GET /apis/.*: no connection: "):
                await client.send(GET, Object, timeout_seconds=0.2)

    run(main())


def test_an_error_about_a_secret_can_go_without_the_servers_sentence() -> None:
    async def main() -> None:
        async def refuse(_: web.Request) -> web.StreamResponse | None:
            body = {
                "code": 422,
                "reason": "Invalid",
                "message": "data[password]: Invalid value: hunter2",
                "details": {"causes": [{"field": "data[password]", "message": "Invalid value: hunter2"}]},
            }
            return web.json_response(body, status=422)

        async with running(ApiServer(intercept=refuse)) as server, Client(server.connection, FAST) as client:
            with pytest.raises(Invalid) as refused:
                await client.send(CREATE, Object)
            bare = refused.value.without_message()
            assert str(bare).endswith("422 Invalid: data[password]")
            assert isinstance(bare, Invalid)

    run(main())


def test_a_conditional_patch_and_a_conditional_delete_are_refused_when_stale() -> None:
    async def main() -> None:
        async with running(ApiServer()) as server, Client(server.connection, FAST) as client:
            server.put("databases", "default", "my-app")
            body = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}
            with pytest.raises(Conflict):
                await client.send(merge_patch(DATABASES, "default", "my-app", body), Object)
            with pytest.raises(Conflict):
                await client.send_raw(delete(DATABASES, "default", "my-app", uid="another"))

    run(main())


def test_each_request_is_counted_with_its_outcome() -> None:
    async def main() -> None:
        samples: list[Sample] = []
        async with running(ApiServer()) as server, Client(server.connection, FAST, on_request=samples.append) as client:
            with pytest.raises(NotFound):
                await client.send(GET, Object)
        async with Client(server.connection, FAST, on_request=samples.append) as client:
            with pytest.raises(Unreachable):
                await client.send(CREATE, Object)
        assert [(one.verb, one.resource, one.code) for one in samples] == [
            ("GET", "databases", 404),
            ("POST", "databases", 0),
        ]

    run(main())


def test_names_are_quoted_and_one_connection_serves_many_requests() -> None:
    async def main() -> None:
        ports: set[int] = set()

        async def note(request: web.Request) -> web.StreamResponse | None:
            assert request.transport
            ports.add(request.transport.get_extra_info("peername")[1])
            return None

        async with running(ApiServer(intercept=note)) as server, Client(server.connection, FAST) as client:
            for _ in range(5):
                with pytest.raises(NotFound):
                    await client.send(get(DATABASES, "de/fault", "../x?y"), Object)
            assert len(ports) == 1
            assert server.requests[0].headers["User-Agent"].startswith("dbtether/")
        assert get(DATABASES, "de/fault", "../x?y").path.endswith("/namespaces/de%2Ffault/databases/..%2Fx%3Fy")

    run(main())
