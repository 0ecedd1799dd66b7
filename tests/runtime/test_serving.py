"""Health, metrics and webhook over real sockets."""

import asyncio
import json
import logging
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dbtether.api.resource import Key
from dbtether.runtime.certificates import (
    ServingCertificate,
    bundle_of,
    make_serving_certificate,
    must_be_renewed,
)
from dbtether.runtime.logs import JsonFormatter, reconcile_id
from dbtether.runtime.metrics import Metrics, by_phase
from dbtether.runtime.outcomes import OutcomeLabel
from dbtether.runtime.serving import Address, health_application, metrics_application, serving
from dbtether.runtime.wakeups import reconciling
from dbtether.runtime.webhook import AdmissionRequest, ReloadingCertificate, Verdict, webhook_application

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOOPBACK = Address("127.0.0.1", 0)


def test_ready_says_what_is_not_ready_and_healthy_stays_healthy() -> None:
    async def scenario() -> None:
        problem: list[str | None] = ["has not synced"]
        application = health_application({"loop": lambda: None}, {"informers": lambda: problem[0]})
        async with serving(LOOPBACK, application) as port, aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "informers: has not synced")
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 200
            problem[0] = None
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200

    asyncio.run(scenario())


def test_metrics_show_every_outcome_from_the_start() -> None:
    async def scenario() -> str:
        metrics = Metrics(["Database"])
        metrics.count_reconcile(Key("Database", "a", "b"), OutcomeLabel.DONE, None, 0.2)
        metrics.gauge("dbtether_resources", "by phase", ("kind", "phase"), lambda: by_phase({"Database": [{}]}))
        async with (
            serving(LOOPBACK, metrics_application(metrics.render)) as port,
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            return await answer.text()

    text = asyncio.run(scenario())
    assert 'dbtether_reconciles_total{kind="Database",outcome="done"} 1.0' in text
    assert 'dbtether_reconciles_total{kind="Database",outcome="blocked"} 0.0' in text
    assert 'dbtether_resources{kind="Database",phase="Pending"} 1.0' in text


@pytest.mark.parametrize("text", ["8080", "host:", "host:x", "host:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Address.parse(text)


def _write(folder: Path, made: ServingCertificate) -> tuple[Path, Path]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(made.certificate)
    key.write_bytes(made.key)
    return certificate, key


def _client(ca: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.decode())


def _review(new: Mapping[str, Any]) -> dict[str, Any]:
    request = {"uid": "u-1", "operation": "CREATE", "kind": {"kind": "Database"}, "name": "x", "object": new}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def test_the_webhook_answers_over_its_own_ca_and_takes_in_a_renewed_certificate(tmp_path: Path) -> None:
    seen: list[AdmissionRequest] = []

    async def admit(request: AdmissionRequest) -> Verdict:
        seen.append(request)
        return Verdict(allowed=False, message="spec.x: no")

    async def post(port: int, ca: bytes, body: bytes) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(ssl=_client(ca))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(f"https://localhost:{port}/validate", data=body) as answer,
        ):
            return answer.status, await answer.text()

    async def scenario() -> None:
        now = datetime.now(UTC)
        first, second = (make_serving_certificate(["localhost"], now) for _ in range(2))
        reloading = ReloadingCertificate(*_write(tmp_path, first))
        body = json.dumps(_review({"spec": {}})).encode()
        async with serving(Address("localhost", 0), webhook_application(admit), reloading.context) as port:
            status, text = await post(port, first.ca, body)
            response = json.loads(text)["response"]
            assert (status, response["uid"], response["allowed"]) == (200, "u-1", False)
            assert response["status"]["message"] == "spec.x: no"
            assert (await post(port, first.ca, b"rubbish"))[0] == 400
            assert not reloading.reload_if_changed()
            (tmp_path / "tls.crt").write_bytes(b"half a file")
            assert not reloading.reload_if_changed()
            _write(tmp_path, second)
            assert reloading.reload_if_changed()
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await post(port, first.ca, body)
            assert (await post(port, second.ca, body))[0] == 200

    asyncio.run(scenario())
    assert seen[0].new == {"spec": {}}
    assert seen[0].old is None


def test_a_mounted_secret_is_taken_in_when_its_folder_is_exchanged(tmp_path: Path) -> None:
    """The kubelet writes a folder of its own for each version and turns the link `..data` to it (AtomicWriter)."""

    def mount(version: str) -> ServingCertificate:
        made = make_serving_certificate(["localhost"], datetime.now(UTC))
        folder = tmp_path / version
        folder.mkdir()
        for name, content in (("tls.crt", made.certificate), ("tls.key", made.key)):
            (folder / name).write_bytes(content)
            # The same second for both versions: a time alone tells nothing.
            os.utime(folder / name, ns=(10**18, 10**18))
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        return made

    async def ask(port: int, ca: ServingCertificate) -> int:
        trust = ssl.create_default_context(cadata=ca.ca.decode())
        async with aiohttp.ClientSession() as session, session.get(f"https://localhost:{port}/x", ssl=trust) as answer:
            return answer.status

    async def scenario() -> None:
        first = mount("..2026_01")
        for name in ("tls.crt", "tls.key"):
            (tmp_path / name).symlink_to(f"..data/{name}")
        certificate = ReloadingCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")
        application = web.Application()
        async with serving(LOOPBACK, application, certificate.context) as port:
            assert await ask(port, first) == 404
            second = mount("..2026_02")
            assert certificate.reload_if_changed()
            assert not certificate.reload_if_changed()
            assert await ask(port, second) == 404
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(port, first)

    asyncio.run(scenario())


def test_a_bundle_trusts_the_earlier_authority_until_its_end() -> None:
    bundle, made = b"", []
    for month in range(5):
        one = make_serving_certificate(["x"], NOW + timedelta(days=30 * month), timedelta(days=100))
        made.append(one.ca)
        bundle = bundle_of(one.ca, bundle, NOW + timedelta(days=30 * month))
        assert bundle_of(one.ca, bundle, NOW + timedelta(days=30 * month)) == bundle
    assert bundle == b"".join(made[-3:])
    assert bundle_of(made[-1], bundle, NOW + timedelta(days=1000)) == made[-1]
    assert bundle_of(made[-1], b"no PEM", NOW) == made[-1]


def test_a_certificate_is_renewed_before_it_ends_and_when_its_names_change() -> None:
    made = make_serving_certificate(["a.svc", "b.svc"], NOW)
    assert not must_be_renewed(made.certificate, ["a.svc"], NOW + timedelta(days=300))
    assert must_be_renewed(made.certificate, ["a.svc"], NOW + timedelta(days=306))
    assert must_be_renewed(made.certificate, ["c.svc"], NOW)
    assert must_be_renewed(b"rubbish", ["a.svc"], NOW)
    assert "PRIVATE" not in repr(made)


def test_a_log_line_is_json_with_the_reconcile_it_belongs_to() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "did %s", ("it",), None)
    record.database = "app"
    token, run = reconciling.set(Key("Database", "team", "app")), reconcile_id.set("r1")
    try:
        line = json.loads(JsonFormatter().format(record))
    finally:
        reconciling.reset(token)
        reconcile_id.reset(run)
    assert (line["message"], line["kind"], line["namespace"], line["name"]) == ("did it", "Database", "team", "app")
    assert (line["reconcileId"], line["database"]) == ("r1", "app")
