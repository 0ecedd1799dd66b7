"""The webhook's own certificate: renewed before its end without a moment's pause, and shared by all replicas."""

import asyncio
import base64
import json
import ssl
import time
import urllib.request
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from tests.kube.process import free_port
from tests.operator.asking import CONFIGURATION
from tests.operator.operating import OWN, Ground

from dbtether.operator.process import Operator
from dbtether.operator.settings import OperatorSettings, WebhookSettings
from dbtether.runtime.kube import read_kubeconfig
from dbtether.runtime.serving import Address

pytestmark = pytest.mark.majors(18)

_LIFETIME = timedelta(seconds=12)


def _replica(ground: Ground, name: str, port: int, *, read_only: bool = False) -> "asyncio.Task[None]":
    webhook = WebhookSettings(Address("127.0.0.1", port), certificate_lifetime=_LIFETIME, reload_seconds=0.2)
    settings = OperatorSettings(
        namespace=OWN, identity=f"{name}-{ground.unique}", leader_elect=True, webhook=webhook, read_only=read_only
    )
    connection = read_kubeconfig([ground.kube.service_account_kubeconfig(OWN, "dbtether")])
    return asyncio.create_task(Operator(settings, {}).run(connection))


def _bundle(ground: Ground) -> bytes:
    found = ground.kube.request("GET", CONFIGURATION).body["webhooks"][0]["clientConfig"].get("caBundle", "")
    return base64.b64decode(found)


def _ask(port: int, bundle: bytes, wanted: dict[str, Any]) -> str:
    """What a replica says of a new resource, over TLS that trusts this bundle alone; a dash when there is no way."""
    asked = {"uid": "1", "operation": "CREATE", "kind": {"kind": "DatabaseUser"}, "object": wanted}
    request = urllib.request.Request(
        f"https://localhost:{port}/validate", data=json.dumps({"request": asked}).encode(), method="POST"
    )
    try:
        context = ssl.create_default_context(cadata=bundle.decode())
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:  # noqa: S310 - our own address
            response: dict[str, Any] = json.loads(answer.read())["response"]
    except (OSError, ValueError):
        return "-"
    return "" if response["allowed"] else str(response["status"]["message"])


async def _until(check: Any) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(check):
            await asyncio.sleep(0.1)


async def _end(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def test_a_certificate_is_renewed_before_its_end_and_admission_never_pauses(ground: Ground, port: int) -> None:
    wanted = ground.user("bad", validUntil="2030-02-30T12:00:00Z")
    wanted["metadata"]["namespace"] = ground.team

    def refused() -> bool:
        answer = ground.kube.request("POST", f"{ground.path('DatabaseUser')}?dryRun=All", wanted)
        return answer.status == 422 and "validate.dbtether.io" in str(answer.body)

    async def main() -> None:
        second = free_port()
        tasks = [_replica(ground, "a", port), _replica(ground, "b", second)]
        try:
            await _until(refused)
            first = _bundle(ground)
            (authority,) = x509.load_pem_x509_certificates(first)
            end = time.monotonic() + _LIFETIME.total_seconds() + 2
            times = 0
            while time.monotonic() < end:
                assert await asyncio.to_thread(refused)
                times += 1
                await asyncio.sleep(0.1)
            assert times > 20
            assert not any(task.done() for task in tasks)
            # The first certificate has ended; both replicas serve another one, and one bundle trusts both.
            bundle = _bundle(ground)
            assert authority not in x509.load_pem_x509_certificates(bundle)[-1:]
            stored = (ground.get("Secret", "dbtether-webhook-tls", OWN) or {})["data"]
            assert base64.b64decode(stored["ca.crt"]) == bundle
            for one in (port, second):
                assert "validUntil" in await asyncio.to_thread(_ask, one, bundle, wanted)
                assert await asyncio.to_thread(_ask, one, first, wanted) == "-"
        finally:
            await _end(tasks)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_read_only_mode_makes_no_certificate_and_publishes_none(ground: Ground, port: int) -> None:
    wanted = ground.user("bad", validUntil="2030-02-30T12:00:00Z")

    def serves() -> bool:
        try:
            return bool(ssl.get_server_certificate(("localhost", port), timeout=5))
        except OSError:
            return False

    async def main() -> None:
        tasks = [_replica(ground, "reading", port, read_only=True)]
        try:
            await _until(serves)
            assert ground.get("Secret", "dbtether-webhook-tls", OWN) is None
            assert _bundle(ground) == b""
            assert (
                await asyncio.to_thread(ground.kube.request, "POST", ground.path("DatabaseUser"), wanted)
            ).status == 201
        finally:
            await _end(tasks)

    asyncio.run(asyncio.wait_for(main(), 60))
