"""Reads how to connect: KUBECONFIG, ~/.kube/config, or the files that a Pod finds about its own cluster.

Kubernetes: "Organizing Cluster Access Using kubeconfig Files" says how several files are merged.
No error of this module quotes a value of a file.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import yaml

from dbtether.runtime.kube.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    ExecPlugin,
    Identity,
    Pem,
    Token,
    TokenFile,
)
from dbtether.runtime.kube.errors import KubeconfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def find_connection(
    environment: Mapping[str, str] = os.environ,
    *,
    context: str | None = None,
    kubeconfig: Path | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """The connection that is asked for, else that of KUBECONFIG, ~/.kube/config, or the Pod we run in.

    Raises KubeconfigError when there is none, or when it cannot be used.
    """
    paths = [kubeconfig] if kubeconfig else _paths(environment)
    existing = [path for path in paths if path.exists()]
    if existing:
        return read_kubeconfig(existing, environment, context=context)
    if kubeconfig or environment.get("KUBECONFIG"):
        raise KubeconfigError(f"there is no kubeconfig at {' or '.join(map(str, paths))}")
    if (service_account / "token").exists():
        return in_cluster_connection(environment, service_account=service_account)
    raise KubeconfigError(
        f"there is no cluster to talk to: no KUBECONFIG, no {paths[0] if paths else '~/.kube/config'}, "
        f"and no service account at {service_account}"
    )


def in_cluster_connection(
    environment: Mapping[str, str] = os.environ, *, service_account: Path = SERVICE_ACCOUNT
) -> Connection:
    """The Pod's own way to its API server ("Accessing the Kubernetes API from a Pod").

    Raises KubeconfigError when this process does not run in a Pod with a service account.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise KubeconfigError("KUBERNETES_SERVICE_HOST is not set although there is a service account")
    authority = service_account / "ca.crt"
    if not authority.exists():
        raise KubeconfigError(f"{authority} is missing, so the API server cannot be verified")
    try:
        namespace = (service_account / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    return Connection(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace or "default",
        certificate_authority=Pem(path=authority),
        identity=TokenFile(service_account / "token"),
        source=f"the service account at {service_account}",
    )


def read_kubeconfig(
    paths: list[Path], environment: Mapping[str, str] = os.environ, *, context: str | None = None
) -> Connection:
    """The connection of the named, or the current, context of the merged files.

    Raises KubeconfigError when a file, a name or an entry is wrong.
    """
    files = [_load(path) for path in paths]
    name = context or next((file.current_context for file in files if file.current_context), "")
    if not name:
        raise KubeconfigError(f"{files[0].path} has no current-context; name one")
    chosen = _find(files, "contexts", "context", name)
    cluster = _find(files, "clusters", "cluster", chosen.text("cluster"))
    user_name = chosen.text("user")
    user = _find(files, "users", "user", user_name) if user_name else _Entry({}, chosen.path, "no user")
    server = cluster.text("server").rstrip("/")
    url = urlsplit(server)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise cluster.error("server is not an http or https URL")
    return Connection(
        server=server,
        namespace=chosen.text("namespace") or "default",
        certificate_authority=cluster.pem("certificate-authority"),
        insecure_skip_tls_verify=cluster.flag("insecure-skip-tls-verify"),
        tls_server_name=cluster.text("tls-server-name") or None,
        client_certificate=_client_certificate(user),
        identity=_identity(user),
        proxy=_proxy(cluster, url.scheme, url.netloc, environment),
        source=f"context {name} of {chosen.path}",
    )


@dataclass(frozen=True, slots=True, repr=False)
class _Entry:
    """A mapping of a kubeconfig and where it stands; reads values without ever quoting them."""

    values: Mapping[str, Any]
    path: Path
    title: str

    def error(self, what: str) -> KubeconfigError:
        return KubeconfigError(f"{self.path}, {self.title}: {what}")

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(f"{name} is not a string")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.error(f"{name} is neither true nor false")
        return value

    def pem(self, name: str) -> Pem | None:
        """What `<name>-data` holds, else the file that `<name>` names; relative to the kubeconfig."""
        if data := self.text(f"{name}-data"):
            try:
                return Pem(content=base64.b64decode(data, validate=True))
            except (binascii.Error, ValueError):
                raise self.error(f"{name}-data is not base64") from None
        if path := self.text(name):
            return Pem(path=self.path.parent / path)
        return None


@dataclass(frozen=True, slots=True, repr=False)
class _File:
    path: Path
    current_context: str
    document: Mapping[str, Any]


def _paths(environment: Mapping[str, str]) -> list[Path]:
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return listed
    home = environment.get("HOME")
    return [Path(home) / ".kube" / "config"] if home else []


def _load(path: Path) -> _File:
    try:
        text = path.read_text()
        document = yaml.safe_load(text)
    except OSError as error:
        raise KubeconfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        # PyYAML's message quotes the line, which may hold a token.
        raise KubeconfigError(f"{path} is not valid YAML") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig: it is not a mapping")
    return _File(path.absolute(), _Entry(document, path, "top level").text("current-context"), document)


def _find(files: list[_File], section: str, part: str, name: str) -> _Entry:
    """The entry of that name in the first file that has one."""
    for file in files:
        entries = file.document.get(section) or []
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("name") == name:
                values = entry.get(part) or {}
                found = _Entry(values if isinstance(values, dict) else {}, file.path, f"{part} {name}")
                if not isinstance(values, dict):
                    raise found.error("it is not a mapping")
                return found
    raise KubeconfigError(f"{' and '.join(str(file.path) for file in files)} have no {part} named {name!r}")


def _client_certificate(user: _Entry) -> ClientCertificate | None:
    certificate, key = user.pem("client-certificate"), user.pem("client-key")
    if certificate and key:
        return ClientCertificate(certificate, key)
    if certificate or key:
        raise user.error("client-certificate and client-key go together")
    return None


def _identity(user: _Entry) -> Identity:
    if user.values.get("username") or user.values.get("password"):
        raise user.error("username and password are not supported: API servers do not accept them since 1.19")
    if user.values.get("auth-provider"):
        raise user.error("auth-provider was removed from Kubernetes; use an exec plugin")
    if any(name.startswith("as") and user.values[name] for name in user.values):
        raise user.error("impersonation is not supported")
    # kubectl prefers tokenFile over token, and a token over an exec plugin.
    if path := user.text("tokenFile"):
        return TokenFile(user.path.parent / path)
    if token := user.text("token"):
        return Token(token)
    if user.values.get("exec") is not None:
        return _exec_plugin(user)
    return Anonymous()


def _exec_plugin(user: _Entry) -> ExecPlugin:
    values = user.values["exec"]
    if not isinstance(values, dict):
        raise user.error("exec is not a mapping")
    entry = _Entry(values, user.path, f"{user.title}, exec")
    command = entry.text("command")
    if not command:
        raise entry.error("command is missing")
    if entry.text("apiVersion") not in _EXEC_VERSIONS:
        raise entry.error(f"apiVersion is neither {_EXEC_VERSIONS[0]} nor {_EXEC_VERSIONS[1]}")
    if entry.text("interactiveMode") == "Always":
        raise entry.error("interactiveMode Always needs a terminal, which there is none here")
    arguments = values.get("args") or []
    variables = values.get("env") or []
    if not _are_strings(arguments):
        raise entry.error("args is not a list of strings")
    if not isinstance(variables, list) or not all(
        isinstance(pair, dict) and _are_strings([pair.get("name"), pair.get("value")]) for pair in variables
    ):
        raise entry.error("env is not a list of names and values")
    return ExecPlugin(
        # A path is relative to the kubeconfig, a bare word is looked for in PATH.
        command=str(user.path.parent / command) if "/" in command else command,
        arguments=tuple(arguments),
        environment=tuple((pair["name"], pair["value"]) for pair in variables),
        api_version=entry.text("apiVersion"),
        install_hint=entry.text("installHint"),
        provide_cluster_info=entry.flag("provideClusterInfo"),
    )


def _proxy(cluster: _Entry, scheme: str, netloc: str, environment: Mapping[str, str]) -> str | None:
    """The kubeconfig's own proxy, else HTTPS_PROXY unless NO_PROXY names the server."""
    proxy = cluster.text("proxy-url")
    if not proxy and environment is os.environ and not proxy_bypass(netloc):
        proxy = getproxies_environment().get(scheme, "")
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise cluster.error("only http and https proxies are supported")
    return proxy or None


def _are_strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
