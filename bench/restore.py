"""Restores beside `psql --single-transaction < dump.sql` from local disk, in the same run."""

import asyncio
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.backup import MIB, ROW_BYTES, ROWS, Bench, conninfo, fill, result, start_process
from dbtether.backup.clients import find_clients
from dbtether.backup.formats import DumpFormat, packer
from dbtether.embedded import EmbeddedServer

_RUNS = 3
_GROUP, _LOGIN = "bench_admin", "bench_run"
_SHORT_ROWS = """
SELECT n, md5(n::text), mod(n, 1000), now() + n * interval '1 second', 'a short note of row ' || n
  FROM generate_series(1, %s) n"""
_STATEMENTS = 2000


@dataclass(frozen=True, slots=True)
class _Ours:
    check: float
    load: float
    memory: int


def report(sizes: Sequence[int]) -> None:
    """Print the ratios of each kind of data, and the memory at each size (of plain text, in bytes)."""
    asyncio.run(_report(sizes))


async def _report(sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="dbtether-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with EmbeddedServer.start(folder / "pg") as server:
            bench = Bench(server, folder, None)
            with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE {_GROUP}".encode())
                connection.execute(f"CREATE ROLE {_LOGIN} LOGIN PASSWORD 'bench' IN ROLE {_GROUP}".encode())
            for kind, rows in {"wide rows": ROWS["compressible"], "short rows": _SHORT_ROWS}.items():
                for size in sizes:
                    await asyncio.to_thread(_measure, bench, kind, rows, size)
            await asyncio.to_thread(_measure_tables, bench)


def _measure(bench: Bench, kind: str, rows: str, size: int) -> None:
    name = f"source_{secrets.token_hex(3)}"
    if rows == _SHORT_ROWS:
        _make(bench, name)
        with psycopg.connect(conninfo(bench.server, name), autocommit=True) as connection:
            connection.execute("CREATE TABLE rows (id bigint, hash text, part int, at timestamptz, note text)")
            connection.execute(f"INSERT INTO rows {rows}".encode(), (size // 100,))
    else:
        fill(bench, name, rows, size // ROW_BYTES)
    _compare(bench, name, kind)


def _measure_tables(bench: Bench) -> None:
    """Many statements, little data."""
    name = f"source_{secrets.token_hex(3)}"
    _make(bench, name)
    with psycopg.connect(conninfo(bench.server, name), autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN FOR n IN 1..{_STATEMENTS} LOOP EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, "
            "note text)', n); END LOOP; END $$".encode()
        )
    _compare(bench, name, f"{_STATEMENTS} empty tables")


def _compare(bench: Bench, name: str, kind: str) -> None:
    dumps = bench.folder / name
    dumps.mkdir()
    plain = subprocess.run(
        [bench.pg_dump, "--no-owner", name], capture_output=True, check=True, env=bench.environment
    ).stdout
    (dumps / "1.sql").write_bytes(plain)
    stream = packer(DumpFormat.GZIP)
    (dumps / "1.sql.gz").write_bytes(stream.pack(plain) + stream.finish())
    custom = ["-Fc", "-Z1", "--no-owner", "-f", str(dumps / "1.dump")]
    subprocess.run([bench.pg_dump, *custom, name], check=True, env=bench.environment)
    _psql(bench, dumps / "1.sql")  # The first reads what the others find in memory.
    load = os.getloadavg()[0]
    rival, ours = [], dict[str, list[_Ours]]()
    for _ in range(_RUNS):
        rival.append(_psql(bench, dumps / "1.sql"))
        for suffix in (".sql", ".sql.gz", ".dump"):
            ours.setdefault(suffix, []).append(_ours(bench, dumps, suffix))
    base = median(rival)
    print(f"{kind}, {len(plain) / MIB:.0f} MiB of SQL, median of {_RUNS}, load before {load:.1f}:")
    print(f"  {'psql --single-transaction':26} {base:6.2f} s  {len(plain) / MIB / base:5.0f} MiB/s")
    for suffix, found in ours.items():
        loads, checks = median(one.load for one in found), median(one.check for one in found)
        print(
            f"  {f'restore {suffix}':26} {loads:6.2f} s  {base / loads:5.2f} of psql, with the check before it "
            f"({checks:.2f} s) {base / (loads + checks):5.2f}, RSS {max(one.memory for one in found) / MIB:.0f} MiB"
        )
    with psycopg.connect(conninfo(bench.server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())


def _make(bench: Bench, name: str) -> None:
    with psycopg.connect(conninfo(bench.server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {_GROUP}".encode())
        connection.execute(f"ALTER ROLE {_LOGIN} IN DATABASE {name} SET role = {_GROUP}".encode())


def _target(bench: Bench) -> str:
    """An empty database; the one before is gone, and the server has written down what it was."""
    with psycopg.connect(conninfo(bench.server, "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS target WITH (FORCE)")
        _make(bench, "target")
        connection.execute("CHECKPOINT")
    return "target"


def _psql(bench: Bench, dump: Path) -> float:
    name = _target(bench)
    command = [find_clients(18).path("psql"), "-X", "-q", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-d", name]
    environment = {**bench.environment, "PGUSER": _LOGIN, "PGPASSWORD": "bench"}
    started = time.perf_counter()
    with dump.open("rb") as source:
        subprocess.run(command, stdin=source, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - started


def _ours(bench: Bench, dumps: Path, suffix: str) -> _Ours:
    server = bench.server
    order: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "user": _LOGIN,
        "password": "bench",
        "database": _target(bench),
        "owner": _GROUP,
        "folder": str(dumps),
        "key": f"1{suffix}",
    }
    told = result(start_process("bench.restore_process", order))
    return _Ours(told["check"], told["load"], told["own"])
