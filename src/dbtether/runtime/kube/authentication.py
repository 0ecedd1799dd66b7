"""Shows the API server who we are: tokens and certificates, read or issued anew before they expire."""

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dbtether.runtime.kube.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    ExecPlugin,
    Pem,
    Token,
    TokenFile,
)
from dbtether.runtime.kube.errors import KubeconfigError
from dbtether.runtime.kube.tls import Tls

# client-go reads a token file anew every minute ("Bound service account tokens" asks for it).
_TOKEN_FILE_SECONDS = 60.0
_PLUGIN_SECONDS = 60.0
_EARLY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request shows."""

    token: str | None = field(repr=False)
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class _Issued:
    """What a plugin gave."""

    token: str | None = field(repr=False)
    certificate: ClientCertificate | None
    expires: datetime | None


class Authentication:
    """Gives the credentials of a connection as they are now."""

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._tls = Tls(connection)
        self._now = now
        self._clock = clock
        self._token_file: tuple[float, str] | None = None
        self._issued: _Issued | None = None
        self._issuing = asyncio.Lock()

    async def credentials(self) -> Credentials:
        """Raises KubeconfigError when a file or a plugin gives none."""
        match self._connection.identity:
            case Anonymous():
                return Credentials(None, self._tls.context())
            case Token(token=token):
                return Credentials(token, self._tls.context())
            case TokenFile(path=path):
                return Credentials(self._token_of(path), self._tls.context())
            case ExecPlugin() as plugin:
                issued = await self._issue(plugin)
                return Credentials(issued.token, self._tls.context(issued.certificate))

    def refused(self, shown: Credentials) -> bool:
        """Forget what the server refused; whether another attempt can show something else."""
        match self._connection.identity:
            case TokenFile(path=path):
                self._token_file = None
                return self._token_of(path) != shown.token
            case ExecPlugin():
                if self._issued is not None and self._issued.token == shown.token:
                    self._issued = None
                return True
        return False

    def _token_of(self, path: Path) -> str:
        now = self._clock()
        if self._token_file is None or now >= self._token_file[0] + _TOKEN_FILE_SECONDS:
            self._token_file = (now, _read_token(path))
        return self._token_file[1]

    async def _issue(self, plugin: ExecPlugin) -> _Issued:
        async with self._issuing:
            if self._issued is None or self._is_expired(self._issued):
                self._issued = await run_plugin(plugin, self._connection)
            return self._issued

    def _is_expired(self, issued: _Issued) -> bool:
        return issued.expires is not None and (issued.expires - self._now()).total_seconds() < _EARLY_SECONDS


def _read_token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise KubeconfigError(f"the token file {path} cannot be read") from None
    if not token:
        raise KubeconfigError(f"the token file {path} is empty")
    return token


class _ExecStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _ExecStatus | None = None


async def run_plugin(plugin: ExecPlugin, connection: Connection, timeout_seconds: float = _PLUGIN_SECONDS) -> _Issued:
    """What the program printed. Raises KubeconfigError when it cannot be run, fails, or prints nothing of use."""
    hint = f" ({plugin.install_hint})" if plugin.install_hint else ""
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **dict(plugin.environment), "KUBERNETES_EXEC_INFO": _exec_info(plugin, connection)},
        )
    except OSError as error:
        raise KubeconfigError(f"the plugin {plugin.command} cannot be run: {error.strerror}{hint}") from None
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        raise KubeconfigError(f"the plugin {plugin.command} did not end within {timeout_seconds:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise KubeconfigError(f"the plugin {plugin.command} failed with exit code {process.returncode}{hint}")
    return _read_credential(plugin, output)


def _read_credential(plugin: ExecPlugin, output: bytes) -> _Issued:
    try:
        credential = msgspec.json.decode(output, type=_ExecCredential)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # What it printed may be a token.
        raise KubeconfigError(f"the plugin {plugin.command} did not print an ExecCredential") from None
    status = credential.status
    if credential.kind != "ExecCredential" or credential.api_version != plugin.api_version or status is None:
        raise KubeconfigError(f"the plugin {plugin.command} did not print an ExecCredential of {plugin.api_version}")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise KubeconfigError(f"the plugin {plugin.command} printed a certificate without its key, or the reverse")
    if not status.token and not status.client_certificate_data:
        raise KubeconfigError(f"the plugin {plugin.command} printed neither a token nor a certificate")
    certificate = None
    if status.client_certificate_data:
        certificate = ClientCertificate(
            Pem(content=status.client_certificate_data.encode()), Pem(content=status.client_key_data.encode())
        )
    expires = status.expiration_timestamp
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return _Issued(status.token or None, certificate, expires)


def _exec_info(plugin: ExecPlugin, connection: Connection) -> str:
    spec: dict[str, object] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster: dict[str, object] = {"server": connection.server}
        if connection.tls_server_name:
            cluster["tls-server-name"] = connection.tls_server_name
        if connection.insecure_skip_tls_verify:
            cluster["insecure-skip-tls-verify"] = True
        authority = connection.certificate_authority
        if authority:
            # msgspec writes bytes as base64, as the API wants them.
            cluster["certificate-authority-data"] = authority.path.read_bytes() if authority.path else authority.content
        spec["cluster"] = cluster
    document = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(document).decode()
