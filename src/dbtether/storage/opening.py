"""From a BackupStorage's spec to the store that it names."""

from collections.abc import Mapping
from pathlib import Path

from dbtether.api.backupstorage import BackupStorageSpec, Local
from dbtether.errors import Blocked
from dbtether.storage.folder import Folder
from dbtether.storage.store import ObjectStore


def open_store(spec: BackupStorageSpec, data: Mapping[str, bytes] | None, local_root: Path | None) -> ObjectStore:
    """The store. `data` is the credentials Secret's; `local_root` the folder that `local` may use, None for none.

    Nothing is asked of the store yet. Raises Blocked when the data does not fit, or `local` is not allowed.
    """
    if spec.local is not None:
        return _folder(spec.local, local_root)
    # obstore is heavy to load, and many a run of the command line needs no bucket.
    from dbtether.storage.cloud import open_azure, open_gcs, open_s3

    if spec.s3 is not None:
        return open_s3(spec.s3, data)
    if spec.gcs is not None:
        return open_gcs(spec.gcs, data)
    assert spec.azure is not None, "exactly one provider is valid"
    return open_azure(spec.azure, data)


def _folder(spec: Local, root: Path | None) -> Folder:
    if root is None:
        raise Blocked(
            "LocalStorageNotAllowed",
            "spec.local: no folder of this machine is open to BackupStorages; mount a volume, and name its folder "
            "with --local-storage-root",
        )
    real = root.resolve()
    path = Path(spec.path)
    if not path.is_absolute():
        return Folder(real, path.as_posix())
    for base in (root.absolute(), real):
        if path.is_relative_to(base):
            return Folder(real, path.relative_to(base).as_posix())
    raise Blocked(
        "LocalStorageNotAllowed",
        f"spec.local.path: {spec.path} is not under {root}, the folder of --local-storage-root: name one under it",
    )
