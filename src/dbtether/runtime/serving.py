"""The operator's small HTTP servers: `/healthz`, `/readyz` and `/metrics`."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

Check = Callable[[], str | None]
"""None when all is well, else what is wrong."""

_PROMETHEUS_TEXT = "text/plain; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; an empty host means every interface, port 0 any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address of `:8080`, `127.0.0.1:8080` or `[::1]:8080`. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address such as :8080 or 127.0.0.1:8080")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))


@asynccontextmanager
async def serving(
    address: Address, application: web.Application, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve the application until the end; gives the port. Raises OSError when the address is taken."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host or None, address.port, ssl_context=tls)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def health_application(alive: Mapping[str, Check], ready: Mapping[str, Check]) -> web.Application:
    """`/healthz` and `/readyz`: 200, or 503 with a line for each check that fails."""
    application = web.Application()
    application.router.add_get("/healthz", _checks(alive))
    application.router.add_get("/readyz", _checks(ready))
    return application


def metrics_application(render: Callable[[], bytes]) -> web.Application:
    """`/metrics` in Prometheus' text format."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": _PROMETHEUS_TEXT})

    application = web.Application()
    application.router.add_get("/metrics", show)
    return application


def _checks(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(_: web.Request) -> web.Response:
        failing = [f"{name}: {problem}" for name, check in checks.items() if (problem := check()) is not None]
        return web.Response(text="\n".join(failing) or "ok", status=503 if failing else 200)

    return show
