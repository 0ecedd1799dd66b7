"""What is observed of a database before it is dumped, and the login that a run gets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dbtether.api.names import ROLE_PREFIX, Group
from dbtether.postgres.roles.model import Dependents, Role, RoleNames
from dbtether.postgres.server.model import ServerFacts

RUN_PREFIX = f"{ROLE_PREFIX}run_"
"""Begins the name of every login that is made for one run; no DatabaseUser can have it."""
COMMENT_PREFIX = "dbtether-run:"


def run_login_name(run_id: str) -> str:
    """The login of a run."""
    return f"{RUN_PREFIX}{run_id}"


def run_comment(kind: str, namespace: str, name: str, installation: str) -> str:
    """What says whose run a login was made for; it is no marker of a DatabaseUser."""
    return f"{COMMENT_PREFIX}{kind}/{namespace}/{name}@{installation}"


@dataclass(frozen=True, slots=True)
class Hindrances:
    """What keeps a role from dumping a database; names are qualified and quoted, at most 50 of each."""

    unreadable: tuple[str, ...] = ()
    row_security: tuple[str, ...] = ()
    """Tables whose policies would hide rows from it."""
    large_objects: int = 0
    """How many it may not read."""
    count: int = 0
    """All of them together."""


@dataclass(frozen=True, slots=True)
class DumpSource:
    """A database as a dump sees it."""

    size_bytes: int
    collation_version: str | None
    """Of the database's default collation; None before PostgreSQL 15 and where the provider has none."""
    role_settings: Mapping[str, tuple[str, ...]]
    """`name=value` items that roles have in this database, by role."""
    hindrances: Mapping[Group, Hindrances]
    """By the group whose rights the dump would have: readonly and admin."""


@dataclass(frozen=True, slots=True, repr=False)
class DesiredRunLogin:
    """A login for one run: it works in one database, and expires by itself. The repr never shows the verifier."""

    name: str
    comment: str
    database: str
    roles: RoleNames
    groups: tuple[Group, ...]
    expires: datetime
    verifier: str = field(compare=False)
    inherits: bool = True
    """Whether it has its groups' rights by itself; else it may only become one of them."""

    def __repr__(self) -> str:
        return f"DesiredRunLogin({self.name!r}, database={self.database!r}, groups={self.groups})"


@dataclass(frozen=True, slots=True)
class ObservedRunLogin:
    """The server, and the login where an earlier attempt has made it already."""

    server: ServerFacts
    role: Role | None
    dependents: Dependents = field(default_factory=Dependents)
    """What it has in databases: a dump's login has nothing, a restored dump may have given it something."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """The owner and group roles of the databases where it has something."""
