"""What `--from` names: the newest backup, a Backup, a file or a folder of this machine, or something in a bucket."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtether.api.resource import Key
from dbtether.api.templates import SUFFIXES
from dbtether.backup.catalog import Entry, State, catalog
from dbtether.backup.manifest import MAX_MANIFEST_BYTES, Trust, manifest_key
from dbtether.cli.backup.destinations import bucket_of, destination, local_path
from dbtether.cli.exits import Exit, Quit
from dbtether.runtime.store import Store
from dbtether.storage.store import ObjectStore

_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Asked:
    """The source as a Restore names it, and the BackupStorage that has to be made for it."""

    source: dict[str, Any]
    storage: Key | None = None
    storage_spec: dict[str, Any] | None = None
    folder: Path | None = None
    """The folder of this machine that the storage is."""


async def asked_source(store: Store, database: Key, text: str) -> Asked:
    """What is to be restored into the database. Raises Quit."""
    if text == _LATEST:
        return Asked({"latestFrom": {"databaseRef": {"name": database.name}}})
    path = local_path(text)
    if path is not None and "/" not in text and not _is_there(path):
        if await store.get(Key("Backup", database.namespace, text)) is None:
            raise Quit(
                Exit.FAILED,
                f"--from {text}: there is no such file, and no Backup of this name in namespace {database.namespace}: "
                "name another, or latest",
            )
        return Asked({"backupRef": {"name": text}})
    if path is None:
        return await _in_bucket(store, database, text)
    folder, key = _split(path)
    if key is None:
        key = await _newest(store, destination(str(folder), "--from").store, "", database, text)
    return _asked(database, {"local": {"path": folder.as_posix()}}, key, folder)


def _is_there(path: Path) -> bool:
    return path.exists()


def _split(path: Path) -> tuple[Path, str | None]:
    """The folder that the keys of manifests are in, and the key of the dump; None for a folder itself."""
    if path.is_dir():
        return path.resolve(), None
    if not path.is_file():
        raise Quit(Exit.FAILED, f"--from: there is no {path}")
    path = path.resolve()
    key = _key_of_manifest(path)
    if key is not None and path.as_posix().endswith(f"/{key}"):
        return Path(path.as_posix().removesuffix(f"/{key}")), key
    return path.parent.parent, f"{path.parent.name}/{path.name}"


def _key_of_manifest(path: Path) -> str | None:
    """The key that the manifest beside a dump says; what else it says the controller reads, and judges."""
    told = path.with_name(manifest_key(path.name))
    try:
        if told.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        key = json.loads(told.read_bytes())["body"]["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if isinstance(key, str) else None


async def _in_bucket(store: Store, database: Key, text: str) -> Asked:
    bucket = bucket_of(text, "--from")
    key = bucket.path
    if not key.endswith(SUFFIXES):
        place = destination(text, "--from")
        key = await _newest(store, place.store, place.prefix, database, text)
    # The job finds the keys in its environment, as this command did: none are written down.
    return _asked(database, bucket.spec, key, None)


async def _newest(store: Store, objects: ObjectStore, folder: str, database: Key, text: str) -> str:
    """The key of the newest good backup of the database under a folder. Raises Quit, StorageError."""
    entries = await catalog(objects, folder, store.fingerprint_key)
    found = next((entry for entry in entries if _is_good(entry, database)), None)
    if found is None:
        raise Quit(
            Exit.FAILED,
            f"--from {text}: there is no complete backup of {database} that this state's installation took; name a "
            "dump's own file to restore another one",
        )
    return found.key


def _is_good(entry: Entry, database: Key) -> bool:
    manifest = entry.manifest
    if manifest is None or entry.state is not State.COMPLETE or entry.trust is not Trust.OURS:
        return False
    return (manifest.source.namespace, manifest.source.resource) == (database.namespace, database.name)


def _asked(database: Key, place: dict[str, Any], key: str, folder: Path | None) -> Asked:
    """An object of a storage that is made for this command alone."""
    digest = hashlib.sha256(json.dumps([place, database.namespace], sort_keys=True).encode()).hexdigest()
    storage = Key("BackupStorage", "", f"restore-{digest[:10]}")
    spec: dict[str, Any] = {**place, "allowedNamespaces": [database.namespace]}
    prefix, slash, _ = key.rpartition("/")
    if slash:
        # Whoever runs the command has the admin's rights: what it names may be restored, by way of a database beside.
        spec["importPrefixes"] = [{"prefix": prefix, "namespaces": [database.namespace]}]
    return Asked({"path": key, "storageRef": {"name": storage.name}}, storage, spec, folder)
