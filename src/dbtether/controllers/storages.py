"""The stores behind BackupStorages, and whether they can be used."""

from dataclasses import dataclass
from pathlib import Path

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.errors import Blocked
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

    async def open(self, spec: BackupStorageSpec) -> ObjectStore:
        """The store. Raises Blocked when its Secret is missing or does not fit."""
        if spec.credentials_secret_ref is None:
            return open_store(spec, None, self.local_root)
        secret = await self.secrets.read(spec.credentials_secret_ref, "BackupStorage")
        try:
            return open_store(spec, secret.data, self.local_root)
        except Blocked as error:
            if error.reason != "SecretInvalid":
                raise
            raise Blocked(error.reason, f"Secret {secret.namespace}/{secret.name}: {error.message}") from None

    async def examine(self, store: ObjectStore) -> Findings | None:
        """What a probe object tells; None where none may be written. Raises StorageError."""
        if self.may_write:
            return await validate(store)
        await store.list(PROBES)
        return None
