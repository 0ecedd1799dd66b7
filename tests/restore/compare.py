"""Compares two databases object by object, by what PostgreSQL's catalogs say, and row by row.

Nothing here is shared with dbtether. `snapshot` reads a database, `differences` tells in sentences how another
one differs: no sentence, no difference.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow
from tests.restore.catalog import TABLES, queries

Aspects = Mapping[str, Any]
ABOUT_THE_DATABASE = frozenset({"database", "setting"})
"""Kinds that are no part of a dump: a restore into another database leaves them as they are there."""

_SESSION = """
SET search_path = ''; SET row_security = off; SET statement_timeout = 0;
SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET xmloption = 'content';
"""
_ROWS = """
SELECT count(*), md5(string_agg(of_row, ',' ORDER BY of_row COLLATE "C"))
  FROM (SELECT md5("the row"::text) AS of_row FROM {only} {table} AS "the row") x
"""
_SEQUENCE = "SELECT last_value, is_called FROM {name}"
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each object of a database with its aspects, by kind and name."""

    objects: Mapping[tuple[str, str], Aspects]

    def kinds(self) -> frozenset[str]:
        """The kinds of which it has at least one."""
        return frozenset(kind for kind, _ in self.objects)


def snapshot(connection: Connection[TupleRow]) -> Snapshot:
    """Everything that a database holds; the connection must be a superuser's."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with connection.transaction():
        connection.execute(_SESSION.replace("SET ", "SET LOCAL ").encode())
        for kind, query in queries(connection.info.server_version // 10000).items():
            for name, aspects in connection.execute(query.encode()):
                assert (kind, name) not in found, f"two of {kind} {name}"
                found[kind, name] = aspects
        for (kind, name), aspects in found.items():
            if kind == "sequence":
                aspects["last value"], aspects["was called"] = _row(connection, _SEQUENCE.format(name=name))
        for (table,) in connection.execute(TABLES.encode()).fetchall():
            # What is partitioned holds nothing by itself.
            only = "" if found["relation", table]["kind"] == "p" else "ONLY"
            count, rows = _row(connection, _ROWS.format(only=only, table=table))
            found["rows", table] = {"count": count, "md5": rows}
    return Snapshot(found)


def differences(
    before: Snapshot, after: Snapshot, roles: Mapping[str, str] | None = None, but: frozenset[str] = frozenset()
) -> list[str]:
    """How the second database differs from the first, sorted; empty when it does not.

    A role of the first stands for the one that `roles` maps it to. The kinds in `but` are not looked at.
    """
    first = {_renamed_key(key, roles or {}): _renamed(aspects, roles or {}) for key, aspects in before.objects.items()}
    second = after.objects
    told: list[str] = []
    for kind, name in sorted(first.keys() | second.keys()):
        if kind in but:
            continue
        if (kind, name) not in second:
            told.append(f"{kind} {name}: is missing")
        elif (kind, name) not in first:
            told.append(f"{kind} {name}: should not be there")
        else:
            told += (f"{kind} {name}, {text}" for text in _between(first[kind, name], second[kind, name]))
    return told


def _between(first: Aspects, second: Aspects) -> Iterator[str]:
    for aspect in sorted(first.keys() | second.keys()):
        one, other = first.get(aspect), second.get(aspect)
        if one == other:
            continue
        if isinstance(one, list) and isinstance(other, list) and sorted(map(_text, one)) != sorted(map(_text, other)):
            yield from (f"{aspect}: lacks {_text(item)}" for item in one if item not in other)
            yield from (f"{aspect}: has {_text(item)} too" for item in other if item not in one)
        else:
            yield f"{aspect}: {_text(one)} became {_text(other)}"


def _renamed(aspects: Aspects, roles: Mapping[str, str]) -> Aspects:
    changed = dict(aspects)
    if "owner" in changed:
        changed["owner"] = roles.get(changed["owner"], changed["owner"])
    if "privileges" in changed:
        items = [[roles.get(grantee, grantee), *rest] for grantee, *rest in changed["privileges"]]
        changed["privileges"] = sorted(items)
    if "roles" in changed:
        changed["roles"] = sorted(roles.get(name, name) for name in changed["roles"])
    return changed


def _renamed_key(key: tuple[str, str], roles: Mapping[str, str]) -> tuple[str, str]:
    kind, name = key
    if kind in ("default privileges", "setting", "user mapping"):
        name = " ".join(roles.get(word, word) for word in name.split(" "))
    return kind, name


def _row(connection: Connection[TupleRow], query: str) -> TupleRow:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
