"""Database: one database on a DBCluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dbtether.api.field_paths import Path
from dbtether.api.fields import (
    Choice,
    ConnectionLimit,
    DatabaseName,
    ExtensionName,
    ExtensionVersion,
    Identifier,
    Locale,
    Namespaces,
    Rule,
    SchemaName,
    listed,
    unique,
)
from dbtether.api.identifiers import database_name_problem
from dbtether.api.model import (
    KindStatus,
    NeedsValue,
    ShapedModel,
    ShapeRule,
    SpecModel,
    StatusModel,
    Timestamp,
)
from dbtether.api.references import ClusterRef, DeletionPolicy, is_listed
from dbtether.api.server_settings import DatabaseSettings


class DriftPolicy(StrEnum):
    """What is done about a change made by hand on the server."""

    REPAIR = "Repair"
    REPORT = "Report"


class LocaleProvider(StrEnum):
    """Where collations come from (CREATE DATABASE ... LOCALE_PROVIDER)."""

    LIBC = "libc"
    ICU = "icu"
    BUILTIN = "builtin"


class Encoding(StrEnum):
    """PostgreSQL's server encodings (documentation, 24.3.1 Supported Character Sets)."""

    UTF8 = "UTF8"
    SQL_ASCII = "SQL_ASCII"
    EUC_CN = "EUC_CN"
    EUC_JP = "EUC_JP"
    EUC_JIS_2004 = "EUC_JIS_2004"
    EUC_KR = "EUC_KR"
    EUC_TW = "EUC_TW"
    ISO_8859_5 = "ISO_8859_5"
    ISO_8859_6 = "ISO_8859_6"
    ISO_8859_7 = "ISO_8859_7"
    ISO_8859_8 = "ISO_8859_8"
    KOI8R = "KOI8R"
    KOI8U = "KOI8U"
    LATIN1 = "LATIN1"
    LATIN2 = "LATIN2"
    LATIN3 = "LATIN3"
    LATIN4 = "LATIN4"
    LATIN5 = "LATIN5"
    LATIN6 = "LATIN6"
    LATIN7 = "LATIN7"
    LATIN8 = "LATIN8"
    LATIN9 = "LATIN9"
    LATIN10 = "LATIN10"
    MULE_INTERNAL = "MULE_INTERNAL"
    WIN866 = "WIN866"
    WIN874 = "WIN874"
    WIN1250 = "WIN1250"
    WIN1251 = "WIN1251"
    WIN1252 = "WIN1252"
    WIN1253 = "WIN1253"
    WIN1254 = "WIN1254"
    WIN1255 = "WIN1255"
    WIN1256 = "WIN1256"
    WIN1257 = "WIN1257"
    WIN1258 = "WIN1258"


class ExtensionOptions(SpecModel):
    """Details of one extension."""

    version: ExtensionVersion | None = None
    """Version to install or update to; the server's default when left out."""
    schema_: Annotated[SchemaName | None, Field(alias="schema")] = None
    """Schema that holds its objects; the server's default when left out."""


class Schema(SpecModel):
    """One schema of the database."""

    name: SchemaName
    """Name of the schema."""
    owner: Identifier | None = None
    """Role of this database that owns it; the group of its admins when left out."""

    @property
    def label(self) -> str:
        """What tells it from the others of its list."""
        return self.name


@dataclass(frozen=True, slots=True)
class _OptionsOfListedExtensions:
    """extensionOptions only for what stands in extensions: an option alone would install nothing."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        options, listed_ = fields.get("extensionOptions"), fields.get("extensions") or []
        if not isinstance(options, Mapping) or not isinstance(listed_, list):
            return None
        alone = sorted(str(name) for name in options if name not in listed_)
        return f"extensionOptions names {alone[0][:63]!r}, which is not in extensions" if alone else None

    @property
    def cel(self) -> str:
        return "!has(self.extensionOptions) || self.extensionOptions.all(name, name in self.extensions)"


@dataclass(frozen=True, slots=True)
class _IcuNeedsItsLocale:
    """PostgreSQL has no ICU locale to fall back on."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        if fields.get("localeProvider") != "icu" or fields.get("icuLocale") is not None:
            return None
        return "localeProvider icu needs icuLocale, such as de-DE, or und for no language"

    @property
    def cel(self) -> str:
        return "!has(self.localeProvider) || self.localeProvider != 'icu' || has(self.icuLocale)"


def _unique_names(values: tuple[Schema, ...]) -> str | None:
    return unique(tuple(value.name for value in values))


class DatabaseSpec(ShapedModel):
    """One database on a DBCluster."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (
        NeedsValue("icuLocale", "localeProvider", ("icu",), "icuLocale needs localeProvider: icu"),
        _IcuNeedsItsLocale(),
        _OptionsOfListedExtensions(),
    )

    cluster_ref: ClusterRef
    """The DBCluster that holds the database."""
    database_name: DatabaseName | None = None
    """Name in PostgreSQL; metadata.name with `-` as `_` when left out. Cannot be changed."""
    extensions: Annotated[tuple[ExtensionName, ...], listed(64), Rule(unique)] = ()
    """Extensions to create and keep up to date; untrusted ones need the DBCluster's allowedExtensions."""
    extension_options: Annotated[dict[ExtensionName, ExtensionOptions], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Version and schema of extensions, by name."""
    drop_extensions: bool = False
    """Whether an extension that left the list is dropped (never with CASCADE)."""
    schemas: Annotated[tuple[Schema, ...], listed(64), Rule(_unique_names)] = ()
    """Schemas to create, with the groups' grants and default privileges as for public."""
    owner: Identifier | None = None
    """Role that owns the database; a role without login that nobody joins when left out."""
    template: Identifier = "template0"
    """Template database, at creation only: one that everybody may copy."""
    encoding: Choice[Encoding] | None = None
    """Character set, at creation only; the template's when left out."""
    lc_collate: Locale | None = None
    """Collation order, at creation only."""
    lc_ctype: Locale | None = None
    """Character classification, at creation only."""
    locale_provider: Choice[LocaleProvider] | None = None
    """libc, icu (15+) or builtin (17+, C.UTF-8, or C for another encoding than UTF8), at creation only."""
    icu_locale: Locale | None = None
    """ICU locale, at creation only; needs localeProvider icu."""
    connection_limit: ConnectionLimit = -1
    """How many sessions may be open at once, at least 1 where the admin is no superuser; -1 is no limit."""
    settings: DatabaseSettings = Field(default_factory=dict)
    """Settings of every session in the database, from a closed list."""
    deletion_policy: Choice[DeletionPolicy] = DeletionPolicy.RETAIN
    """Retain keeps the database when the resource is deleted, Delete drops it."""
    deletion_protection: bool = False
    """Refuses the deletion of the resource and a Restore over the database."""
    adopt: bool = False
    """Takes over a database that exists already; needs the DBCluster's adoptable."""
    revoke_public_connect: bool | None = None
    """Takes CONNECT from PUBLIC; on when the operator created the database, off when it was adopted."""
    drift_policy: Choice[DriftPolicy] = DriftPolicy.REPAIR
    """Repair undoes changes made by hand on our groups, logins and properties; Report only shows them."""
    allowed_namespaces: Namespaces | None = None
    """Namespaces whose users, backups and restores may refer to it; its own when left out, `*` is all."""

    def allows(self, own_namespace: str, namespace: str) -> bool:
        """Whether a resource of `namespace` may refer to this Database of `own_namespace`."""
        return namespace == own_namespace or is_listed(self.allowed_namespaces or (), namespace)

    def context_problems(self, namespace: str, name: str) -> tuple[tuple[Path, str], ...]:
        """A metadata.name that gives no database name."""
        problem = database_name_problem(database_name(self, name))
        if self.database_name is not None or problem is None:
            return ()
        derived = database_name(self, name)[:80]
        return ((("metadata", "name"), f"as the database's name, {derived!r} {problem} (set spec.databaseName)"),)


def database_name(spec: DatabaseSpec, metadata_name: str) -> str:
    """The database's name in PostgreSQL: as given, else metadata.name with `-` as `_`; never written back."""
    return spec.database_name or metadata_name.replace("-", "_")


class DatabasePhase(StrEnum):
    """The state of a Database or a DatabaseUser in one word."""

    PENDING = "Pending"
    WAITING = "Waiting"
    CREATING = "Creating"
    READY = "Ready"
    FAILED = "Failed"
    DELETING = "Deleting"


class ExtensionStatus(StatusModel):
    """One extension as it is on the server."""

    name: str
    """Name of the extension."""
    version: str | None = None
    """Version that is installed."""


class WaitingGrant(StatusModel):
    """Additional grants that cannot all be given yet."""

    role: str
    """The role for the grants."""
    message: str
    """What is missing."""


class ReplacedDatabase(StatusModel):
    """A database that a Restore replaced and that is kept for a while."""

    name: str
    """Its name in PostgreSQL now."""
    run_id: str
    """The run of the Restore that replaced it; `dbtether restore undo` goes back to it."""
    until: Timestamp
    """When it is dropped."""


class DatabaseStatus(KindStatus):
    """The database as it is on the server."""

    phase: DatabasePhase = DatabasePhase.PENDING
    """Pending, Waiting, Creating, Ready, Failed or Deleting."""
    database_name: str | None = None
    """Name in PostgreSQL."""
    ownership_tracked: bool | None = None
    """Whether the owner role carries our marker."""
    owner: str | None = None
    """Role that owns the database."""
    created_by_us: bool | None = None
    """Whether the operator created the database (it adopted it otherwise)."""
    drift: tuple[str, ...] = ()
    """What was changed by hand, one sentence each; the first 50."""
    drift_count: int | None = None
    """How many there are."""
    extensions: tuple[ExtensionStatus, ...] = ()
    """Extensions with their versions; the first 50."""
    extensions_count: int | None = None
    """How many there are."""
    grant_roles_count: int | None = None
    """How many roles for users' additionalGrants there are."""
    waiting_grants: tuple[WaitingGrant, ...] = ()
    """Roles whose grants wait for a table or a schema; the first 50."""
    waiting_grants_count: int | None = None
    """How many there are."""
    applied_grants: str | None = None
    """Hash of the additionalGrants that were applied last: what differs from them later is drift."""
    applied_settings: tuple[str, ...] = ()
    """Names of the settings that were set: those that leave the spec are reset."""
    applied_generation: int | None = None
    """The generation of the spec that was applied last: what differs from it later is drift."""
    replaced: tuple[ReplacedDatabase, ...] = ()
    """Databases that Restores replaced and that are kept for a while."""
