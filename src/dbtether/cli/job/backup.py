"""`dbtether job backup`: one backup in a process of its own."""

import time
from pathlib import Path

from dbtether.backup.dump import DumpProgress
from dbtether.backup.job import JobResult, JobRun, read_run, work
from dbtether.backup.words import progress_text
from dbtether.cli import running
from dbtether.cli.exits import Exit

_SECONDS_BETWEEN_LINES = 2.0


def backup_command(folder: str, result: str) -> Exit:
    """Take the backup, print how far it is, and leave the result."""
    run = read_run(Path(folder))
    ended = running.run(work(Path(folder), run, _Lines(run).show))
    _leave(Path(result), ended)
    print(ended.message or "done", flush=True)
    return Exit.OK if ended.succeeded else Exit.FAILED


def _leave(path: Path, result: JobResult) -> None:
    """In one write: a container's termination log is a file that is there already."""
    path.write_text(result.text(), encoding="utf-8")


class _Lines:
    """A line of progress every few seconds."""

    def __init__(self, run: JobRun) -> None:
        self._size = run.source.size_bytes
        self._told = 0.0

    def show(self, progress: DumpProgress) -> None:
        """Tell how far it is, unless that was told a moment ago."""
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            print(progress_text(progress, self._size), flush=True)
