"""DatabaseUser: a login, its privileges in one or several databases, and its Secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dbtether.api import identifiers as ids
from dbtether.api.database import DatabasePhase
from dbtether.api.field_paths import Path
from dbtether.api.fields import (
    AnnotationValue,
    Choice,
    ConnectionLimit,
    Identifier,
    Instant,
    LabelValue,
    Name,
    QualifiedName,
    Rule,
    SchemaName,
    SecretKey,
    Username,
    between,
    listed,
    unique,
)
from dbtether.api.model import (
    ExactlyOne,
    KindStatus,
    Needs,
    ShapedModel,
    ShapeRule,
    SpecModel,
    StatusModel,
    Timestamp,
)
from dbtether.api.names import credentials_secret_name, per_database_secret_names
from dbtether.api.references import DatabaseRef, DeletionPolicy, Privileges
from dbtether.api.secret_keys import EXTENDED_KEYS, OnConflict, SecretTemplate
from dbtether.api.server_settings import UserSettings


class DatabaseAccess(DatabaseRef):
    """A Database and how far the user may go in it."""

    privileges: Choice[Privileges] | None = None
    """readonly, readwrite or admin; the user's top-level value when left out, else readonly."""

    @property
    def label(self) -> str:
        """What tells it from the others of its list."""
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"


class TablePrivilege(StrEnum):
    """What may be granted on a table (GRANT, PostgreSQL's documentation); MAINTAIN on 17+."""

    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    TRUNCATE = "TRUNCATE"
    REFERENCES = "REFERENCES"
    TRIGGER = "TRIGGER"
    MAINTAIN = "MAINTAIN"


def _star_alone(tables: tuple[str, ...]) -> str | None:
    if "*" in tables and len(tables) > 1:
        return "has * beside other names; * alone means all tables, future ones too"
    return unique(tables)


class AdditionalGrant(SpecModel):
    """Privileges on tables beyond the level of `privileges`."""

    schema_: Annotated[SchemaName, Field(alias="schema")] = "public"
    """Schema of the tables."""
    tables: Annotated[tuple[Identifier, ...], listed(256, 1), Rule(_star_alone)]
    """Names of tables; `*` alone means all, future ones too."""
    privileges: Annotated[tuple[Choice[TablePrivilege], ...], listed(8, 1), Rule(unique)]
    """SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER or MAINTAIN."""


class Password(SpecModel):
    """How the password is generated."""

    length: Annotated[int, between(12, 64)] = 16
    """Number of characters."""


class PasswordSecretRef(SpecModel):
    """A Secret of the user's own namespace that holds the password."""

    name: Name
    """Name of the Secret."""
    key: SecretKey = "password"
    """Key of the password in the Secret."""


class RotationStrategy(StrEnum):
    """How a password is replaced."""

    IN_PLACE = "InPlace"
    OVERLAP = "Overlap"


class Rotation(SpecModel):
    """When and how the password is replaced."""

    days: Annotated[int, between(1, 365)]
    """Age of the password, in days, at which it is replaced."""
    strategy: Choice[RotationStrategy] = RotationStrategy.IN_PLACE
    """InPlace changes the one login; Overlap lets two logins take turns, so the old one works for a while."""


def _distinct_keys(value: "SecretKeys") -> str | None:
    keys = tuple(value.by_field.values())
    if (problem := unique(keys)) is not None:
        return problem
    taken = [key for key in keys if key in EXTENDED_KEYS]
    return f"uses {taken[0]}, which `extended` fills" if taken else None


class SecretKeys(SpecModel):
    """The keys of a Secret with template `custom`."""

    host: SecretKey
    """Key of the server's host."""
    port: SecretKey
    """Key of the server's port."""
    database: SecretKey
    """Key of the database's name in PostgreSQL."""
    user: SecretKey
    """Key of the login's name."""
    password: SecretKey
    """Key of the password."""

    @property
    def by_field(self) -> dict[str, str]:
        """The key of each of the five values."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "password": self.password,
        }


@dataclass(frozen=True, slots=True)
class _KeysOfCustom:
    """`keys` and the template `custom` come together."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        custom, keys = fields.get("template") == "custom", fields.get("keys") is not None
        if custom == keys:
            return None
        if custom:
            return "template custom needs keys: the names for host, port, database, user and password"
        return "keys needs template: custom"

    @property
    def cel(self) -> str:
        return "has(self.keys) == (has(self.template) && self.template == 'custom')"


class SecretSpec(ShapedModel):
    """The Secret that the login's credentials are written to."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (_KeysOfCustom(),)

    name: Name | None = None
    """Name of the Secret; `<user>-credentials` when left out."""
    template: Choice[SecretTemplate] = SecretTemplate.RAW
    """raw, DB, DATABASE, POSTGRES or custom: how the keys are named."""
    keys: Annotated[SecretKeys, Rule(_distinct_keys)] | None = None
    """Names of the keys with template custom."""
    on_conflict: Choice[OnConflict] = OnConflict.FAIL
    """What is done about a Secret that exists and is not ours: Fail, Adopt or Merge."""
    labels: Annotated[dict[QualifiedName, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Labels of the Secret."""
    annotations: Annotated[dict[QualifiedName, AnnotationValue], Field(max_length=64)] = Field(default_factory=dict)
    """Annotations of the Secret."""
    extended: bool = False
    """Adds `uri`, `jdbcUri`, `sslmode` and `ca.crt`."""


class SecretGeneration(StrEnum):
    """How many Secrets a user of several databases gets."""

    PRIMARY = "primary"
    PER_DATABASE = "perDatabase"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One database that a user may enter: the Database resource and the privileges in it."""

    namespace: str
    name: str
    privileges: Privileges


@dataclass(frozen=True, slots=True)
class _OneSecretName:
    """A given Secret name can only name one Secret."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        secret = fields.get("secret")
        if fields.get("secretGeneration") != "perDatabase" or not isinstance(secret, Mapping):
            return None
        if secret.get("name") is None:
            return None
        return "secret.name names one Secret; with secretGeneration perDatabase the names are given by dbtether"

    @property
    def cel(self) -> str:
        return (
            "!has(self.secretGeneration) || self.secretGeneration != 'perDatabase' || "
            "!has(self.secret) || !has(self.secret.name)"
        )


def _unique_access(values: tuple[DatabaseAccess, ...]) -> str | None:
    return unique(tuple(value.label for value in values))


class DatabaseUserSpec(ShapedModel):
    """A login with privileges in one or several databases of one DBCluster."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (
        ExactlyOne(("databaseRef", "database", "databases")),
        Needs("databaseRef", "privileges", "say readonly, readwrite or admin"),
        ExactlyOne(("password", "passwordSecretRef"), optional=True),
        ExactlyOne(("rotation", "passwordSecretRef"), optional=True),
        _OneSecretName(),
    )

    database_ref: DatabaseRef | None = None
    """The Database that the user may enter. Cannot be changed."""
    database: DatabaseAccess | None = None
    """The Database that the user may enter, with its privileges."""
    databases: Annotated[tuple[DatabaseAccess, ...], listed(100, 1), Rule(_unique_access)] | None = None
    """Databases of one DBCluster that the user may enter, each with its privileges."""
    privileges: Choice[Privileges] | None = None
    """readonly, readwrite or admin."""
    additional_grants: Annotated[tuple[AdditionalGrant, ...], listed(64)] = ()
    """Privileges on tables beyond that level, in every database of the user."""
    username: Username | None = None
    """Name of the login in PostgreSQL; metadata.name as it is when left out. Cannot be changed."""
    password: Password | None = None
    """How the password is generated."""
    password_secret_ref: PasswordSecretRef | None = None
    """A Secret with a password of your own, instead of a generated one."""
    rotation: Rotation | None = None
    """When and how the password is replaced; never when left out."""
    connection_limit: ConnectionLimit = -1
    """How many sessions the login may have at once; -1 is no limit."""
    settings: UserSettings = Field(default_factory=dict)
    """Settings of every session of the login, from a closed list."""
    valid_until: Instant | None = None
    """Time after which the password is refused, such as 2030-01-31T12:00:00Z."""
    adopt: bool = False
    """Takes over a role that exists already and sets a new password; needs the DBCluster's adoptable."""
    deletion_policy: Choice[DeletionPolicy] = DeletionPolicy.DELETE
    """Delete hands over what the role owns and drops it; Retain keeps role and Secret."""
    secret: SecretSpec = SecretSpec()
    """The Secret that the credentials are written to."""
    secret_generation: Choice[SecretGeneration] = SecretGeneration.PRIMARY
    """primary is one Secret, perDatabase one for each database."""

    def targets(self, namespace: str) -> tuple[Target, ...]:
        """The databases of a user that lives in `namespace`, in the spec's order, defaults filled in."""
        fallback = self.privileges or Privileges.READONLY
        if self.database_ref is not None:
            ref = self.database_ref
            return (Target(ref.namespace or namespace, ref.name, fallback),)
        listed_ = (self.database,) if self.database is not None else self.databases or ()
        return tuple(
            Target(entry.namespace or namespace, entry.name, entry.privileges or fallback) for entry in listed_
        )

    @property
    def password_length(self) -> int:
        """The length of a generated password."""
        return (self.password or Password()).length

    def context_problems(self, namespace: str, name: str) -> tuple[tuple[Path, str], ...]:
        """A metadata.name that gives no user name; a database listed with and without its namespace."""
        found: list[tuple[Path, str]] = []
        if self.username is None and (problem := ids.username_problem(name)) is not None:
            found.append((("metadata", "name"), f"as the login's name, {name[:80]!r} {problem} (set spec.username)"))
        seen: set[tuple[str, str]] = set()
        for index, target in enumerate(self.targets(namespace)):
            if (target.namespace, target.name) in seen:
                path: Path = ("spec", "databases", index)
                found.append((path, f"lists {target.namespace}/{target.name} twice"))
            seen.add((target.namespace, target.name))
        return tuple(found)


def username(spec: DatabaseUserSpec, metadata_name: str) -> str:
    """The login's name in PostgreSQL: as given, else metadata.name as it is; never written back."""
    return spec.username or metadata_name


def older_username(spec: DatabaseUserSpec, metadata_name: str) -> str:
    """The name that the older operator gave by default, with `-` as `_`; kept when a role is marked for us."""
    return spec.username or metadata_name.replace("-", "_")


def secret_names(spec: DatabaseUserSpec, namespace: str, metadata_name: str) -> dict[tuple[str, str], str]:
    """The Secret of each target (namespace, name); with `primary` it is the same one for all."""
    keys = [(target.namespace, target.name) for target in spec.targets(namespace)]
    if spec.secret_generation is SecretGeneration.PER_DATABASE:
        return per_database_secret_names(metadata_name, namespace, keys)
    name = spec.secret.name or credentials_secret_name(metadata_name)
    return dict.fromkeys(keys, name)


def databases_summary(names: tuple[str, ...]) -> str:
    """The DATABASE column: the first resource name and how many more, `db1 (+2)`."""
    if not names:
        return ""
    return names[0] if len(names) == 1 else f"{names[0]} (+{len(names) - 1})"


def privileges_summary(targets: tuple[Target, ...]) -> str:
    """The PRIVILEGES column: the level, or `mixed` when it differs between databases."""
    levels = {target.privileges for target in targets}
    return "mixed" if len(levels) > 1 else next(iter(levels), "")


class UserDatabaseStatus(StatusModel):
    """The user in one database."""

    name: str
    """Name of the Database resource."""
    namespace: str
    """Namespace of the Database resource."""
    database_name: str | None = None
    """Name of the database in PostgreSQL."""
    phase: DatabasePhase = DatabasePhase.PENDING
    """State of the user in this database."""
    privileges: Privileges | None = None
    """Level in force."""
    grant_role: str | None = None
    """Role that carries the additionalGrants; shared by the users that ask for the same."""
    secret_name: str | None = None
    """Secret with the credentials for this database."""
    message: str | None = None
    """What to do next."""


class PendingRotation(StatusModel):
    """A new password that the Secret is about to show."""

    fingerprint: str
    """Fingerprint of the new password."""
    login: str
    """The login that has it."""
    request: str | None = None
    """Value of the annotation dbtether.io/rotate that asked for it."""


class DatabaseUserStatus(KindStatus):
    """The login as it is on the server."""

    phase: DatabasePhase = DatabasePhase.PENDING
    """Pending, Waiting, Creating, Ready, Failed or Deleting."""
    cluster_name: str | None = None
    """DBCluster of the login."""
    username: str | None = None
    """Name of the login in PostgreSQL."""
    databases: tuple[UserDatabaseStatus, ...] = ()
    """The user in each database; the first 50."""
    databases_count: int | None = None
    """How many there are."""
    databases_summary: str | None = None
    """The databases in short, `db1 (+2)`."""
    privileges_summary: str | None = None
    """The privileges in short; `mixed` when they differ."""
    secret_name: str | None = None
    """Secret with the credentials (the first one with perDatabase)."""
    more_secrets: tuple[str, ...] = ()
    """The Secrets of the databases beyond those listed (with perDatabase)."""
    drift: tuple[str, ...] = ()
    """What was changed by hand, one sentence each; the first 50."""
    drift_count: int | None = None
    """How many there are."""
    applied_settings: tuple[str, ...] = ()
    """Names of the settings that were set: those that leave the spec are reset."""
    applied_generation: int | None = None
    """The generation of the spec that was applied last: what differs from it later is drift."""
    adopted: bool | None = None
    """Whether spec.adopt was carried out."""
    brought_along: tuple[str, ...] = ()
    """What an adopted login had when it was taken over and keeps, one sentence each; the first 50."""
    password_updated_at: Timestamp | None = None
    """When the password changed last."""
    password_fingerprint: str | None = None
    """Keyed hash that tells when the Secret was edited; says nothing about the password."""
    next_rotation: Timestamp | None = None
    """When the password is replaced next."""
    rotation_request: str | None = None
    """Value of the annotation dbtether.io/rotate that was dealt with last."""
    pending_rotation: PendingRotation | None = None
    """A rotation under way."""
    active_login: str | None = None
    """With two logins, the one that the Secret names."""
    second_login: str | None = None
    """The other login of the rotation strategy Overlap, as long as it exists or may be made."""
    second_login_until: Timestamp | None = None
    """When a second login that the spec wants no longer goes out of the Secret, then off the server."""
    login_verified: bool | None = None
    """Whether a login with the Secret's content worked."""
