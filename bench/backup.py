"""Backups beside `pg_dump > /dev/null` and `pg_dump | gzip -6`, of data that packs well and of data that does not."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, LiteralString

import psutil
import psycopg
from tests.storage.servers import S3Server

from dbtether.backup.clients import find_clients
from dbtether.backup.formats import DumpFormat
from dbtether.embedded import EmbeddedServer

MIB = 1024 * 1024
ROW_BYTES = 1024
_RUNS = 3
_TOGETHER = 3
# Each row has some 1,000 bytes of text.
ROWS: Mapping[str, LiteralString] = {
    "compressible": """
        SELECT n, gen_random_uuid(), jsonb_build_object('order', n, 'state', 'delivered', 'city', 'Berlin',
               'items', (SELECT jsonb_agg(jsonb_build_object('sku', mod(n, 977) + i, 'count', i, 'price', 19.95))
                           FROM generate_series(1, 17) i)),
               encode(sha512(n::text::bytea), 'hex')
          FROM generate_series(1, %s) n""",
    "incompressible": """
        SELECT n, gen_random_uuid(), '{}'::jsonb, translate(encode(
               (SELECT string_agg(sha512((n * 11 + i)::text::bytea), '') FROM generate_series(1, 11) i),
               'base64'), E'\\n', '')
          FROM generate_series(1, %s) n""",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    server: EmbeddedServer
    folder: Path
    s3: S3Server | None

    @property
    def pg_dump(self) -> str:
        """The program of the server's major."""
        return find_clients(18).path("pg_dump")

    @property
    def environment(self) -> dict[str, str]:
        """How pg_dump finds the server."""
        server = self.server
        login = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user}
        return {**os.environ, **login, "PGPASSWORD": server.password}


@dataclass(slots=True)
class Memory:
    """The most that a process needed, and the most that it needed together with its children."""

    own: int = 0
    tree: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """How one backup went."""

    seconds: float
    plain: int
    stored: int
    memory: Memory = field(default_factory=Memory)


def report(sizes: Sequence[int]) -> None:
    """Print the ratios of each kind of data, and the memory at each size (of plain text, in bytes)."""
    asyncio.run(_report(sizes))


async def _report(sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="dbtether-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        async with EmbeddedServer.start(folder / "pg") as server:
            s3 = S3Server(folder / "s3")
            try:
                bench = Bench(server, folder, s3)
                for kind in ROWS:
                    for size in sizes:
                        await asyncio.to_thread(_measure, bench, kind, size)
            finally:
                s3.stop()


def _measure(bench: Bench, kind: str, size: int) -> None:
    name = f"{kind}_{size // MIB}"
    on_disk = fill(bench, name, ROWS[kind], size // ROW_BYTES)
    _rival(bench, name, ["cat"])  # The first reads what the others find in memory.
    load = os.getloadavg()[0]
    raw, packed = [], []
    ours: dict[str, list[Taken]] = {}
    for _ in range(_RUNS):
        raw.append(_rival(bench, name, None))
        packed.append(_rival(bench, name, ["gzip", "-6"]))
        for format_ in DumpFormat:
            ours.setdefault(format_.value, []).append(_backup(bench, name, format_, on_disk))
    s3 = [_backup(bench, name, DumpFormat.GZIP, on_disk, to_s3=True) for _ in range(_RUNS)]
    plain = ours[".sql"][0].plain
    print(f"{kind}, {plain / MIB:.0f} MiB of SQL, median of {_RUNS}, load before {load:.1f}:")
    base, gzip = median(raw), median(packed)
    print(f"  {'pg_dump > /dev/null':24} {base:6.2f} s  {plain / MIB / base:5.0f} MiB/s")
    print(f"  {'pg_dump | gzip -6':24} {gzip:6.2f} s  {plain / MIB / gzip:5.0f} MiB/s")
    for word, taken in [*((f"backup {suffix}", found) for suffix, found in ours.items()), ("backup .sql.gz to S3", s3)]:
        print(_line(word, taken, plain, base, gzip))
    _together(bench, name, on_disk)
    with psycopg.connect(conninfo(bench.server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())


def _line(word: str, taken: Sequence[Taken], plain: int, base: float, gzip: float) -> str:
    seconds = median(one.seconds for one in taken)
    own, tree = (max(getattr(one.memory, part) for one in taken) / MIB for part in ("own", "tree"))
    packing = plain / taken[0].stored
    return (
        f"  {word:24} {seconds:6.2f} s  {base / seconds:5.2f} of pg_dump, {gzip / seconds:4.1f} x gzip -6, packed "
        f"{packing:.2f} : 1, RSS {own:.0f} MiB, with pg_dump {tree:.0f} MiB"
    )


def _together(bench: Bench, name: str, on_disk: int) -> None:
    """Several at once, beside as many pg_dump at once."""
    command = [bench.pg_dump, name]
    started = time.perf_counter()
    rivals = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=bench.environment) for _ in range(_TOGETHER)]
    if sum(rival.wait() for rival in rivals):
        raise AssertionError("pg_dump failed")
    base = time.perf_counter() - started
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        running = [
            start_process("bench.backup_process", _order(bench, name, DumpFormat.GZIP, on_disk, Path(folder)))
            for _ in range(_TOGETHER)
        ]
        told = [result(process) for process in running]
    seconds = max(one["seconds"] for one in told)
    own = max(one["own"] for one in told) / MIB
    print(
        f"  {f'{_TOGETHER} x .sql.gz at once':24} {seconds:6.2f} s  {base / seconds:5.2f} of {_TOGETHER} x pg_dump at "
        f"once ({base:.2f} s), RSS of each at most {own:.0f} MiB"
    )


def fill(bench: Bench, name: str, rows: LiteralString, count: int) -> int:
    """Make a database with so many rows; its size on disk."""
    with psycopg.connect(conninfo(bench.server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    with psycopg.connect(conninfo(bench.server, name), autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (id bigint, uid uuid, body jsonb, text text)")
        # As it is: what the server would have to unpack would slow pg_dump down and hide what we cost.
        connection.execute("ALTER TABLE rows ALTER body SET STORAGE EXTERNAL, ALTER text SET STORAGE EXTERNAL")
        connection.execute(b"INSERT INTO rows " + rows.encode(), (count,))
        connection.execute("VACUUM (ANALYZE, FREEZE) rows")
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert found is not None, "it is there"
    return int(found[0])


def _rival(bench: Bench, name: str, through: list[str] | None) -> float:
    """Seconds of a pg_dump to nowhere, through a packer if one is given."""
    started = time.perf_counter()
    target = subprocess.DEVNULL if through is None else subprocess.PIPE
    with subprocess.Popen([bench.pg_dump, name], stdout=target, env=bench.environment) as dump:
        if through is not None:
            subprocess.run(through, stdin=dump.stdout, stdout=subprocess.DEVNULL, check=True)
        if dump.wait():
            raise AssertionError("pg_dump failed")
    return time.perf_counter() - started


def _backup(bench: Bench, name: str, format_: DumpFormat, on_disk: int, *, to_s3: bool = False) -> Taken:
    with _place(bench, to_s3=to_s3) as place:
        process = start_process("bench.backup_process", _order(bench, name, format_, on_disk, place))
        memory = Memory()
        while process.poll() is None:
            _look(process.pid, memory)
            time.sleep(0.02)
        told = result(process)
    return Taken(told["seconds"], told["plain"], told["stored"], Memory(told["own"], max(memory.tree, told["own"])))


@contextmanager
def _place(bench: Bench, *, to_s3: bool) -> Iterator[Path | str]:
    if to_s3:
        assert bench.s3 is not None, "it was started"
        bucket = f"b{secrets.token_hex(6)}"
        bench.s3.make_bucket(bucket)
        yield bucket
    else:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            yield Path(folder)


def _order(bench: Bench, name: str, format_: DumpFormat, on_disk: int, place: Path | str) -> dict[str, Any]:
    server = bench.server
    order: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": name,
        "size": on_disk,
        "format": format_.value,
        "run": secrets.token_hex(4),
    }
    if isinstance(place, Path):
        return {**order, "folder": str(place)}
    assert bench.s3 is not None, "it was started"
    data = {name: value.decode() for name, value in bench.s3.data().items()}
    return {**order, "spec": bench.s3.spec(place), "data": data}


def start_process(module: str, order: Mapping[str, Any]) -> "subprocess.Popen[str]":
    """A module in a process of its own; its order is JSON on stdin."""
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdin is not None, "it is a pipe"
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    return process


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a process left on stdout, once it has ended."""
    assert process.stdout is not None, "it is a pipe"
    with process.stdout as out:
        text = out.read()
    if process.wait():
        raise AssertionError("the process failed")
    found: dict[str, Any] = json.loads(text)
    return found


def _look(pid: int, memory: Memory) -> None:
    """Take in what a process and its children use now."""
    try:
        process = psutil.Process(pid)
        own = process.memory_info().rss
        tree = own + sum(child.memory_info().rss for child in process.children(recursive=True))
    except psutil.NoSuchProcess:
        return
    memory.own, memory.tree = max(memory.own, own), max(memory.tree, tree)


def conninfo(server: EmbeddedServer, database: str) -> str:
    """The superuser's connection string."""
    login = f"host={server.host} port={server.port} user={server.user}"
    return f"{login} password={server.password} dbname={database} sslmode=disable"
