"""Who we are to an API server: tokens that rotate, plugins, certificates."""

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from tests.kube.certificates import Authority, Pair
from tests.runtime.kube.api_server import DATABASES, ApiServer, Intercept, running, status

from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.connection import ClientCertificate, Connection, ExecPlugin, Pem, Token, TokenFile
from dbtether.runtime.kube.errors import KubeconfigError, Unauthorized, Unreachable
from dbtether.runtime.kube.objects import ObjectList
from dbtether.runtime.kube.requests import Collection

LIST = Collection(DATABASES).list_page(limit=None)
SECRET = "s3cret-value"


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


def tokens(server: ApiServer) -> list[str]:
    return [one.headers.get("Authorization", "").removeprefix("Bearer ") for one in server.requests]


def accept(server: ApiServer, *accepted: str) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return None if token in accepted else status(401, "Unauthorized")

    server.intercept = refuse


def plugin(tmp_path: Path, program: str, **settings: object) -> ExecPlugin:
    """A plugin that runs a Python program, which may use `show(status)`."""
    path = tmp_path / "plugin.py"
    path.write_text(
        "import json, os, pathlib, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "def show(status, version='client.authentication.k8s.io/v1'):\n"
        "    print(json.dumps({'kind': 'ExecCredential', 'apiVersion': version, 'status': status}))\n"
        f"{program}\n"
    )
    return ExecPlugin(sys.executable, (str(path),), **settings)  # type: ignore[arg-type]


COUNTING = (
    "count = here / 'count'\n"
    "n = int(count.read_text()) + 1 if count.exists() else 1\n"
    "count.write_text(str(n))\n"
    "show({'token': f'token-{n}', 'expirationTimestamp': os.environ.get('EXPIRES') or None})"
)


def test_a_token_that_was_rotated_is_read_anew_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text("old\n")
        async with running(ApiServer()) as server:
            accept(server, "old")
            async with Client(replace(server.connection, identity=TokenFile(file))) as client:
                await client.send(LIST, ObjectList)
                file.write_text("new\n")
                accept(server, "new")
                await client.send(LIST, ObjectList)
                assert tokens(server) == ["old", "old", "new"]

    run(main())


def test_a_token_that_is_refused_and_was_not_rotated_is_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text(SECRET)
        async with running(ApiServer()) as server:
            accept(server)
            for identity in (TokenFile(file), Token(SECRET)):
                async with Client(replace(server.connection, identity=identity)) as client:
                    with pytest.raises(Unauthorized) as refused:
                        await client.send(LIST, ObjectList)
                    assert SECRET not in str(refused.value)
            assert len(server.requests) == 2

    run(main())


def test_a_plugin_is_run_once_for_many_requests_and_again_when_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(ApiServer()) as server:
            connection = replace(server.connection, identity=plugin(tmp_path, COUNTING))
            async with Client(connection) as client:
                await asyncio.gather(*(client.send(LIST, ObjectList) for _ in range(5)))
                assert set(tokens(server)) == {"token-1"}
                server.requests.clear()
                accept(server, "token-2")
                await client.send(LIST, ObjectList)
                assert tokens(server) == ["token-1", "token-2"]

    run(main())


def test_a_plugins_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    async def main() -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        async with running(ApiServer()) as server:
            identity = plugin(tmp_path, COUNTING, environment=(("EXPIRES", soon),))
            async with Client(replace(server.connection, identity=identity)) as client:
                for _ in range(2):
                    await client.send(LIST, ObjectList)
                assert tokens(server) == ["token-1", "token-2"]

    run(main())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        pytest.param("sys.exit(3)", r"failed with exit code 3 \(install me\)", id="a failure"),
        pytest.param(f"print({SECRET!r})", "did not print an ExecCredential", id="no JSON"),
        pytest.param("show({'token': 'x'}, 'client.authentication.k8s.io/v1beta1')", "of client.auth", id="a version"),
        pytest.param("show({})", "neither a token nor a certificate", id="nothing"),
        pytest.param("show({'clientKeyData': 'x'})", "without its key, or the reverse", id="half a pair"),
    ],
)
def test_a_plugin_that_gives_nothing_is_named(tmp_path: Path, program: str, message: str) -> None:
    async def main() -> None:
        async with running(ApiServer()) as server:
            identity = plugin(tmp_path, program, install_hint="install me")
            async with Client(replace(server.connection, identity=identity)) as client:
                with pytest.raises(KubeconfigError, match=message) as refused:
                    await client.send(LIST, ObjectList)
                assert SECRET not in str(refused.value)

    run(main())


def test_a_plugin_that_is_not_installed_is_named_with_its_hint() -> None:
    async def main() -> None:
        identity = ExecPlugin("no-such-plugin", install_hint="see example.com")
        async with Client(Connection("http://127.0.0.1:1", identity=identity)) as client:
            with pytest.raises(KubeconfigError, match=r"no-such-plugin cannot be run: .* \(see example.com\)"):
                await client.send(LIST, ObjectList)

    run(main())


def test_a_plugin_learns_about_the_cluster_if_it_wants_to(tmp_path: Path) -> None:
    async def main() -> None:
        program = "(here / 'info').write_text(os.environ['KUBERNETES_EXEC_INFO']); show({'token': 'x'})"
        async with running(ApiServer()) as server:
            connection = replace(
                server.connection,
                identity=plugin(tmp_path, program, provide_cluster_info=True),
                certificate_authority=Pem(b"PEM"),
            )
            async with Client(connection) as client:
                await client.send(LIST, ObjectList)
            info = json.loads((tmp_path / "info").read_text())
            assert info["kind"] == "ExecCredential"
            assert info["spec"]["cluster"]["server"] == server.url
            assert base64.b64decode(info["spec"]["cluster"]["certificate-authority-data"]) == b"PEM"

    run(main())


class Tls:
    """A CA, and an API server that wants certificates of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.authority = Authority(folder)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority.file))
        self.context.verify_mode = ssl.CERT_REQUIRED
        pair = self.authority.server()
        self.context.load_cert_chain(pair.certificate, pair.key)

    def client(self, user: str) -> ClientCertificate:
        pair = self.authority.client(user)
        return ClientCertificate(Pem(path=pair.certificate), Pem(path=pair.key))


def noted(users: list[str]) -> Intercept:
    async def note(request: web.Request) -> web.StreamResponse | None:
        assert request.transport
        subject = request.transport.get_extra_info("peercert")["subject"]
        users.append(dict(part[0] for part in subject)["commonName"])
        return None

    return note


def test_a_client_certificate_tells_who_we_are_and_is_read_anew_when_its_file_changes(tmp_path: Path) -> None:
    async def main() -> None:
        tls, users = Tls(tmp_path / "ca"), list[str]()
        async with running(ApiServer(), tls.context) as server:
            server.intercept = noted(users)
            shown = tls.client("anna")
            connection = replace(
                server.connection, certificate_authority=Pem(path=tls.authority.file), client_certificate=shown
            )
            async with Client(connection) as client:
                await client.send(LIST, ObjectList)
                _replace(shown, tls.authority.client("berta"))
                await client.send(LIST, ObjectList)
        assert users == ["anna", "berta"]

    run(main())


def test_a_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        tls, users = Tls(tmp_path / "ca"), list[str]()
        pair = tls.authority.client("carla")
        program = (
            f"show({{'clientCertificateData': pathlib.Path({str(pair.certificate)!r}).read_text(), "
            f"'clientKeyData': pathlib.Path({str(pair.key)!r}).read_text()}})"
        )
        async with running(ApiServer(), tls.context) as server:
            server.intercept = noted(users)
            connection = replace(
                server.connection,
                certificate_authority=Pem(tls.authority.file.read_bytes()),
                identity=plugin(tmp_path, program),
            )
            async with Client(connection) as client:
                await client.send(LIST, ObjectList)
        assert users == ["carla"]

    run(main())


def test_a_server_that_another_ca_signed_is_not_trusted_unless_told_so(tmp_path: Path) -> None:
    async def main() -> None:
        tls, stranger = Tls(tmp_path / "ca"), Tls(tmp_path / "stranger")
        async with running(ApiServer(), tls.context) as server:
            connection = replace(
                server.connection,
                certificate_authority=Pem(path=stranger.authority.file),
                client_certificate=tls.client("anna"),
            )
            async with Client(connection) as client:
                with pytest.raises(Unreachable, match="its certificate is not trusted"):
                    await client.send(LIST, ObjectList, timeout_seconds=0.5)
            async with Client(replace(connection, insecure_skip_tls_verify=True)) as client:
                await client.send(LIST, ObjectList)

    run(main())


@pytest.mark.parametrize("content", [None, b"no PEM"])
def test_a_certificate_that_cannot_be_used_is_an_error_without_its_content(
    tmp_path: Path, content: bytes | None
) -> None:
    async def main() -> None:
        file = tmp_path / "ca.crt"
        if content is not None:
            file.write_bytes(content)
        connection = Connection("https://127.0.0.1:1", certificate_authority=Pem(path=file), source="the test")
        async with Client(connection) as client:
            with pytest.raises(KubeconfigError, match="the test: a certificate") as refused:
                await client.send(LIST, ObjectList)
            assert "no PEM" not in str(refused.value)

    run(main())


def _replace(shown: ClientCertificate, new: Pair) -> None:
    assert shown.certificate.path
    assert shown.key.path
    shown.certificate.path.write_bytes(new.certificate.read_bytes())
    shown.key.path.write_bytes(new.key.read_bytes())
