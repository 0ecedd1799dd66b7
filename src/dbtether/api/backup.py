"""Backup: one dump of one database, run once."""

from enum import StrEnum
from typing import Annotated

from dbtether.api.durations import Duration
from dbtether.api.fields import duration, text
from dbtether.api.model import KindStatus, SpecModel, Timestamp
from dbtether.api.references import DatabaseRef, StorageRef
from dbtether.api.templates import filename_problem

DEFAULT_FILENAME_TEMPLATE = "{{ .Timestamp }}.sql.gz"
MAX_TTL = "8760h"

FilenameTemplate = Annotated[str, text(filename_problem, size=512)]
TimeToLive = Annotated[Duration, duration("0s", MAX_TTL)]
Deadline = Annotated[Duration, duration("1s", MAX_TTL)]


class BackupSpec(SpecModel):
    """One dump of one database."""

    database_ref: DatabaseRef
    """The Database to back up."""
    storage_ref: StorageRef
    """The BackupStorage that the dump is written to."""
    filename_template: FilenameTemplate = DEFAULT_FILENAME_TEMPLATE
    """Name of the object; the suffix .sql, .sql.gz, .sql.zst or .dump picks the format."""
    ttl_after_completion: TimeToLive = Duration("1h")
    """How long the finished Job is kept; the object stays."""
    active_deadline: Deadline | None = None
    """Longest time that the Job may run; no limit when left out."""
    cancel: bool = False
    """Ends a running backup."""


class RunPhase(StrEnum):
    """The state of a Backup or a Restore in one word."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


class BackupStatus(KindStatus):
    """The run of a backup."""

    phase: RunPhase = RunPhase.PENDING
    """Pending, Running, Completed or Failed."""
    spec_hash: str | None = None
    """Hash of the spec that was run; the same spec never runs again."""
    job_name: str | None = None
    """Name of the Job."""
    run_id: str | None = None
    """Id of the run."""
    attempts: int | None = None
    """How many times the run was tried."""
    path: str | None = None
    """URL of the object, such as s3://bucket/key."""
    size: str | None = None
    """Size of the object, such as 12.3 MiB."""
    duration: str | None = None
    """How long the run took."""
    started_at: Timestamp | None = None
    """When the run started."""
    completed_at: Timestamp | None = None
    """When the run ended."""
    sha256: str | None = None
    """SHA-256 of the object, in hexadecimal."""
