"""A backup as a job of its own: the files that it is given, what it does, and the result that it leaves.

The files say what to dump and where to; the password, the store's keys and the key of this one run's signature
are among them. The admin's password and the installation's key are not.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dbtether.backup.clients import find_clients
from dbtether.backup.dump import LOCK_WAIT_SECONDS, DumpProgress, DumpRequest
from dbtether.backup.formats import format_of
from dbtether.backup.jobfiles import RUN_FILE, login_files, read_login, read_store, storage_files
from dbtether.backup.manifest import Manifest, Origin, Source
from dbtether.backup.run import BackupRun, run_backup
from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import Blocked, Retryable
from dbtether.storage.errors import StorageError

_SIGNING_KEY = "signing-key"
_MESSAGE_CHARACTERS = 800


class JobRun(BaseModel):
    """What a job is told, without a secret."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    installation: str
    origin: Origin
    source: Source
    key: str
    """Of the object, as the templates give it."""
    tags: dict[str, str] = Field(default_factory=dict)
    storage: dict[str, Any]
    """A BackupStorage's spec."""
    local_root: str | None = None
    """The folder that a storage of the kind `local` may use."""
    host: str
    port: int
    user: str
    sslmode: str
    server_major: int
    lock_wait_seconds: float = LOCK_WAIT_SECONDS
    """How long pg_dump waits for a lock on a table."""


@dataclass(frozen=True, slots=True, repr=False)
class JobSecrets:
    """What a job is given beside that. Its repr shows nothing."""

    password: str
    signing_key: bytes
    storage: Mapping[str, bytes] | None
    """The store's keys; None for the workload's own identity."""
    tls: Mapping[str, bytes]
    """Certificates and key by their names in ConnectParameters."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended."""

    succeeded: bool
    reason: str = ""
    message: str = ""
    may_retry: bool = False

    def text(self) -> str:
        """As the job leaves it: small enough for a container's termination message."""
        values = {"succeeded": self.succeeded, "reason": self.reason, "mayRetry": self.may_retry}
        # As it is: escaped, a message in most of the world's languages would be too long.
        return json.dumps({**values, "message": self.message[:_MESSAGE_CHARACTERS]}, ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> "JobResult | None":
        """What a job left; None when that is something else."""
        try:
            found = json.loads(text)
            return cls(bool(found["succeeded"]), str(found["reason"]), str(found["message"]), bool(found["mayRetry"]))
        except (ValueError, KeyError, TypeError):
            return None


def job_files(run: JobRun, secrets: JobSecrets) -> dict[str, bytes]:
    """The files of a job, by name."""
    return {
        RUN_FILE: run.model_dump_json(exclude_none=True).encode(),
        _SIGNING_KEY: secrets.signing_key.hex().encode(),
        **login_files(secrets.password, secrets.tls),
        **storage_files(secrets.storage),
    }


def read_run(folder: Path) -> JobRun:
    """What the job of a folder was told."""
    return JobRun.model_validate_json((folder / RUN_FILE).read_bytes())


async def work(
    folder: Path,
    run: JobRun,
    on_progress: Callable[[DumpProgress], None],
    environment: Mapping[str, str] = os.environ,
) -> JobResult:
    """Take the backup that the folder's files describe, and tell how it ended."""
    try:
        await _taken(folder, run, on_progress, environment)
    except StorageError as error:
        return JobResult(False, error.fault.value, error.message, error.fault.passes)
    except DumpDamaged as error:
        return JobResult(False, "BackupFailed", str(error), True)
    except Retryable as error:
        return JobResult(False, error.reason, error.message, True)
    except Blocked as error:
        return JobResult(False, error.reason, error.message, False)
    return JobResult(True)


async def _taken(
    folder: Path, run: JobRun, on_progress: Callable[[DumpProgress], None], environment: Mapping[str, str]
) -> Manifest:
    store, backup = read_store(folder, run), _backup(folder, run, environment)
    return await run_backup(
        store, backup, now=lambda: datetime.now(UTC), on_progress=on_progress, environment=environment
    )


def _backup(folder: Path, run: JobRun, environment: Mapping[str, str]) -> BackupRun:
    request = DumpRequest(
        clients=find_clients(run.server_major, environment),
        parameters=read_login(folder, run),
        database=run.source.database,
        format=format_of(run.key),
        application_name=f"dbtether: backup {run.origin.namespace}/{run.origin.name}",
        lock_wait_seconds=run.lock_wait_seconds,
    )
    return BackupRun(
        run_id=run.run_id,
        installation=run.installation,
        origin=run.origin,
        source=run.source,
        key=run.key,
        request=request,
        signing_key=bytes.fromhex((folder / _SIGNING_KEY).read_text()),
        tags=run.tags,
    )
