"""Without keys, the workload's cloud identity is asked the way each cloud hands it to a Pod."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.kube.process import HOST, free_port
from tests.storage.fixtures import new_bucket
from tests.storage.servers import ACCESS, REGION, SECRET, S3Server

_EXPIRES = "2035-01-01T00:00:00Z"
_LISTED = """
import asyncio, sys
from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.storage.errors import StorageError
from dbtether.storage.opening import open_store
async def main():
    try:
        store = open_store(BackupStorageSpec.model_validate_json(sys.argv[1]), None, None)
        print("listed", len(await store.list()))
    except StorageError as error:
        print(error.fault.value, error.message)
asyncio.run(main())
"""


@contextmanager
def cloud_that_answers(answer: str) -> Iterator[tuple[str, list[tuple[str, str, Mapping[str, str]]]]]:
    """Give the URL of what stands in for a cloud's token service, and what it was asked."""
    asked: list[tuple[str, str, Mapping[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            asked.append((f"{self.command} {self.path}", body, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listed(spec: Mapping[str, Any], **environment: str) -> str:
    """What a process says that lists the store with this environment and no keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    ran = subprocess.run(
        [sys.executable, "-c", _LISTED, json.dumps(spec)],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, **environment},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.strip()


def test_eks_pod_identity_and_ecs_give_the_keys(s3: S3Server, tmp_path: Path) -> None:
    place = new_bucket(s3)
    token = tmp_path / "token"
    token.write_text("the-pods-token")
    answer = {"AccessKeyId": ACCESS, "SecretAccessKey": SECRET, "Token": "", "Expiration": _EXPIRES}
    with cloud_that_answers(json.dumps(answer)) as (url, asked):
        said = listed(
            place.spec,
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{url}/v1/credentials",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token),
        )
    path, _, headers = asked[0]
    assert path == "GET /v1/credentials"
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "the-pods-token"
    assert said == "listed 0"


def test_irsa_asks_the_token_service_and_over_tls_only(s3: S3Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-service-accounts-token")
    with cloud_that_answers("") as (url, asked):
        said = listed(
            new_bucket(s3).spec,
            AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
            AWS_ROLE_ARN="arn:aws:iam::123456789012:role/backups",
            AWS_ENDPOINT_URL_STS=url,
        )
    # Which shows that the variables of IRSA are followed, and that no token goes over plain HTTP.
    assert said.startswith("CloudIdentityFailed"), said
    assert "the-service-accounts-token" not in said
    assert asked == []


def test_a_managed_identity_of_azure_is_asked_for_a_token() -> None:
    spec = {"azure": {"container": "abc", "storageAccount": "abc", "endpoint": f"http://{HOST}:{free_port()}/abc"}}
    answer = {"access_token": "t0ken", "expires_on": "2000000000", "token_type": "Bearer", "resource": "x"}
    with cloud_that_answers(json.dumps(answer)) as (url, asked):
        said = listed(spec, IDENTITY_ENDPOINT=url, IDENTITY_HEADER="header")
    assert "storage.azure.com" in asked[0][0]
    assert said.startswith("StorageUnreachable")


def test_the_workload_identity_of_azure_trades_the_service_accounts_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-service-accounts-token")
    spec = {"azure": {"container": "abc", "storageAccount": "abc", "endpoint": f"http://{HOST}:{free_port()}/abc"}}
    with cloud_that_answers(json.dumps({"access_token": "t0ken", "expires_in": 3600})) as (url, asked):
        said = listed(
            spec,
            AZURE_CLIENT_ID="client",
            AZURE_TENANT_ID="tenant",
            AZURE_FEDERATED_TOKEN_FILE=str(token),
            AZURE_AUTHORITY_HOST=url,
        )
    assert asked[0][0] == "POST /tenant/oauth2/v2.0/token"
    assert "the-service-accounts-token" in asked[0][1]
    assert said.startswith("StorageUnreachable")


def test_the_metadata_server_of_google_is_asked_for_a_token() -> None:
    spec = {"gcs": {"bucket": "abc", "endpoint": f"http://{HOST}:{free_port()}"}}
    with cloud_that_answers(json.dumps({"access_token": "t0ken", "expires_in": 3600})) as (url, asked):
        said = listed(spec, GCE_METADATA_HOST=url.removeprefix("http://"))
    assert "service-accounts/default/token" in asked[0][0]
    assert said.startswith("StorageUnreachable")


def test_where_there_is_no_identity_that_is_said() -> None:
    spec = {"s3": {"bucket": "abc", "region": REGION}}
    said = listed(spec, AWS_METADATA_ENDPOINT=f"http://{HOST}:{free_port()}")
    assert said.startswith("CloudIdentityFailed"), said
