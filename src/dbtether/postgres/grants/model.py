"""Objects with privileges as observed, and the privileges each group should have."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dbtether.api.names import Group
from dbtether.postgres.grants.acl import Acl


class ObjectKind(StrEnum):
    """The kinds of objects whose privileges are managed."""

    DATABASE = "DATABASE"
    SCHEMA = "SCHEMA"
    TABLE = "TABLE"
    SEQUENCE = "SEQUENCE"
    LARGE_OBJECT = "LARGE OBJECT"


_TABLE_ALL = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"})

_DATABASE: Mapping[Group, frozenset[str]] = {
    Group.READONLY: frozenset({"CONNECT", "TEMPORARY"}),
    Group.READWRITE: frozenset({"CONNECT", "TEMPORARY"}),
    Group.ADMIN: frozenset({"CONNECT", "TEMPORARY", "CREATE"}),
}
_SCHEMA: Mapping[Group, frozenset[str]] = {
    Group.READONLY: frozenset({"USAGE"}),
    Group.READWRITE: frozenset({"USAGE"}),
    Group.ADMIN: frozenset({"USAGE", "CREATE"}),
}
_TABLE: Mapping[Group, frozenset[str]] = {
    Group.READONLY: frozenset({"SELECT"}),
    Group.READWRITE: frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
    Group.ADMIN: _TABLE_ALL,
}
_SEQUENCE: Mapping[Group, frozenset[str]] = {
    Group.READONLY: frozenset({"SELECT"}),
    Group.READWRITE: frozenset({"SELECT", "USAGE", "UPDATE"}),
    Group.ADMIN: frozenset({"SELECT", "USAGE", "UPDATE"}),
}
_LARGE_OBJECT: Mapping[Group, frozenset[str]] = {
    Group.READONLY: frozenset({"SELECT"}),
    Group.READWRITE: frozenset({"SELECT", "UPDATE"}),
    Group.ADMIN: frozenset({"SELECT", "UPDATE"}),
}
_BY_KIND = {
    ObjectKind.DATABASE: _DATABASE,
    ObjectKind.SCHEMA: _SCHEMA,
    ObjectKind.TABLE: _TABLE,
    ObjectKind.SEQUENCE: _SEQUENCE,
    ObjectKind.LARGE_OBJECT: _LARGE_OBJECT,
}


def group_privileges(kind: ObjectKind, group: Group, major: int) -> frozenset[str]:
    """The privileges a group has on objects of this kind; MAINTAIN exists from PostgreSQL 17 on.

    Functions and types stay as PostgreSQL has them (PUBLIC may use them, and only members can connect), so
    that an application's `REVOKE EXECUTE ... FROM PUBLIC` holds for the groups as well.
    """
    privileges = _BY_KIND[kind][group]
    if kind is ObjectKind.TABLE and group is Group.ADMIN and major >= 17:
        return privileges | {"MAINTAIN"}
    return privileges


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that is neither PostgreSQL's own nor an extension's."""

    name: str
    owner: str
    acl: Acl


@dataclass(frozen=True, slots=True)
class RelationGroup:
    """Relations of one schema that share kind, owner and access control list; extension members aside."""

    schema: str
    kind: ObjectKind
    owner: str
    acl: Acl
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DefaultAcl:
    """Default privileges of a creator for objects in one schema, or in all of them."""

    creator: str
    kind: ObjectKind
    acl: Acl
    schema: str | None = None
    """None for all schemas."""
