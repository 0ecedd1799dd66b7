"""Both passes of one restore in a process of its own: its order is JSON on stdin, its result JSON on stdout."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.backup_process import peak_bytes
from dbtether.backup.formats import format_of
from dbtether.backup.manifest import Content
from dbtether.backup.restore.check import check
from dbtether.backup.restore.job import Expectation
from dbtether.backup.restore.load import LoadRequest, load
from dbtether.backup.restore.model import ExistingObjects, LoadWay, Rules
from dbtether.postgres.connection import ConnectParameters
from dbtether.storage.folder import Folder


def main() -> None:
    """Check and load, and print how they went."""
    order = json.load(sys.stdin)
    print(json.dumps({**asyncio.run(_restore(order)), "own": peak_bytes()}))


async def _restore(order: dict[str, Any]) -> dict[str, float]:
    store, rules = Folder(Path(order["folder"]), ""), Rules(18)
    format_ = format_of(order["key"])
    started = time.perf_counter()
    found = await check(store.stream(order["key"]), format_, rules, None, environment=os.environ)
    checked = time.perf_counter()
    stored, plain = (
        Content(bytes=found.object_bytes, sha256=found.object_sha256),
        Content(bytes=found.plain_bytes, sha256=found.plain_sha256),
    )
    request = LoadRequest(
        parameters=ConnectParameters(order["host"], order["port"], order["user"], order["password"], "disable"),
        database=order["database"],
        application_name="bench",
        run_id="bench",
        owner=order["owner"],
        way=LoadWay.TRANSACTION,
        existing=ExistingObjects.REFUSE,
        rules=rules,
        format=format_,
        expected=Expectation(stored=stored, plain=plain),
    )
    await load(request, store.stream(order["key"]), environment=os.environ)
    return {"check": checked - started, "load": time.perf_counter() - checked}


if __name__ == "__main__":
    main()
