"""The servers behind DBClusters: opened when first needed, kept while their credentials stay the same."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.reasons import Reason
from dbtether.api.references import CaSecretRef, SecretRef
from dbtether.api.resource import Resource, Secret
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.errors import Blocked
from dbtether.postgres.apply import Fence, no_fence
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.server.access import Server


@dataclass(frozen=True, slots=True)
class _Opened:
    spec: DBClusterSpec
    parameters: ConnectParameters
    database: str
    limit: int
    server: Server


class Servers:
    """Opens and closes the servers of DBClusters; one at a time for each of them."""

    def __init__(
        self,
        secrets: PlatformSecrets,
        environment: Mapping[str, str],
        fence: Fence = no_fence,
    ) -> None:
        """`environment` holds the variables that `credentialsFromEnv` may name; `fence` is asked before each
        write.
        """
        self._secrets = secrets
        self._environment = environment
        self._fence = fence
        self._opened: dict[str, _Opened] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._files: tempfile.TemporaryDirectory[str] | None = None

    async def of(self, cluster: Resource, spec: DBClusterSpec) -> Server:
        """The server of a DBCluster, opened if need be. Raises Retryable or Blocked.

        One that is being deleted keeps the server that it last used when its Secrets were deleted along with it.
        """
        name = cluster.key.name
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._opened.get(name)
            try:
                parameters = await self._parameters(cluster, spec)
            except Blocked as error:
                if known is None or not _may_go_on(cluster, spec, known, error):
                    raise
                return known.server
            if known is not None:
                if (known.parameters, known.database, known.limit) == (
                    parameters,
                    spec.database,
                    spec.max_connections,
                ):
                    return known.server
                del self._opened[name]
                await known.server.close()
            server = await Server.open(parameters, spec.database, spec.max_connections, str(cluster.key), self._fence)
            self._opened[name] = _Opened(spec, parameters, spec.database, spec.max_connections, server)
            return server

    def opened(self) -> Mapping[str, Server]:
        """The servers that are open now, by the DBCluster's name."""
        return {name: opened.server for name, opened in self._opened.items()}

    async def close(self, name: str) -> None:
        """Close the server of a DBCluster, if it is open."""
        known = self._opened.pop(name, None)
        if known is not None:
            await known.server.close()

    async def close_all(self) -> None:
        """Close every server and remove the TLS files."""
        for name in list(self._opened):
            await self.close(name)
        if self._files is not None:
            self._files.cleanup()
            self._files = None

    async def client_tls(self, spec: DBClusterSpec) -> tuple[str, bytes | None]:
        """What a client of the server needs to know: the sslmode, and the CA if one is given."""
        ca = None
        if spec.tls.ca_secret_ref is not None:
            ca = _value(await self._secret(spec.tls.ca_secret_ref), spec.tls.ca_secret_ref.key)
        return spec.tls.effective_mode.value, ca

    async def _parameters(self, cluster: Resource, spec: DBClusterSpec) -> ConnectParameters:
        user, password = await self._admin(spec)
        parameters = ConnectParameters(
            host=spec.endpoint, port=spec.port, user=user, password=password, sslmode=spec.tls.effective_mode.value
        )
        if (ca := spec.tls.ca_secret_ref) is not None:
            path = self._file(f"{cluster.key.name}-ca.crt", _value(await self._secret(ca), ca.key))
            parameters = replace(parameters, sslrootcert=path)
        if (own := spec.tls.client_cert_secret_ref) is not None:
            secret = await self._secret(own)
            parameters = replace(
                parameters,
                sslcert=self._file(f"{cluster.key.name}-tls.crt", _value(secret, "tls.crt")),
                sslkey=self._file(f"{cluster.key.name}-tls.key", _value(secret, "tls.key")),
            )
        return parameters

    async def _admin(self, spec: DBClusterSpec) -> tuple[str, str]:
        if spec.credentials_from_env is not None:
            names = spec.credentials_from_env
            return self._variable(names.username), self._variable(names.password)
        assert spec.credentials_secret_ref is not None, "exactly one credentials source is valid"
        secret = await self._secret(spec.credentials_secret_ref)
        return _text(secret, "username"), _text(secret, "password")

    def _variable(self, name: str) -> str:
        value = self._environment.get(name)
        if not value:
            raise Blocked("SecretInvalid", f"spec.credentialsFromEnv: the variable {name} is not set")
        return value

    async def _secret(self, ref: SecretRef | CaSecretRef) -> Secret:
        return await self._secrets.read(ref, "DBCluster")

    def _file(self, name: str, content: bytes) -> str:
        """libpq takes certificates by path only; the folder is ours alone (mode 0700)."""
        if self._files is None:
            self._files = tempfile.TemporaryDirectory(prefix="dbtether-tls-")
        path = Path(self._files.name) / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return str(path)


def _may_go_on(cluster: Resource, spec: DBClusterSpec, known: _Opened, error: Blocked) -> bool:
    """Whether a deletion may still use what was last used: only its Secrets are gone, all else is as it was.

    `kubectl delete -f` takes them at once with everything that is yet to be undone on the server. From a DBCluster
    that stays, whoever deletes its Secret takes the server.
    """
    is_left_behind = cluster.deleted is not None and error.reason == Reason.SECRET_NOT_FOUND
    return is_left_behind and _way(spec) == _way(known.spec)


def _way(spec: DBClusterSpec) -> tuple[object, ...]:
    return (spec.endpoint, spec.port, spec.database, spec.tls, spec.credentials_secret_ref, spec.credentials_from_env)


def _value(secret: Secret, key: str) -> bytes:
    value = secret.data.get(key)
    if not value:
        raise Blocked("SecretInvalid", f"Secret {secret.namespace}/{secret.name} has no value under the key {key}")
    return value


def _text(secret: Secret, key: str) -> str:
    try:
        text = _value(secret, key).decode()
    except UnicodeDecodeError:
        text = "\0"
    # A trailing line break comes from `echo` and is never meant.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\0" in text:
        raise Blocked(
            "SecretInvalid", f"Secret {secret.namespace}/{secret.name}: the value under the key {key} is not plain text"
        )
    return text
