"""One backup from beginning to end: its key, the dump, and last the manifest that says it is complete."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from dbtether import __version__
from dbtether.backup.dump import DumpProgress, DumpRequest, dump
from dbtether.backup.keys import claim, release, with_run_id
from dbtether.backup.manifest import (
    MAX_MANIFEST_BYTES,
    Content,
    Manifest,
    ManifestInvalid,
    Origin,
    Source,
    Trust,
    manifest_key,
    read_manifest,
    write_manifest,
)
from dbtether.storage.errors import StorageError
from dbtether.storage.lookup import read_if_there
from dbtether.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class BackupRun:
    """What a backup needs to know; the same run id may be tried several times and gives one object."""

    run_id: str
    installation: str
    origin: Origin
    source: Source
    key: str
    """As the templates give it; the object may get another one where that is taken."""
    request: DumpRequest
    signing_key: bytes
    """Of this run (`manifest.run_key`)."""
    tags: Mapping[str, str]


async def run_backup(
    store: ObjectStore,
    run: BackupRun,
    *,
    now: Callable[[], datetime],
    on_progress: Callable[[DumpProgress], None] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> Manifest:
    """Take the backup, unless this run has already, and give its manifest.

    Raises StorageError, DumpDamaged, Retryable or Blocked; then nothing of it is visible in the store.
    """
    if (earlier := await manifest_of_run(store, run.key, run.run_id)) is not None:
        return earlier
    started = now()
    key = await claim(store, run.key, run.run_id, run.tags)
    try:
        async with store.writing(key, run.source.size_bytes, run.tags) as writer:
            snapshot = now()
            result = await dump(run.request, writer.write, on_progress=on_progress, environment=environment)
    except BaseException:
        # Whoever comes next may have the key; what cannot be taken away now is this run's when it is tried again.
        with contextlib.suppress(StorageError):
            await release(store, key)
        raise
    manifest = Manifest(
        run_id=run.run_id,
        installation=run.installation,
        origin=run.origin,
        source=run.source,
        key=key,
        format=run.request.format,
        stored=Content(bytes=result.object_bytes, sha256=result.object_sha256),
        plain=Content(bytes=result.plain_bytes, sha256=result.plain_sha256),
        started_at=started,
        snapshot_at=snapshot,
        finished_at=now(),
        client_version=result.client_version,
        tool_version=__version__,
        tables=None if result.rows is None else dict(result.rows),
    )
    await store.put_if_absent(manifest_key(key), write_manifest(manifest, run.signing_key))
    with contextlib.suppress(StorageError):
        await release(store, key)
    return manifest


async def manifest_of_run(
    store: ObjectStore, wanted: str, run_id: str, installation_key: bytes | None = None
) -> Manifest | None:
    """The manifest of a run whose object was to get the key `wanted`. Raises StorageError.

    With a key, only one that this installation's own run has signed.
    """
    for key in (wanted, with_run_id(wanted, run_id)):
        found = await manifest_at(store, key)
        if found is None:
            continue
        with contextlib.suppress(ManifestInvalid):
            manifest, trust = read_manifest(found, f"{store.url}/{manifest_key(key)}", installation_key)
            if manifest.run_id == run_id and (installation_key is None or trust is Trust.OURS):
                return manifest
    return None


async def manifest_at(store: ObjectStore, key: str) -> bytes | None:
    """The manifest of an object as it lies there; None when there is none. Raises StorageError."""
    return await read_if_there(store, manifest_key(key), MAX_MANIFEST_BYTES)
