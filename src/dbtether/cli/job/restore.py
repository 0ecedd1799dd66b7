"""`dbtether job restore-check` and `dbtether job restore`: the two passes, each in a process of its own."""

import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from dbtether.backup.restore.job import CheckResult, CheckRun, RestoreResult, read_check_run, read_restore_run
from dbtether.backup.restore.passing import PassProgress
from dbtether.backup.restore.working import work_check, work_restore
from dbtether.backup.words import restore_text
from dbtether.cli import running
from dbtether.cli.exits import Exit

_SECONDS_BETWEEN_LINES = 2.0
_STOPPED = ("Cancelled", "It was asked to end before it was done", True)

Result = TypeVar("Result", CheckResult, RestoreResult)


def check_command(folder: str, result: str) -> Exit:
    """Read the object, print how far it is, and leave what was found."""
    run = read_check_run(Path(folder))
    work = work_check(Path(folder), run, _Lines(run, "checking").show)
    return _ended(work, CheckResult(False, *_STOPPED), Path(result))


def restore_command(folder: str, result: str) -> Exit:
    """Load the object, print how far it is, and leave how it ended."""
    run = read_restore_run(Path(folder))
    work = work_restore(Path(folder), run, _Lines(run, "restoring").show)
    return _ended(work, RestoreResult(False, *_STOPPED), Path(result))


def _ended(work: Coroutine[Any, Any, Result], stopped: Result, path: Path) -> Exit:
    try:
        ended = running.run(work)
    except running.Interrupted:
        path.write_text(stopped.text())
        raise
    # In one write: a container's termination log is a file that is there already.
    path.write_text(ended.text())
    print(ended.message or "done", flush=True)
    return Exit.OK if ended.succeeded else Exit.FAILED


class _Lines:
    """A line of progress every few seconds."""

    def __init__(self, run: CheckRun, doing: str) -> None:
        self._size = 0 if run.expected is None else run.expected.stored.bytes
        self._doing = doing
        self._started = time.monotonic()
        self._told = 0.0

    def show(self, progress: PassProgress) -> None:
        """Tell how far it is, unless that was told a moment ago."""
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            print(restore_text(progress, self._size, now - self._started, self._doing), flush=True)
