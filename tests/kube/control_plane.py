"""etcd, kube-apiserver and kube-controller-manager on loopback: made, started, and ended by their own pids."""

import contextlib
import http.client
import json
import secrets
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kube.certificates import Authority, new_key, write_key
from tests.kube.process import HOST, Child, free_port
from tests.kube.programs import Programs

_START_TIMEOUT_SECONDS = 120.0
_REQUEST_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_PORT_ATTEMPTS = 3
_ADMIN = "dbtether-test-admin"


class ControlPlaneError(Exception):
    """A control plane that did not start; the message ends with what the program itself said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered."""

    status: int
    body: Any
    """The JSON, or the text when it is none."""
    warnings: tuple[str, ...]
    """What kubectl shows as Warning."""


class ControlPlane:
    """A Kubernetes without nodes: every object is real, Pods stay pending.

    RBAC decides who may do what; the token is an administrator's, and so is the client certificate.
    """

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.authority = Authority(folder)
        self._server = self.authority.server()
        self._service_accounts = folder / "service-accounts.key"
        write_key(self._service_accounts, new_key())
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{self.token},{_ADMIN},{_ADMIN},"system:masters"\n')
        self._port = 0
        self._etcd_url = ""
        self._children: dict[str, Child] = {}

    @classmethod
    def started(cls, programs: Programs, folder: Path) -> "ControlPlane":
        """Return a running control plane whose files are in the folder.

        Raises NoPrograms when a program cannot be had, ControlPlaneError when one does not start.
        """
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"):
            programs.find(name)
        plane = cls(programs, folder)
        try:
            plane._start_all()
        except BaseException:
            plane.stop()
            raise
        return plane

    @property
    def url(self) -> str:
        """Where the API server is; the same after it was started anew."""
        return f"https://{HOST}:{self._port}"

    @property
    def api_server(self) -> Child:
        """The API server's process, to stop, to pause or to kill; `start_api_server` brings it back."""
        return self._children["kube-apiserver"]

    def compact(self) -> None:
        """Have etcd forget everything but the present, as it does by itself every five minutes."""
        found = self._ask_etcd("range", {"key": "AA=="})
        self._ask_etcd("compaction", {"revision": found["header"]["revision"], "physical": True})

    def _ask_etcd(self, what: str, body: dict[str, Any]) -> Any:
        """One call through etcd's gateway from JSON to gRPC."""
        request = urllib.request.Request(  # noqa: S310 - our own server's address
            f"{self._etcd_url}/v3/kv/{what}", data=json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=_REQUEST_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.loads(answer.read())

    @contextmanager
    def without_garbage_collector(self) -> Iterator[None]:
        """Pause the controller manager, which deletes what names an owner that does not exist."""
        manager = self._children["kube-controller-manager"]
        manager.send(signal.SIGSTOP)
        try:
            yield
        finally:
            manager.send(signal.SIGCONT)

    def start_api_server(self, *options: str) -> None:
        """Start the API server anew on its port, with further options, and return once it is ready."""
        self.api_server.stop(signal.SIGKILL)
        self._start_api_server(*options)
        self._wait_until("kube-apiserver", self._is_ready)

    def stop(self) -> None:
        """End all processes; doing it twice does nothing."""
        for child in reversed(self._children.values()):
            # Nothing here is worth a graceful end, which takes the API server seconds.
            child.stop(signal.SIGKILL)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send one request, as the administrator when no token is given, and return what came back, an error too."""
        request = urllib.request.Request(  # noqa: S310 - our own server's address
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": content_type},
        )
        context = ssl.create_default_context(cafile=str(self.authority.file))
        try:
            response = urllib.request.urlopen(request, context=context, timeout=_REQUEST_TIMEOUT_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read().decode()
            # RFC 7234, 5.5: code, agent and the quoted text.
            warnings = tuple(line.split('"', 1)[1].rstrip('"') for line in response.headers.get_all("Warning") or ())
        try:
            return Answer(response.status, json.loads(text), warnings)
        except ValueError:
            return Answer(response.status, text, warnings)

    def kubeconfig(self, name: str, user: dict[str, Any]) -> Path:
        """Write a kubeconfig for this server with one user's credentials, and return its path."""
        path = self.folder / f"{name}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.authority.file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        # JSON is YAML too.
        path.write_text(json.dumps(document, indent=2))
        return path

    def _start_all(self) -> None:
        self._with_free_ports("etcd", self._start_etcd, self._etcd_is_ready)
        self._with_free_ports("kube-apiserver", self._start_api_server_anywhere, self._is_ready)
        self._start_controller_manager()
        self._wait_until("kube-controller-manager", self._has_default_service_account)

    def _with_free_ports(self, name: str, start: Any, is_ready: Any) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            start()
            try:
                self._wait_until(name, is_ready)
            except ControlPlaneError as error:
                # Between asking for a free port and taking it, another process may have been quicker.
                if "address already in use" not in str(error) or attempt == _PORT_ATTEMPTS:
                    raise
                self._children[name].stop()
            else:
                return

    def _start(self, name: str, arguments: list[str]) -> None:
        program = self.programs.find(name)
        self._children[name] = Child([program, *arguments], self.folder / f"{name}.log", str(self.folder))

    def _start_etcd(self) -> None:
        self._etcd_url, peers = (f"http://{HOST}:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            [
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={self._etcd_url}",
                f"--advertise-client-urls={self._etcd_url}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )

    def _start_api_server_anywhere(self) -> None:
        self._port = free_port()
        self._start_api_server()

    def _start_api_server(self, *options: str) -> None:
        self._start(
            "kube-apiserver",
            [
                f"--etcd-servers={self._etcd_url}",
                f"--bind-address={HOST}",
                f"--advertise-address={HOST}",
                # A loopback address is refused as the endpoint of the Service `kubernetes`.
                "--endpoint-reconciler-type=none",
                f"--secure-port={self._port}",
                f"--tls-cert-file={self._server.certificate}",
                f"--tls-private-key-file={self._server.key}",
                f"--cert-dir={self.folder}",
                f"--client-ca-file={self.authority.file}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self._service_accounts}",
                f"--service-account-signing-key-file={self._service_accounts}",
                *options,
            ],
        )

    def _start_controller_manager(self) -> None:
        pair = self.authority.client("system:kube-controller-manager")
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        self._start(
            "kube-controller-manager",
            [
                f"--kubeconfig={self.kubeconfig('kube-controller-manager', user)}",
                "--use-service-account-credentials",
                f"--service-account-private-key-file={self._service_accounts}",
                f"--root-ca-file={self.authority.file}",
                "--leader-elect=false",
                "--secure-port=0",
            ],
        )

    def _wait_until(self, name: str, is_ready: Any) -> None:
        child = self._children[name]
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not is_ready():
            if child.returncode is not None:
                raise ControlPlaneError(f"{name} did not start: {child.last_lines()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    f"{name} was not ready in {_START_TIMEOUT_SECONDS:.0f} seconds: {child.last_lines()}"
                )
            time.sleep(_POLL_SECONDS)

    def _etcd_is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._etcd_url}/health", timeout=5) as answer:  # noqa: S310
            return b'"true"' in answer.read()
        return False

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/readyz").status == 200
        return False

    def _has_default_service_account(self) -> bool:
        return self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default").status == 200
