"""DBCluster: an external PostgreSQL server and who may use it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from dbtether.api.durations import Duration
from dbtether.api.fields import (
    Choice,
    Endpoint,
    EnvironmentName,
    ExtensionName,
    Identifier,
    Namespace,
    Namespaces,
    Rule,
    between,
    duration,
    listed,
    unique,
)
from dbtether.api.model import (
    ExactlyOne,
    KindStatus,
    NeedsValue,
    ShapedModel,
    ShapeRule,
    SpecModel,
    StatusModel,
    Timestamp,
)
from dbtether.api.references import (
    CaSecretRef,
    LabelSelector,
    Privileges,
    SecretRef,
    may_use,
)


class TlsMode(StrEnum):
    """libpq's sslmode, without `allow` (it starts in clear text)."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class CredentialsFromEnv(SpecModel):
    """The admin's login from environment variables."""

    username: EnvironmentName
    """Name of the variable that holds the user name."""
    password: EnvironmentName
    """Name of the variable that holds the password."""


_TLS_ON: tuple[str | None, ...] = (None, "prefer", "require", "verify-ca", "verify-full")


class Tls(ShapedModel):
    """How connections to the server are protected."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (
        NeedsValue("caSecretRef", "mode", _TLS_ON, "caSecretRef has no use with mode disable; remove one"),
        NeedsValue(
            "clientCertSecretRef", "mode", _TLS_ON, "clientCertSecretRef has no use with mode disable; remove one"
        ),
    )

    mode: Choice[TlsMode] | None = None
    """disable, prefer, require, verify-ca or verify-full; require when left out, verify-full with a CA."""
    ca_secret_ref: CaSecretRef | None = None
    """Secret with the CA that signed the server's certificate."""
    client_cert_secret_ref: SecretRef | None = None
    """Secret with `tls.crt` and `tls.key` that the operator shows to the server."""

    @property
    def effective_mode(self) -> TlsMode:
        """The mode in force; its default depends on whether a CA is given."""
        if self.mode is not None:
            return self.mode
        return TlsMode.REQUIRE if self.ca_secret_ref is None else TlsMode.VERIFY_FULL


class Adoptable(ShapedModel):
    """One existing object that resources of one namespace may take over."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (ExactlyOne(("database", "role")),)

    database: Identifier | None = None
    """Name of an existing database."""
    role: Identifier | None = None
    """Name of an existing role."""
    namespace: Namespace
    """Namespace whose resources may adopt it."""


class MaxPrivileges(SpecModel):
    """The highest privileges that users of some namespaces may have."""

    namespaces: Annotated[Namespaces, listed(256, 1)]
    """Namespaces it binds; `*` binds those that no other entry names."""
    privileges: Choice[Privileges]
    """readonly, readwrite or admin."""


class DBClusterSpec(ShapedModel):
    """An external PostgreSQL server."""

    rules: ClassVar[tuple[ShapeRule, ...]] = (ExactlyOne(("credentialsSecretRef", "credentialsFromEnv")),)

    endpoint: Endpoint
    """Host name, IPv4 or IPv6 address of the server; never a connection string."""
    port: Annotated[int, between(1, 65535)] = 5432
    """TCP port of the server."""
    database: Identifier = "postgres"
    """Maintenance database that the operator connects to."""
    credentials_secret_ref: SecretRef | None = None
    """Secret with `username` and `password` of the admin; a change is picked up at once."""
    credentials_from_env: CredentialsFromEnv | None = None
    """Names of environment variables with the admin's login, instead of a Secret."""
    tls: Tls = Tls()
    """How connections are protected."""
    max_connections: Annotated[int, between(1, 1000)] = 10
    """Upper bound of connections to the server over all its databases, Jobs counted."""
    check_interval: Annotated[Duration, duration("5s", "24h")] = Duration("30s")
    """Time between two health checks."""
    adoptable: Annotated[tuple[Adoptable, ...], listed(256)] = ()
    """Existing databases and roles that a namespace may adopt."""
    allowed_extensions: Annotated[tuple[ExtensionName, ...], listed(128), Rule(unique)] = ()
    """Extensions beyond the trusted ones that Databases may ask for; they run with the admin's power."""
    allowed_namespaces: Namespaces | None = None
    """Namespaces that may use the server; all when this and namespaceSelector are left out."""
    namespace_selector: LabelSelector | None = None
    """Labels of namespaces that may use the server, beside allowedNamespaces."""
    max_privileges: Annotated[tuple[MaxPrivileges, ...], listed(64)] = ()
    """How far users of some namespaces may go; no limit when nothing binds them."""

    def allows(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether resources of a namespace (with its labels) may use the server."""
        return may_use(namespace, labels, self.allowed_namespaces, self.namespace_selector)

    def privileges_limit(self, namespace: str) -> Privileges | None:
        """The highest privileges for users of a namespace: the lowest entry that names it, else that of `*`."""
        for wanted in (namespace, "*"):
            limits = [entry.privileges for entry in self.max_privileges if wanted in entry.namespaces]
            if limits:
                return min(limits, key=lambda limit: limit.rank)
        return None

    def may_adopt(self, namespace: str, *, database: str | None = None, role: str | None = None) -> bool:
        """Whether `adoptable` lets a namespace take over this database or role."""
        return any(
            entry.namespace == namespace
            and ((database is not None and entry.database == database) or (role is not None and entry.role == role))
            for entry in self.adoptable
        )


class DBClusterPhase(StrEnum):
    """The state of a DBCluster in one word."""

    PENDING = "Pending"
    CONNECTED = "Connected"
    FAILED = "Failed"


class Severity(StrEnum):
    """How much a missing privilege matters."""

    REQUIRED = "Required"
    ADVICE = "Advice"


class MissingPrivilege(StatusModel):
    """Something the admin login lacks, or the server leaves open."""

    privilege: str
    """What is missing, such as CREATEROLE."""
    severity: Severity
    """Required: work is Blocked without it. Advice: everything works, but less well guarded."""
    purpose: str
    """What it is for."""
    statement: str
    """The exact statement that a DBA must run."""


class DBClusterStatus(KindStatus):
    """What is known of the server."""

    phase: DBClusterPhase = DBClusterPhase.PENDING
    """Pending, Connected or Failed."""
    postgres_version: str | None = None
    """Version of the server, such as 15.4."""
    last_check_time: Timestamp | None = None
    """When the state last changed or the spec was last checked; metrics carry the live value."""
    superuser: bool | None = None
    """Whether the admin login is a superuser."""
    missing_privileges: tuple[MissingPrivilege, ...] = ()
    """What the admin login lacks and the server leaves open, each with the statement for a DBA; the first 50."""
    missing_privileges_count: int | None = None
    """How many there are."""
    server_identity: str | None = None
    """System identifier of the server that the endpoint led to first."""
