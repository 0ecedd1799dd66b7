"""What the two jobs of a restore do with the files that they are given, and how they tell how it ended."""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from dbtether.backup.formats import format_of
from dbtether.backup.jobfiles import read_login, read_store
from dbtether.backup.restore.check import check
from dbtether.backup.restore.guard import DumpRefused
from dbtether.backup.restore.job import CheckResult, CheckRun, RestoreResult, RestoreRun
from dbtether.backup.restore.load import Loaded, LoadRequest, load
from dbtether.backup.restore.model import Findings
from dbtether.backup.restore.passing import PassProgress
from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import Blocked, Retryable
from dbtether.storage.errors import StorageError

T = TypeVar("T")
_Ended = tuple[str, str, bool]


async def work_check(
    folder: Path,
    run: CheckRun,
    on_progress: Callable[[PassProgress], None],
    environment: Mapping[str, str] = os.environ,
) -> CheckResult:
    """Read the object that the folder's files name, and tell what is in it."""

    async def checked() -> Findings:
        stream = read_store(folder, run).stream(run.key)
        return await check(
            stream, format_of(run.key), run.rules, run.expected, on_progress=on_progress, environment=environment
        )

    found = await _told(checked())
    return CheckResult(True, findings=found) if isinstance(found, Findings) else CheckResult(False, *found)


async def work_restore(
    folder: Path,
    run: RestoreRun,
    on_progress: Callable[[PassProgress], None],
    environment: Mapping[str, str] = os.environ,
) -> RestoreResult:
    """Load the object that the folder's files name, and tell how it ended.

    A result that may be tried again can follow on a COMMIT that went through: the login's settings tell.
    """

    async def loaded() -> Loaded:
        stream = read_store(folder, run).stream(run.key)
        return await load(_request(folder, run), stream, on_progress=on_progress, environment=environment)

    found = await _told(loaded())
    if isinstance(found, Loaded):
        return RestoreResult(True, tables=found.tables, rows=found.rows)
    return RestoreResult(False, *found)


async def _told(work: Awaitable[T]) -> T | _Ended:
    """What it gives, or its error as a reason, a message, and whether to try again."""
    try:
        return await work
    except StorageError as error:
        return error.fault.value, error.message, error.fault.passes
    except DumpDamaged as error:
        return "SourceDamaged", str(error), False
    except DumpRefused as error:
        return "DumpRefused", str(error), False
    except Retryable as error:
        return error.reason, error.message, True
    except Blocked as error:
        return error.reason, error.message, False


def _request(folder: Path, run: RestoreRun) -> LoadRequest:
    return LoadRequest(
        parameters=read_login(folder, run),
        database=run.database,
        application_name=run.application_name,
        run_id=run.run_id,
        owner=run.owner,
        way=run.way,
        existing=run.existing,
        rules=run.rules,
        format=format_of(run.key),
        expected=run.expected,
        counts=run.counts,
    )
