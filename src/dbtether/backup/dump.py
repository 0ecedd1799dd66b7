"""Takes a dump: pg_dump, proof, packing, checksums, and on to a store, piece by piece.

Each piece of 1 MiB goes through three steps that work side by side: read and scanned, packed, written. The
queues between them are short, so that a slow store slows pg_dump down and memory stays flat. Nothing is
believed before pg_dump has ended with 0 AND the dump's footer was seen: a killed pg_dump ends its pipe like
one that is done.
"""

import asyncio
import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from dbtether.backup.clients import ClientPrograms
from dbtether.backup.formats import CUSTOM_HEADER, DumpFormat, Packer, packer
from dbtether.backup.scanner import DumpDamaged, DumpScanner
from dbtether.backup.sessions import client_environment, connection_target
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.connection import ConnectParameters

Write = Callable[[bytes], Awaitable[None]]
"""Takes the next piece of the object; what was written is visible only once its owner says so."""

_PIECE = 1 << 20
_STDERR_BYTES = 16 * 1024
_FROM_SERVER = "Error message from server:"
_LOCK_QUERY = re.compile(r"query was: (LOCK TABLE .*)", re.IGNORECASE)
LOCK_WAIT_SECONDS = 60.0
_PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """What to dump, with which programs and as whom."""

    clients: ClientPrograms
    parameters: ConnectParameters
    database: str
    format: DumpFormat
    application_name: str = "dbtether backup"
    lock_wait_seconds: float = LOCK_WAIT_SECONDS


@dataclass(frozen=True, slots=True)
class DumpProgress:
    """How far a dump is."""

    plain_bytes: int
    object_bytes: int
    tables: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DumpResult:
    """A complete dump; checksums are SHA-256 in hexadecimal."""

    plain_bytes: int
    plain_sha256: str
    object_bytes: int
    object_sha256: str
    rows: Mapping[str, int] | None
    """Rows of each table; None in the custom format, which does not show them."""
    client_version: str
    seconds: float


@dataclass(slots=True)
class _Run:
    """What is known of a dump while it goes by."""

    request: DumpRequest
    scanner: DumpScanner = field(default_factory=DumpScanner)
    plain: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    packed: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    plain_bytes: int = 0
    object_bytes: int = 0
    head: bytes = b""
    started: float = field(default_factory=time.monotonic)

    def take(self, data: bytes) -> None:
        """A piece as pg_dump wrote it."""
        self.plain.update(data)
        self.plain_bytes += len(data)
        self.head = (self.head + data[: len(CUSTOM_HEADER)])[: len(CUSTOM_HEADER)]
        if not self.request.format.is_custom:
            self.scanner.feed(data)

    def took(self, data: bytes) -> None:
        """A piece as it goes to the store."""
        self.packed.update(data)
        self.object_bytes += len(data)

    def progress(self) -> DumpProgress:
        scanner = self.scanner
        seconds = time.monotonic() - self.started
        return DumpProgress(self.plain_bytes, self.object_bytes, scanner.tables_so_far, scanner.rows_so_far, seconds)


async def dump(
    request: DumpRequest,
    write: Write,
    *,
    on_progress: Callable[[DumpProgress], None] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> DumpResult:
    """Dump a database into `write`, and give what was written.

    Raises Retryable or Blocked when pg_dump failed, DumpDamaged when what it wrote is no complete dump; then
    what was written so far must be thrown away.
    """
    run = _Run(request)
    with _pg_dump(request, environment) as (process, errors):
        try:
            await _stream(run, process, write, on_progress)
        except DumpDamaged as damage:
            raise DumpDamaged(f"pg_dump of database {request.database} wrote no sound dump: {damage}") from None
        code = await _ended(process)
        if code:
            raise _failure(request, code, errors)
    return _result(run)


def _result(run: _Run) -> DumpResult:
    """The result, proven. Raises DumpDamaged."""
    if run.request.format.is_custom:
        if run.head != CUSTOM_HEADER:
            raise DumpDamaged("pg_dump ended without an error, but wrote no archive")
        rows = None
    else:
        rows = run.scanner.close().rows
    return DumpResult(
        plain_bytes=run.plain_bytes,
        plain_sha256=run.plain.hexdigest(),
        object_bytes=run.object_bytes,
        object_sha256=run.packed.hexdigest(),
        rows=rows,
        client_version=run.request.clients.version,
        seconds=time.monotonic() - run.started,
    )


# -- the three steps ----------------------------------------------------------------------------------


async def _stream(
    run: _Run, process: "subprocess.Popen[bytes]", write: Write, on_progress: Callable[[DumpProgress], None]
) -> None:
    assert process.stdout is not None
    plain: asyncio.Queue[bytes] = asyncio.Queue(2)
    packed: asyncio.Queue[bytes] = asyncio.Queue(2)
    steps = (
        _read(run, process.stdout, plain),
        _pack(run, packer(run.request.format), plain, packed),
        _write(run, packed, write, on_progress),
    )
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        # The first that fails ends the others: none waits for a neighbour that is gone.
        _kill(process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _read(run: _Run, source: IO[bytes], out: "asyncio.Queue[bytes]") -> None:
    def piece() -> bytes:
        data = source.read(_PIECE)
        run.take(data)
        return data

    while data := await asyncio.to_thread(piece):
        await out.put(data)
    await out.put(b"")


async def _pack(run: _Run, stream: Packer, plain: "asyncio.Queue[bytes]", out: "asyncio.Queue[bytes]") -> None:
    def packed(data: bytes) -> bytes:
        piece = stream.pack(data) if data else stream.finish()
        run.took(piece)
        return piece

    data = b"-"
    while data:
        data = await plain.get()
        if piece := await asyncio.to_thread(packed, data):
            await out.put(piece)
    await out.put(b"")


async def _write(
    run: _Run, packed: "asyncio.Queue[bytes]", write: Write, on_progress: Callable[[DumpProgress], None]
) -> None:
    told = time.monotonic()
    while data := await packed.get():
        await write(data)
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            on_progress(run.progress())
    on_progress(run.progress())


# -- pg_dump ------------------------------------------------------------------------------------------


def _arguments(request: DumpRequest) -> list[str]:
    custom = request.format.is_custom
    return [
        request.clients.path("pg_dump"),
        "--no-password",
        f"--format={'custom' if custom else 'plain'}",
        *(["--compress=1"] if custom else []),
        f"--lock-wait-timeout={round(request.lock_wait_seconds * 1000)}",
        # Whoever restores owns what he restores, and has other tablespaces; a subscription needs a superuser.
        "--no-owner",
        "--no-tablespaces",
        "--no-subscriptions",
        # A newer major may have made a keyword of a name.
        "--quote-all-identifiers",
        f"--dbname={connection_target(request.database)}",
    ]


@contextmanager
def _pg_dump(
    request: DumpRequest, environment: Mapping[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """A running pg_dump and the file with its complaints; it is ended in any case."""
    variables = client_environment(
        request.parameters,
        request.database,
        request.application_name,
        major=request.clients.major,
        read_only=True,
        inherited=environment,
    )
    with variables as env, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            _arguments(request),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
            start_new_session=True,
        )
        _widen(process.stdout)
        try:
            yield process, errors
        finally:
            _kill(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let pg_dump run ahead by a piece where the system allows it (Linux, fcntl(2))."""
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if pipe is not None and set_size is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe, set_size, _PIECE)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End it where it still runs: a thread that reads from it wakes up then."""
    if process.poll() is None:
        process.kill()


async def _ended(process: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(process.wait)


def _failure(request: DumpRequest, code: int, errors: IO[bytes]) -> Retryable | Blocked:
    said, query = _complaint(errors), _refused_lock(errors)
    if query is not None:
        return Retryable(
            "BackupFailed",
            f"pg_dump of database {request.database} waited {request.lock_wait_seconds:g} s in vain for a "
            f"lock that another session keeps from it ({query}): end that session, or wait until it is done",
        )
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    text = f"pg_dump of database {request.database} {how}" + (f": {said}" if said else "")
    if "permission denied" in said or "row-level security" in said or "row security" in said:
        return Blocked("BackupNotAllowed", f"{text}; give the backup's login the right to read it")
    if "server version mismatch" in said:
        return Blocked("ClientNotFound", text)
    return Retryable("BackupFailed", text)


def _refused_lock(errors: IO[bytes]) -> str | None:
    """The statement that waited for a lock until its time was over; None when pg_dump failed over something else."""
    errors.seek(0)
    said = errors.read(_STDERR_BYTES).decode(errors="replace")
    # pg_dump makes a statement's time-out of --lock-wait-timeout.
    found = _LOCK_QUERY.search(said) if "canceling statement due to statement timeout" in said else None
    return None if found is None else _printable(found.group(1))[:200]


def _complaint(errors: IO[bytes]) -> str:
    """The first of pg_dump's error lines, since the others follow from it, and what the server said to it."""
    errors.seek(0)
    lines = [
        line.removeprefix("pg_dump: ") for line in errors.read(_STDERR_BYTES).decode(errors="replace").splitlines()
    ]
    problems = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-1:]
    details = [line.partition(_FROM_SERVER)[2].strip() for line in lines if _FROM_SERVER in line]
    text = " ".join(line for line in (*problems[:1], *details[:1]) if line)
    return _printable(text)[:500]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
