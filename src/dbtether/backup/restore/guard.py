"""Judges each statement of a dump before any server sees it: run it, leave it out, or refuse the dump. Pure.

A dump is hostile input. What pg_dump writes may run; nothing else. What the target rules itself (owners,
extensions, privileges of others) is left out and told. Two further walls do not depend on this one: each
statement is sent alone, so that none can hide another, and the login that sends it has the rights of the
database's own admins and no more.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dbtether.backup.restore.model import Rules
from dbtether.backup.restore.privileges import left_out_privilege
from dbtether.backup.restore.settings import judge_setting
from dbtether.backup.restore.words import first_words, shown, tokens, unquoted
from dbtether.errors import DbtetherError

_OURS = re.compile(r"restrict [A-Za-z0-9]+|unrestrict [A-Za-z0-9]+")
_SETVAL = re.compile(rb"SELECT\s+pg_catalog\.setval\(\s*''\s*,\s*-?[0-9]+\s*,\s*(?:true|false)\s*\)", re.IGNORECASE)
_SEARCH_PATH = re.compile(rb"SELECT\s+pg_catalog\.set_config\(\s*'search_path'\s*,\s*'[^'\\]*'\s*,\s*false\s*\)")
_LO_CREATE = re.compile(rb"SELECT\s+pg_catalog\.lo_create\(\s*(?:''|[0-9]+)\s*\)", re.IGNORECASE)
_LO_CONTENT = re.compile(
    rb"SELECT\s+pg_catalog\.(?:lo_open\(\s*(?:''|[0-9]+)\s*,\s*[0-9]+\s*\)|lowrite\(\s*0\s*,\s*''\s*\)|lo_close\(\s*0\s*\))",
    re.IGNORECASE,
)
_LO_UNLINK = re.compile(
    rb"SELECT\s+pg_catalog\.lo_unlink\((?:''|[0-9]+|oid\)\s+FROM\s+pg_catalog\.pg_largeobject_metadata\s+WHERE\s+oid\s*=\s*''$)"
    rb"\s*\)?",
    re.IGNORECASE,
)
_STATISTICS = re.compile(rb"SELECT\s+\*\s+FROM\s+pg_catalog\.pg_restore_[a-z]+_stats\(", re.IGNORECASE)
_OWNER_TO = re.compile(rb'\sOWNER\s+TO\s+(?:"(?:[^"]|"")*"|[A-Za-z0-9_$\x80-\xff]+)\Z', re.IGNORECASE)
_CLEANS = re.compile(
    rb'\sDROP\s+(?:CONSTRAINT\s+(?:IF\s+EXISTS\s+)?(?:"(?:[^"]|"")*"|[A-Za-z0-9_$\x80-\xff]+)|DEFAULT)\Z', re.IGNORECASE
)

_RELATIONS = (("TABLE",), ("UNLOGGED", "TABLE"), ("FOREIGN", "TABLE"), ("VIEW",), ("RECURSIVE", "VIEW"))
_MADE: tuple[tuple[str, ...], ...] = (
    *_RELATIONS,
    ("MATERIALIZED", "VIEW"),
    ("SEQUENCE",),
    ("UNLOGGED", "SEQUENCE"),
    ("INDEX",),
    ("UNIQUE", "INDEX"),
    ("TYPE",),
    ("DOMAIN",),
    ("FUNCTION",),
    ("PROCEDURE",),
    ("AGGREGATE",),
    ("OPERATOR",),
    ("CAST",),
    ("CONVERSION",),
    ("DEFAULT", "CONVERSION"),
    ("COLLATION",),
    ("TEXT", "SEARCH"),
    ("TRIGGER",),
    ("CONSTRAINT", "TRIGGER"),
    ("RULE",),
    ("POLICY",),
    ("STATISTICS",),
    ("PUBLICATION",),
    ("SERVER",),
    ("USER", "MAPPING"),
    ("FOREIGN", "DATA", "WRAPPER"),
    ("TRANSFORM",),
    ("LANGUAGE",),
    ("PROCEDURAL", "LANGUAGE"),
    ("TRUSTED", "LANGUAGE"),
    ("TRUSTED", "PROCEDURAL", "LANGUAGE"),
    ("ACCESS", "METHOD"),
)
_CHANGED: tuple[tuple[str, ...], ...] = (
    *_MADE,
    ("SCHEMA",),
    ("ROUTINE",),
    ("LARGE", "OBJECT"),
)
_DESCRIBED: tuple[tuple[str, ...], ...] = (*_CHANGED, ("COLUMN",), ("CONSTRAINT",))
# Only a superuser makes them, or they reach out to other servers.
_NOT_OURS = (("EVENT", "TRIGGER"), ("SUBSCRIPTION",))
_LOCKED = frozenset(
    {"TABLE", "UNLOGGED", "FOREIGN", "VIEW", "RECURSIVE", "MATERIALIZED", "SEQUENCE", "INDEX", "UNIQUE"}
)
_NO_ROLES = frozenset({"public", "current_user", "session_user", "current_role"})

_TRANSACTION = "it would end or split the restore's own transaction"
_IDENTITY = "a dump may not choose as whom it is restored"
_UNKNOWN = "pg_dump does not write such a statement"
_WHY: Mapping[str, str] = {
    **dict.fromkeys(
        ("BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PREPARE"), _TRANSACTION
    ),
    "RESET": _IDENTITY,
    "DISCARD": _IDENTITY,
    "COPY": "only COPY ... FROM stdin is restored",
    "DO": "a dump holds no code that runs at once",
    "CALL": "a dump holds no code that runs at once",
}


# What is to go has gone before: pg_dump --clean writes its own DROP.
_SIMPLE: Mapping[tuple[str, ...], str | None] = {
    ("INSERT", "INTO"): None,
    ("REFRESH", "MATERIALIZED", "VIEW"): None,
    ("DROP",): "DROP",
    ("SECURITY", "LABEL"): "SECURITY LABEL",
}


class DumpRefused(DbtetherError):
    """A dump with something in it that no restore may run; the message says what, where and why."""


@dataclass(slots=True)
class Guard:
    """Judges the statements of one dump, in their order."""

    rules: Rules
    left_out: Counter[str] = field(default_factory=Counter)
    extensions: dict[str, None] = field(default_factory=dict)
    schemas: dict[str, None] = field(default_factory=dict)
    roles: dict[str, None] = field(default_factory=dict)
    objects: int = 0
    is_in_large_object: bool = False
    """The content of a large object is written in one transaction."""
    _acts_as_other: bool = False
    _publications: set[str] = field(default_factory=set)

    def judge(self, head: bytes, text: bytes, offset: int) -> bool:
        """Whether the statement is to be run; what is left out is counted. Raises DumpRefused."""
        words = first_words(head)
        if b"\0" in text:
            raise _refused(head, offset, "it has a zero byte in it")
        try:
            label = self._label(head, text, words)
        except _Refusal as refusal:
            raise _refused(head, offset, str(refusal)) from None
        if label is None:
            return True
        self.left_out[label] += 1
        return False

    def command(self, line: bytes, offset: int) -> None:
        """One of psql's own commands: pg_dump writes two of them, which mean nothing here. Raises DumpRefused."""
        if not _OURS.fullmatch(line.decode(errors="replace")):
            raise _refused(b"\\" + line, offset, "a command of psql may run programs and read files")

    def close(self) -> None:
        """Raise DumpRefused when the dump ends within something that it began."""
        if self.is_in_large_object:
            raise DumpRefused("the dump ends within a large object")
        if self._acts_as_other:
            raise DumpRefused(f"the dump ends as another user: {_IDENTITY}")

    # -- one kind of statement after the other -----------------------------------------------------------

    def _label(self, head: bytes, text: bytes, words: tuple[str, ...]) -> str | None:
        """Under which name it is left out; None for what is to be run. Raises _Refusal."""
        first = words[0] if words else ""
        if self._acts_as_other and first not in ("GRANT", "REVOKE", "RESET"):
            raise _Refusal(_IDENTITY)
        if self.is_in_large_object and not _LO_CONTENT.fullmatch(head) and head.upper() != b"COMMIT":
            raise _Refusal("within a large object there is nothing but its content")
        match first:
            case "BEGIN" | "COMMIT":
                return self._transaction(words)
            case "SET" | "RESET":
                return self._setting(head, text, words)
            case "CREATE":
                return self._create(head, words)
            case "ALTER":
                return self._alter(head, words)
            case "COMMENT":
                return self._comment(words)
            case "SELECT":
                return self._select(head, text)
            case "GRANT" | "REVOKE":
                return "privileges of another grantor" if self._acts_as_other else self._privilege(head)
            case "COPY" if _is_from_stdin(head):
                return None
        return _simple(words)

    def _transaction(self, words: tuple[str, ...]) -> str | None:
        """pg_dump puts the content of large objects into transactions of its own; the restore has one already."""
        if len(words) > 1 or (words[0] == "COMMIT") != self.is_in_large_object:
            raise _Refusal(_TRANSACTION)
        self.is_in_large_object = words[0] == "BEGIN"
        return "BEGIN and COMMIT of large objects"

    def _setting(self, head: bytes, text: bytes, words: tuple[str, ...]) -> str | None:
        if words[1:3] == ("SESSION", "AUTHORIZATION"):
            # Around a GRANT by somebody who is not the object's owner; all of it is left out.
            begins = words[0] == "SET"
            if begins == self._acts_as_other or len(words) != (4 if begins else 3) or words[3:] == ("DEFAULT",):
                raise _Refusal(_IDENTITY)
            self._acts_as_other = begins
            return "SET SESSION AUTHORIZATION around a GRANT"
        if words[0] == "RESET" or self._acts_as_other:
            raise _Refusal(_IDENTITY)
        problem, label = judge_setting(head, text)
        if problem is not None:
            raise _Refusal(problem)
        return label

    def _create(self, head: bytes, words: tuple[str, ...]) -> str | None:
        kind = words[3:] if words[1:3] == ("OR", "REPLACE") else words[1:]
        if kind[:1] == ("EXTENSION",):
            self.extensions.setdefault(_name_after(kind, "EXTENSION"))
            return "CREATE EXTENSION"
        if _begins(kind, _NOT_OURS):
            return " ".join(kind[: 2 if kind[0] == "EVENT" else 1])
        if kind[:1] == ("SCHEMA",):
            return self._create_schema(kind)
        if not _begins(kind, _MADE):
            raise _Refusal(_UNKNOWN)
        if kind[:1] == ("PUBLICATION",) and kind[2:4] in (("FOR", "ALL"), ("FOR", "TABLES")):
            self._publications.add(_name(kind, 1))
            return "PUBLICATION of all tables"
        if kind[:1] == ("POLICY",):
            self.roles.update(dict.fromkeys(_policy_roles(head)))
        if kind[:3] == ("USER", "MAPPING", "FOR") and (role := _name(kind, 3)) not in _NO_ROLES:
            self.roles.setdefault(role)
        self.objects += kind[0] in _LOCKED
        return None

    def _create_schema(self, kind: tuple[str, ...]) -> str | None:
        name = _name_after(kind, "SCHEMA")
        if len(kind) != (5 if kind[1:2] == ("IF",) else 2):
            raise _Refusal(_UNKNOWN)
        if name in self.rules.existing_schemas:
            return "CREATE SCHEMA of one that exists"
        self.schemas.setdefault(name)
        return None

    def _alter(self, head: bytes, words: tuple[str, ...]) -> str | None:
        kind = words[1:]
        if kind[:2] == ("DEFAULT", "PRIVILEGES"):
            return "ALTER DEFAULT PRIVILEGES"
        if _begins(kind, _NOT_OURS):
            return " ".join(kind[: 2 if kind[0] == "EVENT" else 1])
        if not _begins(kind, _CHANGED):
            raise _Refusal(_UNKNOWN)
        if _OWNER_TO.search(head):
            return "ALTER ... OWNER TO"
        if kind[0] == "TABLE" and _CLEANS.search(head):
            return "DROP"
        if kind[0] == "PUBLICATION" and (
            _name(kind, 1) in self._publications or kind[2:4] in (("ADD", "TABLES"), ("ADD", "ALL"))
        ):
            return "PUBLICATION of all tables"
        return None

    def _comment(self, words: tuple[str, ...]) -> str | None:
        kind = words[2:]
        if words[1:2] != ("ON",):
            raise _Refusal(_UNKNOWN)
        if kind[:1] in (("EXTENSION",), ("DATABASE",)):
            return f"COMMENT ON {kind[0]}"
        if _begins(kind, _NOT_OURS):
            return " ".join(kind[: 2 if kind[0] == "EVENT" else 1])
        if kind[:1] == ("SCHEMA",) and _name(kind, 1) in self.rules.existing_schemas:
            return "COMMENT ON SCHEMA of one that exists"
        if kind[:1] == ("PUBLICATION",) and _name(kind, 1) in self._publications:
            return "PUBLICATION of all tables"
        if not _begins(kind, _DESCRIBED):
            raise _Refusal(_UNKNOWN)
        return None

    def _select(self, head: bytes, text: bytes) -> str | None:
        if _SETVAL.fullmatch(head) or _LO_CREATE.fullmatch(head) or _SEARCH_PATH.fullmatch(text):
            return None
        if self.is_in_large_object and _LO_CONTENT.fullmatch(head):
            return None
        if _LO_UNLINK.fullmatch(head):
            return "DROP"
        if _STATISTICS.match(head):
            return "statistics"
        raise _Refusal(_UNKNOWN)

    def _privilege(self, head: bytes) -> str | None:
        problem, label = left_out_privilege(tokens(head), self.rules)
        if problem is not None:
            raise _Refusal(problem)
        return label


class _Refusal(Exception):
    """Why a statement is refused."""


def _is_from_stdin(head: bytes) -> bool:
    found = tokens(head)
    return [word.upper() for word in found[-2:]] == ["FROM", "STDIN"] and found[1] != "("


def _simple(words: tuple[str, ...]) -> str | None:
    """Under which name one of the statements that need no closer look is left out. Raises _Refusal."""
    for beginning, label in _SIMPLE.items():
        if words[: len(beginning)] == beginning:
            return label
    raise _Refusal(_WHY.get(words[0] if words else "", _UNKNOWN))


def _refused(head: bytes, offset: int, why: str) -> DumpRefused:
    return DumpRefused(f"the dump is refused: after {offset:,} bytes it says `{shown(head)}`, and {why}")


def _begins(words: tuple[str, ...], kinds: tuple[tuple[str, ...], ...]) -> bool:
    return any(words[: len(kind)] == kind for kind in kinds)


def _name_after(words: tuple[str, ...], keyword: str) -> str:
    """The name of what is created. Raises _Refusal where there is none."""
    start = words.index(keyword) + 1
    return _name(words, start + 3 if words[start : start + 3] == ("IF", "NOT", "EXISTS") else start)


def _name(words: tuple[str, ...], index: int) -> str:
    """The name at this place. Raises _Refusal where there is none."""
    if index >= len(words):
        raise _Refusal(_UNKNOWN)
    return unquoted(words[index])


def _policy_roles(head: bytes) -> list[str]:
    """The roles after TO, up to USING or WITH."""
    names, depth, after_to = [], 0, False
    for name in tokens(head):
        word = name.upper()
        depth += (word == "(") - (word == ")")
        if depth or word == ",":
            continue
        if word in ("USING", "WITH"):
            break
        if after_to:
            names.append(unquoted(name))
        after_to = after_to or word == "TO"
    return [name for name in names if name not in _NO_ROLES]
