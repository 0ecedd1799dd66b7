"""Restore: a backup put into a database, run once."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from dbtether.api.backup import MAX_TTL, RunPhase, TimeToLive
from dbtether.api.durations import Duration
from dbtether.api.fields import Choice, Name, Namespace, duration, text
from dbtether.api.model import ExactlyOne, KindStatus, ShapedModel, ShapeRule, SpecModel, Timestamp
from dbtether.api.references import LocalDatabaseRef, StorageRef


def _source_path_problem(path: str) -> str | None:
    _, _, key = path.rpartition("://")
    if "\\" in path:
        return "has a backslash; segments are separated by /"
    if any(segment in (".", "..") for segment in key.split("/")):
        return "has `.` or `..`; give the object's own key"
    return "names a folder; give the key of one object" if key.endswith("/") else None


SourcePath = Annotated[str, text(_source_path_problem, size=1024)]


class BackupRef(SpecModel):
    """A Backup, perhaps of another namespace whose Database allows it."""

    name: Name
    """Name of the Backup."""
    namespace: Namespace | None = None
    """Namespace of the Backup; the Restore's own when left out."""


class LatestFrom(SpecModel):
    """The newest good backup of a Database."""

    database_ref: LocalDatabaseRef
    """The Database whose backups are looked at."""
    namespace: Namespace | None = None
    """Namespace of the Database; the Restore's own when left out."""


@dataclass(frozen=True, slots=True)
class _PathOfStorage:
    """A path is one of a storage; the other sources know theirs."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        path, storage = fields.get("path") is not None, fields.get("storageRef") is not None
        if path == storage:
            return None
        if path:
            return "path needs storageRef: the BackupStorage that holds the object"
        return "storageRef goes with path alone; the other sources know their storage"

    @property
    def cel(self) -> str:
        return "has(self.path) == has(self.storageRef)"


class Source(ShapedModel):
    """What is restored."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (
        ExactlyOne(("backupRef", "latestFrom", "path")),
        _PathOfStorage(),
    )

    backup_ref: BackupRef | None = None
    """A Backup that was completed."""
    latest_from: LatestFrom | None = None
    """The newest good backup of a Database."""
    path: SourcePath | None = None
    """Key of an object in the storage of storageRef."""
    storage_ref: StorageRef | None = None
    """The BackupStorage of path."""


class Target(SpecModel):
    """The place that a backup is put into."""

    database_ref: LocalDatabaseRef
    """The Database of the Restore's own namespace that gets the data."""


class OnConflict(StrEnum):
    """What happens when the target has objects already."""

    FAIL = "fail"
    DROP = "drop"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class _NothingReplaced:
    """What is only verified replaces nothing."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        if fields.get("verifyOnly") is not True or fields.get("onConflict") in (None, OnConflict.FAIL):
            return None
        return "verifyOnly touches nothing in the target, so that onConflict must be left out"

    @property
    def cel(self) -> str:
        return "!has(self.verifyOnly) || !self.verifyOnly || !has(self.onConflict) || self.onConflict == 'fail'"


class RestoreSpec(ShapedModel):
    """A backup put into a database; cannot be changed once it exists, `cancel` aside."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (_NothingReplaced(),)

    source: Source
    """What is restored: a Backup, the newest one of a Database, or an object of a storage."""
    target: Target
    """Where to restore."""
    on_conflict: Choice[OnConflict] = OnConflict.FAIL
    """fail stops when the target has objects; drop replaces the database; overwrite replaces its content."""
    verify_only: bool = False
    """Restores into a throwaway database beside the target, compares and drops it; the target is not touched."""
    ttl_after_completion: TimeToLive = Duration("1h")
    """How long the finished Job is kept."""
    keep_replaced_for: Annotated[Duration, duration("0s", MAX_TTL)] = Duration("24h")
    """How long the replaced database is kept, to go back."""
    cancel: bool = False
    """Ends a running restore."""


class RestoreStep(StrEnum):
    """Where the run of a restore is; each step may be begun again after a crash."""

    CHECKING = "Checking"
    """The source is read from end to end; the target is untouched."""
    LOADING = "Loading"
    """The source is loaded: into a transaction of the target, or into a database beside it."""
    SWAPPING = "Swapping"
    """What was loaded takes the place of the target."""
    GRANTING = "Granting"
    """The Database and its users are reconciled, and log in."""
    DROPPING = "Dropping"
    """With `verifyOnly`: what was loaded has been compared, and is dropped."""


class RestoreStatus(KindStatus):
    """The run of a restore."""

    phase: RunPhase = RunPhase.PENDING
    """Pending, Running, Completed or Failed."""
    spec_hash: str | None = None
    """Hash of the spec that was run; the same spec never runs again."""
    job_name: str | None = None
    """Name of the Job."""
    source_path: str | None = None
    """URL of the object that was read."""
    run_id: str | None = None
    """Id of the run."""
    attempts: int | None = None
    """How many times the source was loaded, or was to be."""
    step: RestoreStep | None = None
    """Checking, Loading, Swapping, Granting or Dropping while it runs."""
    way: str | None = None
    """transaction for one transaction in the target, staging for a database beside it."""
    started_at: Timestamp | None = None
    """When the run started."""
    completed_at: Timestamp | None = None
    """When the run ended."""
    duration: str | None = None
    """How long the run took."""
    tables: int | None = None
    """How many tables were restored."""
    rows: int | None = None
    """How many rows were restored."""
