"""What a test does with a Kubernetes: namespaces of its own, accounts, kubectl and helm."""

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kube.control_plane import Answer, ControlPlane


class Kube:
    """A running Kubernetes; `url`, `token`, `ca_file` and `kubeconfig` are an administrator's."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.kubeconfig = plane.kubeconfig("admin", {"token": plane.token})

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self.plane.url

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return self.plane.token

    @property
    def ca_file(self) -> Path:
        """The CA that signed the API server's certificate."""
        return self.plane.authority.file

    @property
    def kubectl_path(self) -> Path:
        """The program kubectl."""
        return self.plane.programs.find("kubectl")

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send one request; see ControlPlane.request."""
        return self.plane.request(method, path, body, **options)

    def create_namespace(self, prefix: str = "t", labels: dict[str, str] | None = None) -> str:
        """Make a namespace that no other test uses, and return its name."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        body = {"metadata": {"name": name, "labels": labels or {}}}
        answer = self.request("POST", "/api/v1/namespaces", body)
        assert answer.status == 201, answer
        return name

    def delete_namespace(self, name: str) -> None:
        """Ask for the end of a namespace and of all in it; does not wait."""
        self.request("DELETE", f"/api/v1/namespaces/{name}")

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a token of a ServiceAccount that exists, as a Pod gets it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.request("POST", path, {"spec": {"expirationSeconds": 3600}})
        assert answer.status == 201, answer
        return str(answer.body["status"]["token"])

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig of a ServiceAccount that exists: who uses it has that account's rights alone."""
        token = self.service_account_token(namespace, name)
        return self.plane.kubeconfig(f"{namespace}-{name}-{secrets.token_hex(4)}", {"token": token})

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig of a person, who logs in with a client certificate and has no rights yet."""
        pair = self.plane.authority.client(user, groups)
        credentials = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        return self.plane.kubeconfig(f"user-{user}", credentials)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run kubectl, as the administrator when no kubeconfig is given; with `check` a failure fails the test."""
        return self.tool("kubectl", *arguments, stdin=stdin, kubeconfig=kubeconfig, check=check)

    def helm(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run helm in the same way."""
        return self.tool("helm", *arguments, stdin=stdin, kubeconfig=kubeconfig, check=check)

    def shell(self, command: str, folder: Path) -> str:
        """Run a command line as a reader of the documentation types it, and return what it printed; it must succeed.

        A failure anywhere in a pipe counts.
        """
        path = ":".join(str(self.plane.programs.find(name).parent) for name in ("kubectl", "helm"))
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=self._environment() | {"PATH": f"{path}:{os.environ['PATH']}", "KUBECONFIG": str(self.kubeconfig)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def apply(self, manifests: str, *arguments: str) -> str:
        """Apply manifests with kubectl and return what it said."""
        return self.kubectl("apply", *arguments, "-f", "-", stdin=manifests).stdout

    def tool(
        self, name: str, *arguments: str, stdin: str | None, kubeconfig: Path | None, check: bool
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of the programs with nothing of the caller's own Kubernetes settings."""
        ended = subprocess.run(
            [str(self.plane.programs.find(name)), *arguments],
            env=self._environment() | {"KUBECONFIG": str(kubeconfig or self.kubeconfig)},
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and ended.returncode != 0:
            raise AssertionError(f"{name} {' '.join(arguments)} failed: {ended.stdout}{ended.stderr}")
        return ended

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's own Kubernetes settings."""
        home = self.plane.folder / "home"
        home.mkdir(exist_ok=True)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE", "XDG_"))
        }
        return {**inherited, "HOME": str(home)}
