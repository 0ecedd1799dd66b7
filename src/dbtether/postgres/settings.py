"""Settings kept in pg_db_role_setting: what differs, and the ALTER for it. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from dbtether.postgres.statement import Statement, statement

# Settings whose value is a list of names: each element is quoted by itself (PostgreSQL, `SET search_path`).
_LISTS = frozenset({"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"})
_ELEMENT = re.compile(r'(?:^|,)\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))')


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting to be set, or to be reset when `value` is None."""

    name: str
    value: str | None


def setting_changes(
    wanted: Iterable[tuple[str, str]], observed: Iterable[str], *, ours: frozenset[str]
) -> Iterator[SettingChange]:
    """The differences between wanted pairs and observed `name=value` items.

    A setting that is not wanted is reset only when it is in `ours`: a DBA's own stay.
    Names are compared without case, as PostgreSQL does.
    """
    target = {name.lower(): (name, value) for name, value in wanted}
    current = dict(item.split("=", 1) for item in observed)
    by_lower = {name.lower(): value for name, value in current.items()}
    for lower, (name, value) in sorted(target.items()):
        if lower not in by_lower or not _same(lower, by_lower[lower], value):
            yield SettingChange(name, value)
    resettable = {name.lower() for name in ours}
    for name in sorted(current):
        if name.lower() not in target and name.lower() in resettable:
            yield SettingChange(name, None)


def _same(name: str, current: str, wanted: str) -> bool:
    if name in _LISTS:
        return _elements(current) == _elements(wanted)
    return current == wanted


def _elements(value: str) -> list[str]:
    """The names in a list; a quoted one may hold commas, and quotes twice."""
    return [
        quoted.replace('""', '"') if quoted or not plain else plain.strip() for quoted, plain in _ELEMENT.findall(value)
    ]


def setting_statement(change: SettingChange, target: sql.Composable, of: str, *, as_role: str | None) -> Statement:
    """The ALTER ... SET or RESET of one setting; `target` is what is altered, `of` its name for people."""
    name = sql.Identifier(change.name)
    if change.value is None:
        return statement(
            f"Reset setting {change.name} of {of}",
            "",
            "{target} RESET {name}",
            as_role=as_role,
            target=target,
            name=name,
        )
    value: sql.Composable = sql.Literal(change.value)
    if change.name.lower() in _LISTS:
        value = sql.SQL(", ").join(sql.Literal(part) for part in _elements(change.value))
    return statement(
        f"Set {change.name} of {of} to {change.value}",
        "",
        "{target} SET {name} TO {value}",
        as_role=as_role,
        target=target,
        name=name,
        value=value,
    )
