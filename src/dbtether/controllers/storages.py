"""The stores behind BackupStorages, and whether they can be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.api.templates import render, template_fields
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.errors import Blocked, Retryable
from dbtether.storage.errors import StorageError
from dbtether.storage.opening import open_store
from dbtether.storage.probe import PROBES, Findings, validate
from dbtether.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Storages:
    """Opens the store of a BackupStorage; opening asks nothing of it, so nothing is kept open."""

    secrets: PlatformSecrets
    local_root: Path | None
    """The folder that `local` may use; None for none."""
    may_write: bool
    """Whether a probe object may be written: a read-only operator only lists."""
    own_folder: Path | None = None
    """A folder that the person who runs the command has named, wherever it is."""

    def root_of(self, spec: BackupStorageSpec) -> Path | None:
        """The folder that a storage of the kind `local` may use; None for any other storage, or where there is none."""
        if spec.local is None:
            return None
        if self.own_folder is not None and Path(spec.local.path) == self.own_folder:
            return self.own_folder.parent
        return self.local_root

    async def open(self, spec: BackupStorageSpec) -> ObjectStore:
        """The store. Raises Blocked when its Secret is missing or does not fit."""
        ref, data = spec.credentials_secret_ref, await self.credentials(spec)
        try:
            return open_store(spec, data, self.root_of(spec))
        except Blocked as error:
            if ref is None or error.reason != "SecretInvalid":
                raise
            raise Blocked(error.reason, f"Secret {ref.namespace}/{ref.name}: {error.message}") from None

    async def credentials(self, spec: BackupStorageSpec) -> Mapping[str, bytes] | None:
        """The store's keys; None leaves it to the workload's own identity. Raises Blocked."""
        if spec.credentials_secret_ref is None:
            return None
        return (await self.secrets.read(spec.credentials_secret_ref, "BackupStorage")).data

    async def examine(self, store: ObjectStore) -> Findings | None:
        """What a probe object tells; None where none may be written. Raises StorageError."""
        if self.may_write:
            return await validate(store)
        await store.list(PROBES)
        return None


def failure_of(error: StorageError) -> Retryable | Blocked:
    """What a store's refusal means to a resource."""
    kind = Retryable if error.fault.passes else Blocked
    return kind(error.fault.value, error.message)


def database_folder(path_template: str, cluster: str, database: str) -> str:
    """The part of a storage that has all backups of a database, as far as the template tells it beforehand."""
    values = {"ClusterName": cluster, "DatabaseName": database}
    segments: list[str] = []
    for segment in path_template.split("/"):
        if not template_fields(segment) <= values.keys():
            break
        segments.append(segment)
    return render("/".join(segments), values) if segments else ""
