"""Databases as observed in the catalogs, and as desired."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from dbtether.api.names import Marker
from dbtether.postgres.grants.acl import Acl, AclItem
from dbtether.postgres.grants.groups import GrantGroup
from dbtether.postgres.grants.model import DefaultAcl, RelationGroup, Schema
from dbtether.postgres.roles.model import Dependents, Role, RoleNames
from dbtether.postgres.server.model import ServerFacts


@dataclass(frozen=True, slots=True)
class Database:
    """A row of pg_database; `comment` and `settings` beside it."""

    name: str
    oid: int
    owner: str
    encoding: str
    lc_collate: str
    lc_ctype: str
    locale_provider: str
    """`libc`, `icu` or `builtin`."""
    icu_locale: str | None
    is_template: bool
    allows_connections: bool
    connection_limit: int
    """-2 marks a database whose DROP was interrupted: only another DROP works on it."""
    acl: Acl
    comment: str | None
    settings: tuple[str, ...] = ()
    admin_can_connect: bool = True
    """Whether the admin has CONNECT, by itself or by a role whose rights it has."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An installed extension."""

    name: str
    version: str
    schema: str
    owner: str


@dataclass(frozen=True, slots=True)
class AvailableExtension:
    """An extension that the server could install."""

    name: str
    default_version: str
    trusted: bool
    schema: str | None = None
    """The only schema it can be installed in, where it has one."""
    requires: tuple[str, ...] = ()
    """The extensions that must be installed before it."""
    versions: tuple[str, ...] = ()
    """Every version it can be installed in."""


@dataclass(frozen=True, slots=True)
class OwnedObject:
    """Something in a database that changes hands by itself: what belongs to a table or an extension does not."""

    kind: str
    """SCHEMA, TABLE (and what ALTER TABLE takes), TYPE, ROUTINE or LARGE OBJECT."""
    schema: str
    name: str
    arguments: tuple[tuple[str, str], ...] = ()
    """Schema and name of a routine's argument types."""

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.kind.lower()} {self.schema}{'.' if self.schema else ''}{self.name}"

    def as_sql(self) -> sql.Composable:
        """Its name in an ALTER."""
        if self.kind == "LARGE OBJECT":
            return sql.Literal(int(self.name))
        name = sql.Identifier(*((self.schema, self.name) if self.schema else (self.name,)))
        if self.kind != "ROUTINE":
            return name
        types = sql.SQL(", ").join(sql.Identifier(*argument) for argument in self.arguments)
        return sql.SQL("{}({})").format(name, types)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a connection to the database shows."""

    schemas: tuple[Schema, ...] = ()
    relations: tuple[RelationGroup, ...] = ()
    default_acls: tuple[DefaultAcl, ...] = ()
    extensions: tuple[Extension, ...] = ()
    available: tuple[AvailableExtension, ...] = ()
    """Those of the wanted extensions that are not installed but could be."""
    owned: tuple[OwnedObject, ...] = ()
    """What the database's owner has in it, when the database is to be another's."""


@dataclass(frozen=True, slots=True)
class DesiredExtension:
    """An extension to be installed; without a version the server's default at installation."""

    name: str
    version: str | None = None
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class DesiredSchema:
    """A schema to be there; owned by the admins' group unless told otherwise."""

    name: str
    owner: str | None = None
    """A role of the database, or one that may own something in it; the admins' group until it is there."""


@dataclass(frozen=True, slots=True)
class DesiredDatabase:
    """A Database resource's database as it should be."""

    name: str
    marker: Marker
    roles: RoleNames
    extensions: tuple[DesiredExtension, ...] = ()
    drop_extensions: bool = False
    previous_extensions: tuple[str, ...] = ()
    """Those this resource installed before: only these may ever be dropped."""
    allowed_extensions: frozenset[str] = frozenset()
    schemas: tuple[DesiredSchema, ...] = ()
    template: str = "template0"
    encoding: str | None = None
    lc_collate: str | None = None
    lc_ctype: str | None = None
    locale_provider: str | None = None
    icu_locale: str | None = None
    connection_limit: int = -1
    settings: tuple[tuple[str, str], ...] = ()
    previous_settings: frozenset[str] = frozenset()
    """Settings this resource set before: only these are reset when they are wanted no more."""
    revoke_public_connect: bool = True
    grant_groups: tuple[GrantGroup, ...] = ()
    """The roles for additional grants that admitted users ask for."""
    owner: str | None = None
    """The role that owns the database instead of the owner role of ours, which stays; allowed to."""
    known_owners: frozenset[str] = frozenset()
    """Roles that own the database, or schemas of it, by this resource's own doing."""
    adopts: bool = False
    """Whether a database and a marker of somebody else's may be taken over: everybody asked has consented."""

    @property
    def own_roles(self) -> tuple[str, ...]:
        """The names of all roles that the database shall have."""
        return (*self.roles.all, *(group.name for group in self.grant_groups))


@dataclass(frozen=True, slots=True)
class ObservedDatabase:
    """Everything a plan for one database looks at."""

    server: ServerFacts
    database: Database | None
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Those that exist of the database's own roles, grant groups too, of its owner, and of who is to own something."""
    inside: Inside | None = None
    """None when the database is not there, or cannot be connected to."""
    template: Database | None = None
    """The template that a new database is to be made from, if it exists."""
    left_over: Mapping[str, Dependents] = field(default_factory=dict)
    """What the grant groups have that nobody wants any more and that have no members, by their name."""


@dataclass(frozen=True, slots=True)
class Session:
    """Sessions of one login in a database; `user` is None for the server's own workers."""

    user: str | None
    count: int


def new_database_acl(owner: str) -> Acl:
    """The privileges of a database right after CREATE DATABASE (PostgreSQL documentation, section 5.8)."""
    everything = ("CONNECT", "CREATE", "TEMPORARY")
    return (
        *(AclItem("", privilege, False, owner) for privilege in ("CONNECT", "TEMPORARY")),
        *(AclItem(owner, privilege, False, owner) for privilege in everything),
    )


def new_inside(server: ServerFacts, available: tuple[AvailableExtension, ...]) -> Inside:
    """What is in a database made from template0: the schema `public` and nothing else.

    Its owner is pg_database_owner since PostgreSQL 15, and PUBLIC may not create in it any more.
    """
    owner = "pg_database_owner" if server.major >= 15 else "postgres"
    public = ("USAGE",) if server.major >= 15 else ("CREATE", "USAGE")
    acl = (
        *(AclItem("", privilege, False, owner) for privilege in public),
        *(AclItem(owner, privilege, False, owner) for privilege in ("CREATE", "USAGE")),
    )
    return Inside(schemas=(Schema("public", owner, acl),), available=available)
