"""Jobs as child processes, kept in a folder of the state directory so that any later engine finds them again.

A job's process lives on when the engine that started it ends, however that happens. Its id and its time of start
are on record before the program begins: the next engine takes it as its own, and starts none beside it.

jobs/<name>/job.json    whom it works for, its deadline, how long its result is kept
jobs/<name>/process     the process: its id and its time of start
jobs/<name>/files/      what it was given; gone once it has ended
jobs/<name>/result      what it left
jobs/<name>/log         what it printed
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dbtether.api.resource import Key
from dbtether.errors import StateError
from dbtether.runtime.jobs import MAX_RESULT_BYTES, JobPhase, JobSpec, JobState, printable_line
from dbtether.runtime.local.files import folders_in, make_folder, read_file, write_file
from dbtether.runtime.local.processes import ProcessId, is_alive, process_id

PROGRAM = (sys.executable, "-m", "dbtether.cli.main")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_LOG_TAIL_BYTES = 4096
_WATCH_SECONDS = 0.1
_KILL_SECONDS = 10.0
# What the program needs of our environment: its tools, its proxies, and the identity of the machine in a cloud.
# Everything else stays out, variables with the admin's password before all.
_PASSED_ON = re.compile(
    r"(PATH|HOME|USER|LANG|LC_ALL|TZ|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)|DBTETHER_PG_PROGRAMS"
    r"|(AWS|AZURE|GOOGLE|MSI|IDENTITY)_\w+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy)"
)


@dataclass(slots=True)
class _Job:
    """A job on record, and the process where it is a child of ours."""

    folder: Path
    subject: Key
    deadline: float | None
    """Seconds since the epoch."""
    ttl_seconds: float
    child: "subprocess.Popen[bytes] | None" = None
    watch: "asyncio.Task[None] | None" = field(default=None, repr=False)
    was_late: bool = False


class LocalJobs:
    """The jobs of one state directory, for the process that holds its lock. Use it as a context manager."""

    poll_seconds = 0.5

    def __init__(
        self,
        folder: Path,
        *,
        program: tuple[str, ...] = PROGRAM,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
        terminate_seconds: float = 10.0,
    ) -> None:
        """`terminate_seconds` is how long a process that was asked to end may clean up."""
        self._folder = folder
        self._program = program
        self._environment = {name: value for name, value in environment.items() if _PASSED_ON.fullmatch(name)}
        self._clock = clock
        self._terminate_seconds = terminate_seconds
        self._jobs: dict[str, _Job] = {}
        self._listeners: list[Callable[[Key], None]] = []

    async def __aenter__(self) -> "LocalJobs":
        for folder in folders_in(self._folder):
            job = _recorded(folder)
            if job is None or self._is_over(job):
                # Half made, or nobody needs it any more.
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._jobs[folder.name] = job
            self._watch(job)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop looking; the processes go on."""
        for job in self._jobs.values():
            if job.watch is not None:
                job.watch.cancel()
            if job.child is not None:
                # Somebody else's from now on, and no reason for a warning that it still runs.
                job.child.returncode = job.child.poll() or 0
        self._jobs.clear()

    async def ensure(self, spec: JobSpec) -> None:
        """Start the job's process unless the job is known."""
        if spec.name in self._jobs:
            return
        self._sweep()
        if not _NAME.fullmatch(spec.name):
            raise StateError(f"a job cannot be named {spec.name[:80]!r}")
        folder = self._folder / spec.name
        make_folder(folder / "files")
        for name, content in spec.files.items():
            write_file(folder / "files" / name, content, durable=False)
        deadline = None if spec.deadline_seconds is None else self._clock() + spec.deadline_seconds
        record = {
            "subject": [spec.subject.kind, spec.subject.namespace, spec.subject.name],
            "labels": dict(spec.labels),
            "deadline": deadline,
            "ttlSeconds": spec.ttl_seconds,
        }
        write_file(folder / "job.json", json.dumps(record).encode(), durable=True)
        job = _Job(folder, spec.subject, deadline, spec.ttl_seconds)
        job.child = self._started(folder, spec.arguments)
        self._jobs[spec.name] = job
        self._watch(job)

    def _started(self, folder: Path, arguments: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        """The program's process, held back until it is on record: a kill of ours leaves none unknown."""
        command = [*self._program, "job", *arguments, str(folder / "files"), "--result", str(folder / "result")]
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "dbtether-job", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd="/",
                # A Ctrl-C in the terminal is for the command that waits, not for the work.
                start_new_session=True,
            )
        finally:
            os.close(log)
        write_file(folder / "process", process_id(child.pid).text().encode(), durable=True)
        gate: IO[bytes] | None = child.stdin
        assert gate is not None, "it was asked for"
        with contextlib.suppress(BrokenPipeError):
            gate.write(b"go\n")
            gate.close()
        return child

    async def state(self, name: str) -> JobState | None:
        """How far the job is."""
        job = self._jobs.get(name)
        if job is None:
            return None
        progress = _last_line(job.folder / "log")
        if self._is_running(job):
            return JobState(JobPhase.RUNNING, progress)
        content = read_file(job.folder / "result") if (job.folder / "result").exists() else None
        if content is not None and not job.was_late:
            return JobState(JobPhase.ENDED, progress, content[:MAX_RESULT_BYTES].decode(errors="replace"))
        return JobState(JobPhase.ENDED, progress, None, self._why(job), job.was_late)

    async def delete(self, name: str) -> bool:
        """End the process and remove everything of the job."""
        job = self._jobs.get(name)
        if job is None:
            return True
        await self._end(job)
        if job.watch is not None:
            job.watch.cancel()
        self._jobs.pop(name, None)
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with a job's subject when it has ended."""
        self._listeners.append(listener)

    # -- a job's process ------------------------------------------------------------------------------

    def _watch(self, job: _Job) -> None:
        job.watch = asyncio.create_task(self._watch_until_ended(job), name=f"job {job.folder.name}")

    async def _watch_until_ended(self, job: _Job) -> None:
        while self._is_running(job):
            if job.deadline is not None and self._clock() >= job.deadline:
                job.was_late = True
                await self._end(job)
            await asyncio.sleep(_WATCH_SECONDS)
        # The password is of no use to anybody any more.
        shutil.rmtree(job.folder / "files", ignore_errors=True)
        for listener in self._listeners:
            listener(job.subject)

    async def _end(self, job: _Job) -> None:
        """Ask the process to end, and soon end it with all of its group."""
        known = _process(job)
        for number, seconds in ((signal.SIGTERM, self._terminate_seconds), (signal.SIGKILL, _KILL_SECONDS)):
            if known is None or not self._is_running(job):
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(known.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended(job), seconds)

    async def _ended(self, job: _Job) -> None:
        while self._is_running(job):  # noqa: ASYNC110 - nobody tells of the end of another's child
            await asyncio.sleep(0.02)

    def _is_running(self, job: _Job) -> bool:
        if job.child is not None:
            return job.child.poll() is None
        known = _process(job)
        return known is not None and is_alive(known)

    def _sweep(self) -> None:
        for name, job in list(self._jobs.items()):
            if self._is_over(job):
                del self._jobs[name]
                shutil.rmtree(job.folder, ignore_errors=True)

    def _is_over(self, job: _Job) -> bool:
        """Whether its result has been there for longer than it is kept."""
        if self._is_running(job):
            return False
        last = max(path.stat().st_mtime for path in (job.folder, *job.folder.iterdir()))
        return self._clock() - last > job.ttl_seconds

    def _why(self, job: _Job) -> str:
        if job.was_late:
            return "was ended at its deadline"
        code = None if job.child is None else job.child.returncode
        if code is None:
            return "ended while nobody was looking"
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _recorded(folder: Path) -> _Job | None:
    """The job of a folder; None when its record is not complete: then its program was never let go."""
    values: Any = None
    with contextlib.suppress(StateError, ValueError):
        content = read_file(folder / "job.json")
        values = None if content is None else json.loads(content)
    if not isinstance(values, dict):
        return None
    kind, namespace, name = values["subject"]
    return _Job(folder, Key(kind, namespace, name), values["deadline"], values["ttlSeconds"])


def _process(job: _Job) -> ProcessId | None:
    content = read_file(job.folder / "process")
    return None if content is None else ProcessId.parse(content.decode(errors="replace"))


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            return printable_line(file.read().decode(errors="replace"))
    except FileNotFoundError:
        return ""
