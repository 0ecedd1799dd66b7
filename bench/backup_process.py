"""One backup in a process of its own: its order is JSON on stdin, its result JSON on stdout.

So its memory is that of the pipeline alone, and several can run at once as several Jobs do.
"""

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.backup.clients import find_clients
from dbtether.backup.dump import DumpRequest
from dbtether.backup.formats import DumpFormat
from dbtether.backup.manifest import Collation, Origin, Source
from dbtether.backup.run import BackupRun, run_backup
from dbtether.postgres.connection import ConnectParameters
from dbtether.storage.folder import Folder
from dbtether.storage.opening import open_store
from dbtether.storage.store import ObjectStore


def main() -> None:
    """Take the backup and print how it went."""
    order = json.load(sys.stdin)
    store, run = _store(order), _run(order)
    started = time.perf_counter()
    manifest = asyncio.run(run_backup(store, run, now=lambda: datetime.now(UTC), environment=os.environ))
    seconds = time.perf_counter() - started
    told = {"seconds": seconds, "plain": manifest.plain.bytes, "stored": manifest.stored.bytes, "own": peak_bytes()}
    print(json.dumps(told))


def peak_bytes() -> int:
    """The most memory that this program needed; ru_maxrss would count its parent's from before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def _store(order: dict[str, Any]) -> ObjectStore:
    if (folder := order.get("folder")) is not None:
        return Folder(Path(folder), "")
    data = {name: value.encode() for name, value in order["data"].items()}
    return open_store(BackupStorageSpec.model_validate(order["spec"]), data, None)


def _run(order: dict[str, Any]) -> BackupRun:
    format_ = DumpFormat(order["format"])
    parameters = ConnectParameters(order["host"], order["port"], order["user"], order["password"], sslmode="disable")
    source = Source(
        cluster="bench",
        namespace="bench",
        resource="bench",
        database=order["database"],
        server_version="18",
        encoding="UTF8",
        collation=Collation(provider="libc", collate="C", ctype="C"),
        owner="postgres",
        connection_limit=-1,
        size_bytes=order["size"],
    )
    return BackupRun(
        run_id=order["run"],
        installation="bench",
        origin=Origin(namespace="bench", name="bench"),
        source=source,
        key=f"{order['run']}{format_.value}",
        request=DumpRequest(find_clients(18), parameters, order["database"], format_),
        signing_key=b"k" * 32,
        tags={},
    )


if __name__ == "__main__":
    main()
