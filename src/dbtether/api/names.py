"""Names that dbtether gives: group roles, Secrets, Jobs, ids, and the ownership marker. Pure.

Never asks a server whether a name is free: that is for the guards.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dbtether.api.identifiers import (
    MAX_IDENTIFIER_BYTES,
    MAX_LABEL,
    MAX_SUBDOMAIN,
    identifier_problem,
    label_problem,
    name_problem,
)
from dbtether.errors import InvalidSpec

ROLE_PREFIX = "dbtether_"
_HASH_DIGITS = 12
_MARKER_PREFIX = "dbtether:"
_INSTALLATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Group(StrEnum):
    """The four NOLOGIN roles of a database; none ends with `_` + another, so a name tells its group."""

    READONLY = "readonly"
    READWRITE = "readwrite"
    ADMIN = "admin"
    OWNER = "owner"


# 64 bits: fewer could be made to collide on purpose, and a user would come into another's group.
_GRANTS_DIGITS = 16
_GRANT_GROUP = re.compile(rf"{ROLE_PREFIX}.+_(?:readonly|readwrite)_[0-9a-f]{{{_GRANTS_DIGITS}}}", re.DOTALL)
_LOOKS_CUT = re.compile(rf"_[0-9a-f]{{{_HASH_DIGITS}}}_(?:{'|'.join(Group)})")


def check_identifier(name: str, what: str = "name") -> str:
    """The name itself.

    Raises InvalidSpec when PostgreSQL would cut, refuse or misread it.
    """
    if (problem := identifier_problem(name)) is not None:
        raise InvalidSpec(f"{what}: {name[:MAX_IDENTIFIER_BYTES]!r} {problem}")
    return name


def short_id(*parts: str, digits: int = _HASH_DIGITS) -> str:
    """Hexadecimal digits that stay the same for the same parts; parts do not run into each other."""
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(framed.encode()).hexdigest()[:digits]


def cut_bytes(text: str, size: int) -> str:
    """The longest start of the text that has at most `size` bytes of UTF-8, whole characters only."""
    return text.encode()[:size].decode(errors="ignore")


def group_role(database: str, group: Group) -> str:
    """The name of a database's group role: `dbtether_<database>_<group>`, with a hash when it is too long.

    Two pairs never share a name. An uncut name ends with its group and keeps the whole database. A cut one
    ends with `_<hash>_<group>` at 60 to 63 bytes; an uncut name of that very form gets a hash as well.
    """
    full = f"{ROLE_PREFIX}{database}_{group}"
    size = len(full.encode())
    # cut_bytes drops at most 3 bytes of a character, so every cut name has 60 bytes or more.
    looks_cut = size >= MAX_IDENTIFIER_BYTES - 3 and _has_cut_ending(full)
    if size <= MAX_IDENTIFIER_BYTES and not looks_cut:
        return full
    ending = f"_{short_id(database)}_{group}"
    return cut_bytes(f"{ROLE_PREFIX}{database}", MAX_IDENTIFIER_BYTES - len(ending)) + ending


def _has_cut_ending(name: str) -> bool:
    match = _LOOKS_CUT.search(name, max(0, len(name) - _HASH_DIGITS - len(Group.READWRITE) - 2))
    return match is not None and match.end() == len(name)


def group_roles(database: str) -> dict[Group, str]:
    """All four group roles of a database."""
    return {group: group_role(database, group) for group in Group}


def grant_group_role(database: str, group: Group, *grants: str) -> str:
    """The name of the role for additional grants: `dbtether_<database>_<group>_<hash>`.

    The hash is over the database, the group and what is granted (as many parts for each grant), so two of them
    never share a name; a long database name is cut before it.
    """
    ending = f"_{group}_{short_id(database, group, *grants, digits=_GRANTS_DIGITS)}"
    return cut_bytes(f"{ROLE_PREFIX}{database}", MAX_IDENTIFIER_BYTES - len(ending)) + ending


def is_grant_group(role: str) -> bool:
    """Whether a role has the name of one for additional grants; no user's and no other role of ours has."""
    return _GRANT_GROUP.fullmatch(role) is not None


def second_login(username: str) -> str:
    """The other login of an Overlap rotation, `<name>_b`, cut with a hash when it is too long."""
    full = f"{username}_b"
    if len(full.encode()) <= MAX_IDENTIFIER_BYTES:
        return full
    ending = f"_{short_id(username)}_b"
    return cut_bytes(username, MAX_IDENTIFIER_BYTES - len(ending)) + ending


# ---- ownership markers


@dataclass(frozen=True, slots=True, order=True)
class Marker:
    """Which resource of which installation an object belongs to; without installation: the older form."""

    namespace: str
    name: str
    installation: str | None

    def __str__(self) -> str:
        owner = f"{_MARKER_PREFIX}{self.namespace}/{self.name}"
        return owner if self.installation is None else f"{owner}@{self.installation}"

    @property
    def is_older_form(self) -> bool:
        """Whether it was written by the older operator, as `dbtether:<namespace>/<name>`."""
        return self.installation is None


def marker(namespace: str, name: str, installation: str) -> Marker:
    """The marker of a resource.

    Raises InvalidSpec when a part could not be read back.
    """
    built = Marker(namespace, name, installation)
    if parse_marker(str(built)) != built:
        raise InvalidSpec(f"{str(built)[:120]!r} is not an ownership marker: use Kubernetes names and a plain id")
    return built


def parse_marker(text: str | None) -> Marker | None:
    """The marker that the text is, whole and exact; None for anything else."""
    if text is None or not text.startswith(_MARKER_PREFIX):
        return None
    owner, at, installation = text.removeprefix(_MARKER_PREFIX).partition("@")
    namespace, slash, name = owner.partition("/")
    if not slash or label_problem(namespace) is not None or name_problem(name) is not None:
        return None
    if at and _INSTALLATION.fullmatch(installation) is None:
        return None
    return Marker(namespace, name, installation if at else None)


def marker_in(comment: str | None) -> Marker | None:
    """The first line of a comment that is a marker; people's own lines are passed over."""
    lines = (comment or "").split("\n")
    return next((found for line in lines if (found := parse_marker(line.strip())) is not None), None)


def with_marker(comment: str | None, wanted: Marker) -> str:
    """The comment with exactly one line of ours, in the place of the old one or at the end."""
    kept: list[str] = []
    placed = False
    for line in (comment or "").split("\n") if comment else []:
        if parse_marker(line.strip()) is None:
            kept.append(line)
        elif not placed:
            kept.append(str(wanted))
            placed = True
    return "\n".join(kept if placed else [*kept, str(wanted)])


def without_marker(comment: str | None) -> str | None:
    """The people's own text of a comment; None when nothing is left (PostgreSQL keeps no empty comment)."""
    if not comment:
        return None
    kept = [line for line in comment.split("\n") if parse_marker(line.strip()) is None]
    return "\n".join(kept) or None


# ---- Kubernetes names


def credentials_secret_name(user: str, database: str | None = None, *, clash: tuple[str, ...] = ()) -> str:
    """The Secret of a DatabaseUser: `<user>-credentials`, or `<user>-<database>-credentials`.

    `clash` holds what tells this Secret from the one that has the plain name; it adds a hash.
    """
    stem = user if database is None else f"{user}-{database}"
    full = f"{stem}-credentials"
    if not clash and len(full) <= MAX_SUBDOMAIN:
        return full
    ending = f"-{short_id(user, database or '', *clash)}-credentials"
    return stem[: MAX_SUBDOMAIN - len(ending)].rstrip("-.") + ending


def per_database_secret_names(
    user: str, namespace: str, databases: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The Secret of each database (namespace, name) of a user that lives in `namespace`.

    The plain name goes to the user's own namespace first, then in the order of namespaces, whatever the
    order in the spec; those that come later get a hash.
    """
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for key in sorted(set(databases), key=lambda key: (key[0] != namespace, key)):
        plain = credentials_secret_name(user, key[1])
        names[key] = credentials_secret_name(user, key[1], clash=key) if plain in taken else plain
        taken.add(plain)
    return names


def child_name(*stem: str, run_id: str) -> str:
    """A name for a Job (`backup-<name>-<runId>`) or a scheduled Backup, at most 63 characters."""
    full = "-".join((*stem, run_id))
    if len(full) <= MAX_LABEL:
        return full
    ending = f"-{short_id(*stem, digits=8)}-{run_id}"
    return "-".join(stem)[: MAX_LABEL - len(ending)].rstrip("-.") + ending
