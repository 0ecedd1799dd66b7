"""The files that a job is given beside its order: password, certificates and the store's keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.postgres.connection import ConnectParameters
from dbtether.storage.opening import open_store
from dbtether.storage.store import ObjectStore

RUN_FILE = "run.json"
"""What the job is told, without a secret."""
PASSWORD_FILE = "password"  # noqa: S105
_TLS = {"sslrootcert": "ca.crt", "sslcert": "tls.crt", "sslkey": "tls.key"}
_STORAGE_PREFIX = "storage-"


class StoreOrder(Protocol):
    """What says which store a job uses."""

    @property
    def storage(self) -> dict[str, Any]: ...

    @property
    def local_root(self) -> str | None: ...


class LoginOrder(Protocol):
    """What says where and as whom a job logs in."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def user(self) -> str: ...

    @property
    def sslmode(self) -> str: ...


def storage_files(keys: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """The files of a store's keys; none for the workload's own identity."""
    return {f"{_STORAGE_PREFIX}{name}": value for name, value in (keys or {}).items()}


def login_files(password: str, tls: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a login; certificates and key by their names in ConnectParameters."""
    return {PASSWORD_FILE: password.encode(), **{_TLS[name]: content for name, content in tls.items()}}


def tls_contents(parameters: ConnectParameters) -> dict[str, bytes]:
    """What the certificates' files of a connection hold, by their names in ConnectParameters."""
    paths = {name: getattr(parameters, name) for name in _TLS}
    return {name: Path(path).read_bytes() for name, path in paths.items() if path is not None}


def read_store(folder: Path, order: StoreOrder) -> ObjectStore:
    """The store that an order names, opened with the keys in the folder. Raises StorageError or Blocked."""
    spec = BackupStorageSpec.model_validate(order.storage)
    keys = {path.name.removeprefix(_STORAGE_PREFIX): path.read_bytes() for path in folder.glob(f"{_STORAGE_PREFIX}*")}
    return open_store(spec, keys or None, None if order.local_root is None else Path(order.local_root))


def read_login(folder: Path, order: LoginOrder) -> ConnectParameters:
    """Where and as whom an order says to log in, with the password in the folder."""
    tls = {name: str(folder / file) if (folder / file).exists() else None for name, file in _TLS.items()}
    return ConnectParameters(
        host=order.host,
        port=order.port,
        user=order.user,
        password=(folder / PASSWORD_FILE).read_text(),
        sslmode=order.sslmode,
        sslrootcert=tls["sslrootcert"],
        sslcert=tls["sslcert"],
        sslkey=tls["sslkey"],
    )
