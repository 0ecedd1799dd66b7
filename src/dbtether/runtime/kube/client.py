"""A thin client of one API server: sends requests, waits where the server asks for it, tells errors apart.

It retries what the server refused unprocessed (429, and 503 with Retry-After), and reads that got no
answer; a write without an answer is the caller's to judge. Every call ends within its time-out.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from yarl import URL

from dbtether import __version__
from dbtether.runtime.kube.authentication import Authentication, Credentials
from dbtether.runtime.kube.connection import Connection
from dbtether.runtime.kube.errors import (
    ApiError,
    ServerFailure,
    Unauthorized,
    Unreachable,
    api_error,
    read_status,
    unreachable,
)
from dbtether.runtime.kube.requests import Method, Request
from dbtether.runtime.queue import Backoff

T = TypeVar("T")

# github.com/python/cpython/pull/118960: a TLS connection whose peer is silent was never closed.
_LEAVES_TLS_OPEN = sys.version_info < (3, 12, 8) or (3, 13, 0) <= sys.version_info < (3, 13, 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that was sent, for metrics."""

    verb: str
    """The method; WATCH for a watch."""
    resource: str
    code: int
    """0 when no answer came."""
    seconds: float
    """Until the answer began: a watch's goes on for minutes."""


RequestHook = Callable[[Sample], None]


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The numbers of a client."""

    timeout_seconds: float = 30.0
    """For a call with all its attempts."""
    attempt_seconds: float = 15.0
    connect_seconds: float = 5.0
    at_once: int = 32
    """Calls under way at one time, watches aside."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.5, limit_seconds=10.0, jitter=0.5))
    """Before a retry for which the server named no time; its limit is the most that Retry-After is heeded."""


def _ignore(_: Sample) -> None:
    """Count nothing."""


class Client:
    """Talks to one API server over one pool of connections. Make it inside a running event loop."""

    def __init__(
        self,
        connection: Connection,
        settings: ClientSettings | None = None,
        *,
        on_request: RequestHook = _ignore,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.connection = connection
        self._settings = settings or ClientSettings()
        self._on_request = on_request
        self._chance = chance
        self._authentication = Authentication(connection)
        self._at_once = asyncio.Semaphore(self._settings.at_once)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                # Watches stay open, so it is the calls that are limited, not the connections.
                limit=0,
                keepalive_timeout=90,
                enable_cleanup_closed=_LEAVES_TLS_OPEN,
            ),
            headers={"User-Agent": f"dbtether/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; closing twice is no error."""
        await self._session.close()
        # Transports that were aborted close in the loop's next round.
        await asyncio.sleep(0)

    async def send(
        self, request: Request, into: type[T], *, timeout_seconds: float | None = None, reads_again: bool = True
    ) -> T:
        """The answer, decoded. Raises ApiError, and KubeconfigError when there are no credentials.

        Without `reads_again` a read that got no answer fails at once, for callers that come back by themselves.
        """
        body = await self.send_raw(request, timeout_seconds=timeout_seconds, reads_again=reads_again)
        return decode(request, body, into)

    async def send_raw(
        self, request: Request, *, timeout_seconds: float | None = None, reads_again: bool = True
    ) -> bytes:
        """The answer's body. Raises ApiError, and KubeconfigError when there are no credentials."""
        seconds = timeout_seconds or self._settings.timeout_seconds
        last: list[ApiError] = []
        try:
            async with asyncio.timeout(seconds), self._at_once:
                return await self._attempts(request, last, reads_again=reads_again)
        except TimeoutError:
            # The server's own refusal says more than that our patience has ended.
            raise last[-1] if last else unreachable(request.what, f"no answer within {seconds:g} s") from None

    async def _attempts(self, request: Request, last: list[ApiError], *, reads_again: bool) -> bytes:
        was_refused = False
        while True:
            credentials = await self._authentication.credentials()
            try:
                return await self._attempt(request, credentials)
            except Unauthorized as error:
                if was_refused or not self._authentication.refused(credentials):
                    raise
                was_refused = True
                last.append(error)
            except _Wait as wait:
                last.append(wait.error)
                await asyncio.sleep(self._seconds_until_retry(wait, len(last)))
            except (Unreachable, ServerFailure) as error:
                if request.method is not Method.GET or not reads_again:
                    raise
                last.append(error)
                await asyncio.sleep(self._seconds_until_retry(_Wait(error, None), len(last)))

    async def _attempt(self, request: Request, credentials: Credentials) -> bytes:
        limits = aiohttp.ClientTimeout(
            total=self._settings.attempt_seconds, sock_connect=self._settings.connect_seconds
        )
        async with self._respond(request, credentials, limits) as response:
            body = await response.read()
        if response.status < 300:
            return body
        raise _failure(request, response, body)

    @asynccontextmanager
    async def watch(self, request: Request, silent_seconds: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of an answer that goes on; one that is silent for longer ends as Unreachable.

        Raises ApiError when the watch is refused, and Unreachable when the connection breaks.
        """
        credentials = await self._authentication.credentials()
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._settings.connect_seconds, sock_read=silent_seconds
        )
        async with self._respond(request, credentials, limits) as response:
            if response.status >= 300:
                error = _failure(request, response, await response.read())
                if isinstance(error, Unauthorized):
                    self._authentication.refused(credentials)
                raise error.error if isinstance(error, _Wait) else error
            yield response.content.iter_any()

    @asynccontextmanager
    async def _respond(
        self, request: Request, credentials: Credentials, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One HTTP exchange. Raises Unreachable for whatever breaks on the way."""
        started, answered = time.monotonic(), False
        try:
            async with self._session.request(
                request.method, **self._arguments(request, credentials), timeout=limits
            ) as response:
                answered = True
                self._count(request, response.status, started)
                yield response
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            if not answered:
                self._count(request, 0, started)
            raise unreachable(request.what, _why(error)) from error

    def _count(self, request: Request, code: int, started: float) -> None:
        self._on_request(Sample(request.verb, request.resource, code, time.monotonic() - started))

    def _arguments(self, request: Request, credentials: Credentials) -> dict[str, Any]:
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if credentials.token:
            headers["Authorization"] = f"Bearer {credentials.token}"
        return {
            # Encoded already: aiohttp must not touch a continue token or a selector.
            "url": URL(self.connection.server + request.path, encoded=True).with_query(list(request.query)),
            "data": request.body,
            "headers": headers,
            "ssl": credentials.tls if credentials.tls is not None else True,
            "server_hostname": self.connection.tls_server_name if credentials.tls is not None else None,
            "proxy": self.connection.proxy,
            # An API server redirects nobody; following one would show the token to a stranger.
            "allow_redirects": False,
        }

    def _seconds_until_retry(self, wait: "_Wait", attempt: int) -> float:
        backoff = self._settings.backoff
        if wait.seconds is None:
            return backoff.delay_seconds(attempt, self._chance())
        # Everybody who was told the same time must not come back at once.
        return min(wait.seconds, backoff.limit_seconds) * (1 + backoff.jitter * self._chance())


class _Wait(Exception):
    """The server did not process the request and asks to come again, perhaps after so many seconds."""

    def __init__(self, error: ApiError, seconds: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


def decode(request: Request, body: bytes, into: type[T]) -> T:
    """The body as that type. Raises Unreachable when it is something else, as a captive proxy's page is."""
    try:
        return msgspec.json.decode(body, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise unreachable(request.what, "the answer is not what an API server gives") from None


def _failure(request: Request, response: aiohttp.ClientResponse, body: bytes) -> ApiError | _Wait:
    status = read_status(response.status, body)
    error = api_error(status, request.what)
    asked = _retry_after(response)
    if status.code == 429 or (status.code == 503 and asked is not None):
        return _Wait(error, asked)
    return error


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """The header's seconds; a date, which API servers do not send, counts as none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _why(error: BaseException) -> str:
    """The reason in a sentence without the URL's query or a proxy's password."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection broke"
        case aiohttp.InvalidURL():
            return "its URL is not valid"
    return f"the exchange failed ({type(error).__name__})"
