"""BackupStorage: where backups are kept."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from dbtether.api.fields import Namespaces, PathTemplate, Plain, Url, listed, matching, text
from dbtether.api.model import ExactlyOne, KindStatus, ShapedModel, ShapeRule, SpecModel, Timestamp
from dbtether.api.references import LabelSelector, SecretRef, is_listed, may_use

DEFAULT_PATH_TEMPLATE = "{{ .ClusterName }}/{{ .DatabaseName }}"

Bucket = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]",
        "is not a bucket's name: 3 to 63 lower-case letters, digits and - . _, alphanumeric at both ends",
        size=63,
    ),
]
Region = Annotated[str, matching(r"[a-z0-9-]+", "is not a region such as eu-west-1", size=63)]
Container = Annotated[
    str,
    matching(
        r"(\$root|[a-z0-9](-?[a-z0-9]){2,62})",
        "is not a container's name: 3 to 63 lower-case letters, digits and single -",
        size=63,
    ),
]
StorageAccount = Annotated[
    str,
    matching(r"[a-z0-9]{3,24}", "is not a storage account: 3 to 24 lower-case letters and digits", size=24),
]
Project = Annotated[str, matching(r"[a-z0-9][a-z0-9.:-]*", "is not a project's id", size=100)]


def _folder_problem(path: str) -> str | None:
    if ".." in path.split("/"):
        return "leaves its folder with `..`; give the folder itself"
    return "has a backslash; segments are separated by /" if "\\" in path else None


def _prefix_problem(prefix: str) -> str | None:
    if any(segment in (".", "..", "") for segment in prefix.removesuffix("/").split("/")):
        return "has an empty segment, `.` or `..`; a prefix is written imports/old/"
    return "has a backslash; segments are separated by /" if "\\" in prefix else None


Folder = Annotated[str, text(_folder_problem, size=512)]
Prefix = Annotated[str, text(_prefix_problem, size=512)]


class S3(SpecModel):
    """A bucket of AWS S3 or of a store that speaks its protocol."""

    bucket: Bucket
    """Name of the bucket."""
    region: Region
    """Region of the bucket."""
    endpoint: Url | None = None
    """URL of a store other than AWS."""
    force_path_style: bool = False
    """Puts the bucket into the path instead of the host name, as most stores other than AWS want; always where the
    endpoint is an IP address."""
    kms_key_id: Plain | None = None
    """KMS key that objects are encrypted with."""


class Gcs(SpecModel):
    """A bucket of Google Cloud Storage."""

    bucket: Bucket
    """Name of the bucket."""
    project: Project | None = None
    """Project of the bucket."""
    endpoint: Url | None = None
    """URL of a store other than Google's."""


class Azure(SpecModel):
    """A container of Azure Blob Storage."""

    container: Container
    """Name of the container."""
    storage_account: StorageAccount
    """Name of the storage account."""
    endpoint: Url | None = None
    """URL of a store other than Azure's."""


class Local(SpecModel):
    """A folder of the machine, under the root that the operator was given."""

    path: Folder
    """Path of the folder."""


class ImportPrefix(SpecModel):
    """Objects without our manifest that some namespaces may restore from."""

    prefix: Prefix
    """Start of the objects' keys."""
    namespaces: Annotated[Namespaces, listed(256, 1)]
    """Namespaces that may restore them; `*` is all."""


class BackupStorageSpec(ShapedModel):
    """Where backups are kept."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (ExactlyOne(("s3", "gcs", "azure", "local")),)

    s3: S3 | None = None
    """A bucket of AWS S3 or of a store that speaks its protocol."""
    gcs: Gcs | None = None
    """A bucket of Google Cloud Storage."""
    azure: Azure | None = None
    """A container of Azure Blob Storage."""
    local: Local | None = None
    """A folder of the machine."""
    path_template: PathTemplate = DEFAULT_PATH_TEMPLATE
    """Folder of a database's backups, from fields such as {{ .ClusterName }}."""
    credentials_secret_ref: SecretRef | None = None
    """Secret with the store's keys; the workload's own identity when left out."""
    allowed_namespaces: Namespaces | None = None
    """Namespaces that may use the storage; all when this and namespaceSelector are left out."""
    namespace_selector: LabelSelector | None = None
    """Labels of namespaces that may use the storage, beside allowedNamespaces."""
    import_prefixes: Annotated[tuple[ImportPrefix, ...], listed(64)] = ()
    """Objects without our manifest that some namespaces may restore from."""

    @property
    def provider(self) -> str:
        """Which store it is: s3, gcs, azure or local."""
        return next(name for name in ("s3", "gcs", "azure", "local") if getattr(self, name) is not None)

    def allows(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether resources of a namespace (with its labels) may use the storage."""
        return may_use(namespace, labels, self.allowed_namespaces, self.namespace_selector)

    def may_import(self, namespace: str, key: str) -> bool:
        """Whether a namespace may restore from an object without our manifest."""
        # Whole segments: the prefix `old` must not open `older/`.
        return any(
            key.startswith(f"{entry.prefix.removesuffix('/')}/") and is_listed(entry.namespaces, namespace)
            for entry in self.import_prefixes
        )


class BackupStoragePhase(StrEnum):
    """The state of a BackupStorage in one word."""

    PENDING = "Pending"
    READY = "Ready"
    FAILED = "Failed"


class BackupStorageStatus(KindStatus):
    """What is known of the store."""

    phase: BackupStoragePhase = BackupStoragePhase.PENDING
    """Pending, Ready or Failed."""
    provider: str | None = None
    """s3, gcs, azure or local."""
    last_validation: Timestamp | None = None
    """When a probe object was last written, read, listed and deleted."""
