"""One more user with additional grants: as dear with thousands of tables as with one."""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from bench.workload import fill, local_store, run_engine
from dbtether.api.resource import Key
from dbtether.controllers.engine import opened_engine
from dbtether.embedded import EmbeddedServer
from dbtether.runtime.records import RecordStore

_DATABASE = Key("Database", "bench", "bench-0000")
_IN_ONE_ENTRY = 256
_MOST_NAMED = 64 * _IN_ONE_ENTRY


def report(tables: tuple[int, ...], users: int) -> None:
    """Print the median time of one more user for each number of tables, and its ratio to the first."""
    print(f"one more user with grants on so many tables, median of {users}, PostgreSQL 18 with fsync on")
    for named in (False, True):
        first: float | None = None
        for count in tables:
            seconds = asyncio.run(_measure(count, users, named=named))
            first = first or seconds
            how = "each named" if named else "as `*`"
            print(f"  {count:5d} tables {how}: {seconds * 1000:6.1f} ms, ratio {seconds / first:.2f}")


async def _measure(tables: int, users: int, *, named: bool) -> float:
    assert tables <= _MOST_NAMED, "a manifest has room for no more names"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        async with EmbeddedServer.start(Path(folder) / "pg") as server:
            with local_store(Path(folder)) as store:
                await fill(store, server, databases=1, users=0, connections=10)
                await run_engine(store)
                await asyncio.to_thread(_make_tables, server, tables)
                names = [f"t{index}" for index in range(tables)] if named else ["*"]
                await _apply_user(store, 0, names)
                await run_engine(store)
                return await _one_more(store, names, users)


async def _one_more(store: RecordStore, names: list[str], users: int) -> float:
    """In an engine that runs on, as the operator does."""
    times = []
    async with opened_engine(store) as engine:
        await engine.loop.run_until_settled(900)
        for number in range(1, users + 1):
            started = time.perf_counter()
            key = await _apply_user(store, number, names)
            await engine.loop.run_until_settled(900)
            times.append(time.perf_counter() - started)
            user = await store.get(key)
            assert user is not None
            if user.status.get("phase") != "Ready":
                raise RuntimeError(f"{key} is not Ready: {user.status}")
    return median(times)


async def _apply_user(store: RecordStore, number: int, names: list[str]) -> Key:
    grants: list[dict[str, Any]] = [
        {"tables": names[start : start + _IN_ONE_ENTRY], "privileges": ["INSERT"]}
        for start in range(0, len(names), _IN_ONE_ENTRY)
    ]
    key = Key("DatabaseUser", "bench", f"u{number}")
    spec = {"databaseRef": {"name": _DATABASE.name}, "privileges": "readonly", "additionalGrants": grants}
    await store.apply_resource(key, spec)
    return key


def _make_tables(server: EmbeddedServer, count: int) -> None:
    database = _DATABASE.name.replace("-", "_")
    with psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        dbname=database,
        sslmode="disable",
    ) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"dbtether_{database}_admin")))
        for index in range(count):
            connection.execute(sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(f"t{index}")))
