"""Roles as observed in the catalog, and logins as desired."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Self

from dbtether.api.names import Group, Marker, group_roles
from dbtether.postgres.grants.acl import Acl
from dbtether.postgres.server.model import ServerFacts


@dataclass(frozen=True, slots=True)
class RoleNames:
    """The names of a database's own roles; `groups` has no owner in it."""

    owner: str
    groups: Mapping[Group, str]

    @property
    def all(self) -> tuple[str, ...]:
        """Owner first, then the groups."""
        return (self.owner, *self.groups.values())


@lru_cache(maxsize=4096)
def role_names(database: str) -> RoleNames:
    """The names of the owner and group roles of a database."""
    names = group_roles(database)
    return RoleNames(names.pop(Group.OWNER), names)


@dataclass(frozen=True, slots=True)
class Membership:
    """One row of pg_auth_members: `member` is in `role`.

    Before PostgreSQL 16 there is one row a pair, INHERIT is the member's own attribute and SET always true.
    """

    role: str
    member: str
    grantor: str
    admin_option: bool
    inherit_option: bool
    set_option: bool


@dataclass(frozen=True, slots=True)
class DatabasePrivileges:
    """What a login was granted on a database by itself, not through a group."""

    database: str
    owner: str
    acl: Acl


@dataclass(frozen=True, slots=True, repr=False)
class Role:
    """A role as the catalog has it. The repr never shows the verifier."""

    name: str
    oid: int
    can_login: bool
    inherits: bool
    is_superuser: bool
    can_create_roles: bool
    can_create_databases: bool
    can_replicate: bool
    bypasses_rls: bool
    connection_limit: int
    valid_until: datetime | None
    comment: str | None
    verifier: str | None = field(compare=False)
    """What pg_authid stores of the password; None when the admin may not read it, or there is none."""
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`name=value` items by database; "" holds those for all databases."""
    memberships: tuple[Membership, ...] = ()
    """The roles this one is in."""
    members: tuple[Membership, ...] = ()
    """The roles that are in this one."""
    granted: tuple[Membership, ...] = ()
    """The memberships that this role granted to others."""
    on_databases: tuple[DatabasePrivileges, ...] = ()
    """Of a login only."""
    has_stray_sessions: bool = False
    """Whether sessions are open in databases that it may not enter (any more)."""

    def __repr__(self) -> str:
        return f"Role({self.name!r}, login={self.can_login}, comment={self.comment!r})"


@dataclass(frozen=True, slots=True)
class Access:
    """A login's privileges in one database."""

    database: str
    group: Group
    grant_group: str | None = None
    """The role for the login's additional grants, which is in the group itself."""

    @property
    def role(self) -> str:
        """The role that the login is a member of, and works as where it works as a group."""
        return self.grant_group or role_names(self.database).groups[self.group]


@dataclass(frozen=True, slots=True, repr=False)
class DesiredLogin:
    """A DatabaseUser's role as it should be.

    `verifier` is the SCRAM verifier to set, None when the password on the server is right already.
    The first database's owner role creates the login.
    """

    name: str
    marker: Marker
    access: tuple[Access, ...]
    verifier: str | None = field(default=None, compare=False)
    connection_limit: int = -1
    valid_until: datetime | None = None
    settings: tuple[tuple[str, str], ...] = ()
    previous_settings: frozenset[str] = frozenset()
    """Settings this resource set before: only these are reset when they are wanted no more."""
    adopts: bool = False
    """Whether a role that exists without this marker is to be taken over."""

    def __repr__(self) -> str:
        password = "to be set" if self.verifier else "unchanged"
        return f"DesiredLogin({self.name!r}, access={self.access}, password {password})"


@dataclass(frozen=True, slots=True)
class Dependents:
    """What holds a role back from being dropped, by database; "" stands for objects all databases share."""

    owned: Mapping[str, int] = field(default_factory=dict)
    granted: Mapping[str, int] = field(default_factory=dict)
    owned_databases: tuple[str, ...] = ()
    sessions: int = 0

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases in which the role owns objects or has privileges, sorted."""
        return tuple(sorted({name for name in (*self.owned, *self.granted) if name}))


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a role that is to be adopted has, and whom it can act as."""

    dependents: Dependents
    roles: tuple[str, ...] = ()
    """The roles that it is in, directly or through others, sorted."""
    powerful: tuple[str, ...] = ()
    """Those of them that have power over the whole server, sorted."""

    def without(self, databases: Collection[str]) -> Self:
        """What is left of it once these databases, with what it owns in them, have gone to another owner."""
        found = self.dependents
        left = replace(
            found,
            owned={name: count for name, count in found.owned.items() if name not in databases},
            owned_databases=tuple(name for name in found.owned_databases if name not in databases),
        )
        return replace(self, dependents=left)


@dataclass(frozen=True, slots=True)
class ObservedLogin:
    """Everything a plan for one login looks at."""

    server: ServerFacts
    role: Role | None
    """None when there is no such role."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """The owner and group roles of its databases that exist."""
    database_acls: Mapping[str, Acl] = field(default_factory=dict)
    """The privileges on each of its databases that exists."""
    database_owners: Mapping[str, str] = field(default_factory=dict)
    belongings: Belongings | None = None
    """Only while the role is being adopted."""
