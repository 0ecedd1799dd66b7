"""Where an API server is and how to show who we are: data, read from a kubeconfig or a Pod's own files."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text, inline or in a file that may change while we run. Its repr shows no content."""

    content: bytes = field(default=b"", repr=False)
    path: Path | None = None
    """Read instead of `content` when given."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate and its key for mutual TLS."""

    certificate: Pem
    key: Pem


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credentials beyond a client certificate, if there is one."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token that never changes."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A bearer token in a file that the kubelet, or somebody else, writes anew before it expires."""

    path: Path


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints credentials (Kubernetes: Authentication, "client-go credential plugins")."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    api_version: str = "client.authentication.k8s.io/v1"
    install_hint: str = ""
    provide_cluster_info: bool = False


Identity = Anonymous | Token | TokenFile | ExecPlugin


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything that is needed to talk to one API server."""

    server: str
    """Scheme, host, port and perhaps a path, without a slash at the end."""
    namespace: str = "default"
    certificate_authority: Pem | None = None
    """None for the system's own authorities."""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = None
    client_certificate: ClientCertificate | None = None
    identity: Identity = field(default_factory=Anonymous)
    proxy: str | None = field(default=None, repr=False)
    """The URL of an HTTP proxy; it may hold a password."""
    source: str = ""
    """Where this was read, for messages."""
