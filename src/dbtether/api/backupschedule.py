"""BackupSchedule: backups of one database by the clock, and which of them are kept."""

from enum import StrEnum
from typing import Annotated

from dbtether.api.backup import DEFAULT_FILENAME_TEMPLATE, MAX_TTL, FilenameTemplate
from dbtether.api.durations import Duration
from dbtether.api.field_paths import Path
from dbtether.api.fields import Choice, CronSchedule, TimeZone, between, duration
from dbtether.api.model import KindStatus, SpecModel, StatusModel, Timestamp
from dbtether.api.references import DatabaseRef, LocalDatabaseRef, StorageRef

MAX_NAME = 63
"""As many characters as a label's value has."""
Count = Annotated[int, between(0, 10_000)]
Span = Annotated[Duration, duration("1s", MAX_TTL)]


class Retention(SpecModel):
    """Which backups are kept: the union of all rules; all zero deletes nothing."""

    keep_last: Count = 0
    """Keep the newest so many."""
    keep_daily: Count = 0
    """Keep the newest of each of the latest so many days that have a backup."""
    keep_weekly: Count = 0
    """Keep the newest of each of the latest so many ISO weeks that have a backup."""
    keep_monthly: Count = 0
    """Keep the newest of each of the latest so many months that have a backup."""

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is ever deleted."""
        return not (self.keep_last or self.keep_daily or self.keep_weekly or self.keep_monthly)


class ConcurrencyPolicy(StrEnum):
    """What happens when a backup is due while the one before runs (as batch/v1 CronJob)."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class VerifyTarget(SpecModel):
    """Where a restore drill has its throwaway database."""

    database_ref: LocalDatabaseRef
    """A Database of the schedule's own namespace; the throwaway database lies beside it, and it is not touched."""


class Verify(SpecModel):
    """Restore drills by the clock: the newest backup is restored into a throwaway database, compared and dropped."""

    schedule: CronSchedule
    """Five cron fields, or @hourly, @daily, @weekly, @monthly, @yearly, in the schedule's timeZone."""
    target: VerifyTarget | None = None
    """Beside which Database it is done, perhaps on another server; the one that is backed up when left out."""


class BackupScheduleSpec(SpecModel):
    """Backups of one database by the clock."""

    database_ref: DatabaseRef
    """The Database to back up."""
    storage_ref: StorageRef
    """The BackupStorage that the dumps are written to."""
    schedule: CronSchedule
    """Five cron fields, or @hourly, @daily, @weekly, @monthly, @yearly."""
    time_zone: TimeZone = "UTC"
    """IANA time zone of the schedule and of retention's days."""
    filename_template: FilenameTemplate = DEFAULT_FILENAME_TEMPLATE
    """Name of each object; the suffix .sql, .sql.gz, .sql.zst or .dump picks the format."""
    retention: Retention = Retention()
    """Which backups of this schedule are kept."""
    suspend: bool = False
    """Pauses the schedule."""
    concurrency_policy: Choice[ConcurrencyPolicy] = ConcurrencyPolicy.FORBID
    """Forbid skips a run while the one before is running, Allow starts it, Replace ends the one before."""
    starting_deadline: Span | None = None
    """How late a missed run may still start; no limit when left out."""
    alert_after: Span | None = None
    """Age of the last good backup from which the condition Fresh is False."""
    failed_history_limit: Annotated[int, between(0, 100)] = 5
    """How many failed Backups, and failed restore drills, are kept to look at."""
    verify: Verify | None = None
    """Proves by the clock that the newest backup can be restored; never when left out."""

    def context_problems(self, namespace: str, name: str) -> tuple[tuple[Path, str], ...]:
        """A metadata.name that its Backups' label cannot carry, and drills beside another namespace's Database."""
        found: list[tuple[Path, str]] = []
        if len(name) > MAX_NAME:
            sentence = f"has {len(name)} characters, and the label of its Backups carries {MAX_NAME} at most"
            found.append((("metadata", "name"), sentence))
        is_elsewhere = self.database_ref.namespace not in (None, namespace)
        if is_elsewhere and self.verify is not None and self.verify.target is None:
            sentence = "needs target: a Database of this namespace, since databaseRef leads to another one"
            found.append((("spec", "verify"), sentence))
        return tuple(found)


class BackupSchedulePhase(StrEnum):
    """The state of a BackupSchedule in one word."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


class KeptBackup(StatusModel):
    """One backup that retention kept."""

    name: str
    """Name of the Backup, or key of its object."""
    reasons: tuple[str, ...] = ()
    """The rules that keep it."""


class RetentionStatus(StatusModel):
    """What retention did last."""

    kept: tuple[KeptBackup, ...] = ()
    """Backups that stay, with the reasons; the first 50."""
    kept_count: int | None = None
    """How many there are."""
    deleted: int | None = None
    """How many were deleted."""


class BackupScheduleStatus(KindStatus):
    """What the schedule did and does next."""

    phase: BackupSchedulePhase = BackupSchedulePhase.ACTIVE
    """Active, Suspended or Failed."""
    last_backup_time: Timestamp | None = None
    """When a backup was last started."""
    last_successful_backup: Timestamp | None = None
    """When the last good backup was finished."""
    next_scheduled_time: Timestamp | None = None
    """When the next one is due."""
    managed_backups: int | None = None
    """How many backups of this schedule there are."""
    retention: RetentionStatus | None = None
    """What retention did last."""
    last_verified_restore: Timestamp | None = None
    """When a restore drill last proved a backup."""
    verified_backup: str | None = None
    """URL of the backup that it proved."""
    next_verification: Timestamp | None = None
    """When the next restore drill is due."""
