"""Real object stores as processes of the test: each on a free port of loopback, its data in a temporary folder."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.kube.process import HOST, Child, free_port
from tests.storage.programs import azurite, go_program

REGION = "eu-west-1"
ACCESS, SECRET = "AKIDROOT", "the-secret-of-the-root-account"
_START_TIMEOUT_SECONDS = 30.0

Data = Mapping[str, bytes]


class StoreServer(ABC):
    """A running store; `stop` and `start` it at will, its data stays."""

    provider: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._child: Child | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "it was started"
        return self._child

    def start(self) -> None:
        """Start it and wait until it answers."""
        # The folder stands among the arguments, and no other process names it.
        self._child = Child(self._command(), self.folder.with_suffix(".log"), str(self.folder), self._environment())
        end = time.monotonic() + _START_TIMEOUT_SECONDS
        while not self._answers():
            if time.monotonic() > end or self._child.returncode is not None:
                raise AssertionError(f"{self.provider} did not start: {self._child.last_lines()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self.child.stop()

    def _answers(self) -> bool:
        try:
            return _asked("GET", self.endpoint, {})[0] > 0
        except OSError:
            return False

    def _environment(self) -> Mapping[str, str] | None:
        return None

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    @abstractmethod
    def make_bucket(self, name: str) -> None:
        """Make a bucket or container."""

    @abstractmethod
    def spec(self, bucket: str, endpoint: str | None = None) -> dict[str, Any]:
        """The spec of a BackupStorage for it."""

    @abstractmethod
    def data(self) -> Data:
        """A Secret's data that gives access."""


class S3Server(StoreServer):
    """versitygw on a folder."""

    provider = "s3"

    def _command(self) -> list[str | Path]:
        accounts = self.folder.with_name(f"{self.folder.name}-accounts")
        accounts.mkdir(exist_ok=True)
        options: list[str | Path] = ["--port", f"{HOST}:{self.port}", "--region", REGION, "--iam-dir", accounts]
        return [go_program("versitygw"), *options, "--quiet", "posix", self.folder]

    def _environment(self) -> Mapping[str, str]:
        return {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET, "PATH": "/usr/bin:/bin"}

    def make_bucket(self, name: str) -> None:
        self.request("PUT", name)

    def spec(self, bucket: str, endpoint: str | None = None) -> dict[str, Any]:
        return {
            "s3": {
                "bucket": bucket,
                "region": REGION,
                "endpoint": endpoint or self.endpoint,
                "forcePathStyle": True,
            }
        }

    def data(self) -> Data:
        return s3_data(ACCESS, SECRET)

    def make_account(self) -> Data:
        """Make an account that may do nothing yet; what is returned gives its name under AWS_ACCESS_KEY_ID."""
        name, secret = f"AKID{secrets.token_hex(4)}", secrets.token_hex(10)
        told = f"<Account><Access>{name}</Access><Secret>{secret}</Secret><Role>user</Role></Account>"
        self.request("PATCH", "create-user", body=told.encode())
        return s3_data(name, secret)

    def allow(self, bucket: str, account: Data, *actions: str) -> None:
        """Give an account some rights on a bucket; earlier ones are replaced."""
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [account["AWS_ACCESS_KEY_ID"].decode()]},
            "Action": list(actions),
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.request("PUT", bucket, "policy=", body=policy.encode())

    def request(self, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        """Send what obstore cannot, signed as the root account (AWS Signature Version 4)."""
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        payload = hashlib.sha256(body).hexdigest()
        headers = {"host": f"{HOST}:{self.port}", "x-amz-content-sha256": payload, "x-amz-date": stamp}
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"{method}\n/{path}\n{query}\n{lines}\n{signed}\n{payload}"
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        authorization = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={signed}, Signature={signature}"
        url = f"{self.endpoint}/{path}" + (f"?{query}" if query else "")
        return _send(method, url, {**headers, "Authorization": authorization}, body)


class GcsServer(StoreServer):
    """fake-gcs-server on a folder, with the part of Google's XML API that it lacks in front of it."""

    provider = "gcs"
    _front: Child | None = None

    def __init__(self, folder: Path) -> None:
        self._upstream_port = free_port()
        super().__init__(folder)

    def start(self) -> None:
        uploads = self.folder.with_name(f"{self.folder.name}-uploads")
        upstream = f"http://{HOST}:{self._upstream_port}"
        command = [sys.executable, "-m", "tests.storage.gcs_xml", str(self.port), upstream, str(uploads)]
        log = self.folder.with_name(f"{self.folder.name}-front.log")
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._front = Child(command, log, str(uploads), environment)
        super().start()

    def stop(self) -> None:
        super().stop()
        if self._front is not None:
            self._front.stop()

    def _command(self) -> list[str | Path]:
        port = str(self._upstream_port)
        options: list[str | Path] = ["-scheme", "http", "-host", HOST, "-port", port, "-public-host", f"{HOST}:{port}"]
        options += ["-log-level", "error", "-backend", "filesystem", "-filesystem-root", self.folder]
        return [go_program("fake-gcs-server"), *options]

    def _answers(self) -> bool:
        try:
            return _asked("GET", f"{self.endpoint}/_internal/healthcheck", {})[0] == 200
        except OSError:
            return False

    def make_bucket(self, name: str) -> None:
        body = json.dumps({"name": name}).encode()
        _send("POST", f"{self.endpoint}/storage/v1/b?project=test", {"Content-Type": "application/json"}, body)

    def spec(self, bucket: str, endpoint: str | None = None) -> dict[str, Any]:
        return {"gcs": {"bucket": bucket, "endpoint": endpoint or self.endpoint}}

    def data(self) -> Data:
        # The server checks no login: a key that says so keeps the client from fetching a token.
        key = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        return {"GOOGLE_APPLICATION_CREDENTIALS_JSON": json.dumps(key).encode()}


class AzureServer(StoreServer):
    """Azurite's blob service."""

    provider = "azure"
    ACCOUNT = "devstoreaccount1"
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    """The account and the key that every Azurite has, as its documentation tells."""

    @property
    def account_url(self) -> str:
        """The URL of the account."""
        return f"{self.endpoint}/{self.ACCOUNT}"

    def _command(self) -> list[str | Path]:
        options: list[str | Path] = ["--blobHost", HOST, "--blobPort", str(self.port), "--location", self.folder]
        return [*azurite(), *options, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]

    def make_bucket(self, name: str) -> None:
        headers = {
            "x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-ms-version": "2023-11-03",
        }
        lines = "".join(f"{key}:{headers[key]}\n" for key in sorted(headers))
        text = "PUT" + "\n" * 12 + f"{lines}/{self.ACCOUNT}/{self.ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(self.KEY), text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {self.ACCOUNT}:{signature}"
        _send("PUT", f"{self.account_url}/{name}?restype=container", headers, b"")

    def spec(self, bucket: str, endpoint: str | None = None) -> dict[str, Any]:
        url = self.account_url if endpoint is None else f"{endpoint}/{self.ACCOUNT}"
        return {"azure": {"container": bucket, "storageAccount": self.ACCOUNT, "endpoint": url}}

    def data(self) -> Data:
        return {"AZURE_STORAGE_ACCOUNT_KEY": self.KEY.encode()}


SERVERS: Mapping[str, type[StoreServer]] = {kind.provider: kind for kind in (S3Server, GcsServer, AzureServer)}


def s3_data(access: str, secret: str) -> Data:
    """A Secret's data with an S3 key."""
    return {"AWS_ACCESS_KEY_ID": access.encode(), "AWS_SECRET_ACCESS_KEY": secret.encode()}


def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    status, content = _asked(method, url, headers, body)
    assert status < 300, f"{method} {url}: {status} {content[:500]!r}"
    return content


def _asked(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
