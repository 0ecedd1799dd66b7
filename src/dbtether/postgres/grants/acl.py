"""Access control lists as facts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PUBLIC = ""
"""The grantee PUBLIC in an access control list."""


@dataclass(frozen=True, slots=True)
class AclItem:
    """One privilege of one grantee; `grantee` is PUBLIC (empty) or a role's name."""

    grantee: str
    privilege: str
    grantable: bool
    grantor: str


Acl = tuple[AclItem, ...]


def acl_from_json(items: Iterable[Iterable[Any]] | None) -> Acl:
    """The access control list out of `[[grantee, privilege, grantable, grantor], ...]`, sorted."""
    found = (AclItem(*item) for item in items or ())
    return tuple(sorted(found, key=lambda item: (item.grantee, item.privilege, item.grantor)))
