"""The table of the seven kinds and the names of our annotations, labels and finalizers.

Light on purpose: command completion and the store import it, so the models behind it load when asked for.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from dbtether.api.columns import Column, ColumnType

if TYPE_CHECKING:
    from dbtether.api.model import KindStatus, SpecModel

GROUP = "dbtether.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = "dbtether.io/finalizer"
OLDER_FINALIZERS = (
    "databaseusers.dbtether.io/finalizer",
    "dbtether.io/backup-job",
    "dbtether.io/restore-job",
    "dbtether.io/schedule-finalizer",
)
"""Left by the older operator; recognised and removed."""

PAUSED = "dbtether.io/paused"
RECONCILE = "dbtether.io/reconcile"
FORCE_DELETE = "dbtether.io/force-delete"
FORCE_ADOPT = "dbtether.io/force-adopt"
RELEASE_TO = "dbtether.io/release-to"
CONFIRM_DELETE = "dbtether.io/confirm-delete"
CONFIRM_PRUNE = "dbtether.io/confirm-prune"
CONFIRM_SERVER = "dbtether.io/confirm-server"
"""On a DBCluster: the identity of the server that the endpoint may lead to from now on."""
ROTATE = "dbtether.io/rotate"
"""On a DatabaseUser: a new password for each new value."""
ROTATE_NOW = "now"
"""The value of ROTATE that is taken off when it is done, so that it can be set again."""
RUN_AGAIN = "dbtether.io/run-again"
"""On a Restore: done once more for each new value."""
UNDO_RESTORE = "dbtether.io/undo-restore"
"""On a Database: the run of a Restore; what that replaced comes back, and the annotation is taken off."""

SCHEDULE_LABEL = "dbtether.io/schedule"
BACKUP_NAME_LABEL = "dbtether.io/backup-name"
BACKUP_NAMESPACE_LABEL = "dbtether.io/backup-namespace"

ANNOTATIONS = (
    PAUSED,
    RECONCILE,
    FORCE_DELETE,
    FORCE_ADOPT,
    RELEASE_TO,
    CONFIRM_DELETE,
    CONFIRM_PRUNE,
    CONFIRM_SERVER,
    ROTATE,
    RUN_AGAIN,
    UNDO_RESTORE,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its names, its scope, its columns (NAMESPACE and NAME come before them)."""

    kind: str
    plural: str
    singular: str
    short_name: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def spec(self) -> "type[SpecModel]":
        """The spec's model; loads pydantic."""
        model: type[SpecModel] = getattr(import_module(f"dbtether.api.{self.singular}"), f"{self.kind}Spec")
        return model

    @property
    def status(self) -> "type[KindStatus]":
        """The status' model; loads pydantic."""
        model: type[KindStatus] = getattr(import_module(f"dbtether.api.{self.singular}"), f"{self.kind}Status")
        return model


_PHASE = Column("PHASE", ".status.phase")
_AGE = Column("AGE", ".metadata.creationTimestamp", ColumnType.DATE)

_TABLE = (
    Kind(
        "DBCluster",
        "dbclusters",
        "dbcluster",
        "dbc",
        False,
        (Column("ENDPOINT", ".spec.endpoint"), _PHASE, Column("VERSION", ".status.postgresVersion"), _AGE),
    ),
    Kind(
        "Database",
        "databases",
        "database",
        "db",
        True,
        (Column("CLUSTER", ".spec.clusterRef.name"), Column("DATABASE", ".status.databaseName"), _PHASE, _AGE),
    ),
    Kind(
        "DatabaseUser",
        "databaseusers",
        "databaseuser",
        "dbu",
        True,
        (
            Column("DATABASE", ".status.databasesSummary"),
            Column("USERNAME", ".status.username"),
            Column("PRIVILEGES", ".status.privilegesSummary"),
            _PHASE,
            _AGE,
        ),
    ),
    Kind(
        "BackupStorage",
        "backupstorages",
        "backupstorage",
        "bs",
        False,
        (Column("PROVIDER", ".status.provider"), _PHASE, _AGE),
    ),
    Kind(
        "Backup",
        "backups",
        "backup",
        "bkp",
        True,
        (
            Column("DATABASE", ".spec.databaseRef.name"),
            _PHASE,
            Column("SIZE", ".status.size"),
            Column("DURATION", ".status.duration"),
            _AGE,
        ),
    ),
    Kind(
        "BackupSchedule",
        "backupschedules",
        "backupschedule",
        "bks",
        True,
        (
            Column("DATABASE", ".spec.databaseRef.name"),
            Column("SCHEDULE", ".spec.schedule"),
            _PHASE,
            Column("LAST BACKUP", ".status.lastBackupTime", ColumnType.DATE),
            # A date column shows a time to come as <invalid>.
            Column("NEXT", ".status.nextScheduledTime"),
            _AGE,
        ),
    ),
    Kind(
        "Restore",
        "restores",
        "restore",
        "rst",
        True,
        (
            Column("TARGET", ".spec.target.databaseRef.name"),
            _PHASE,
            Column("DURATION", ".status.duration"),
            _AGE,
        ),
    ),
)

KINDS = {kind.kind: kind for kind in _TABLE}
KIND_NAMES = tuple(KINDS)
_BY_WORD = {word: kind for kind in _TABLE for word in (kind.kind.lower(), kind.singular, kind.plural, kind.short_name)}


def find_kind(word: str) -> Kind | None:
    """The kind that a person names on the command line: kind, singular, plural or short name, in any case."""
    return _BY_WORD.get(word.lower())


def nearest_kind(word: str) -> str | None:
    """The kind whose name is nearest to a misspelt one, if any is near."""
    near = get_close_matches(word.lower()[:64], _BY_WORD, 1)
    return _BY_WORD[near[0]].kind if near else None
