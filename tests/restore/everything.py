"""Fills a database with every kind of object that PostgreSQL has, each as awkward as people make them.

The SQL stands in `objects/`: read it like a list. A file that begins with a major holds what that major brought.
All of it can be made by a member of the admins' group of a Database, but `superuser.sql`. Nothing in it depends
on the time or on chance: filled twice, two databases are alike.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg import Connection, sql
from psycopg.rows import TupleRow

FOLDER = Path(__file__).with_name("objects")
TRUSTED_EXTENSIONS = ("btree_gin", "btree_gist", "citext", "hstore", "pg_trgm")
"""What it makes in schemas of their own; a Restore's target has them made by the platform's admin."""

_SINCE = re.compile(r"(\d\d)_since\.sql")


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles that the objects name: who makes them all, and two that are the server's own."""

    owner: str
    reporter: str
    auditor: str


def fill(connection: Connection[TupleRow], roles: Roles, major: int | None = None) -> None:
    """Make everything that a member of the admins' group can make, with what the server's major has.

    With `major`, only what that older major has: a database as it looks after the move to a newer one.
    """
    for path in _files(major or connection.info.server_version // 10000):
        _run(connection, path, roles)


def fill_as_superuser(connection: Connection[TupleRow], roles: Roles) -> None:
    """Make what only a superuser can make, beside the rest."""
    _run(connection, FOLDER / "superuser.sql", roles)


def regrant(connection: Connection[TupleRow], roles: Roles) -> None:
    """Let a role that was given privileges to pass on do so; the connection must be able to act as that role."""
    reporter, auditor = sql.Identifier(roles.reporter), sql.Identifier(roles.auditor)
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(reporter))
        connection.execute(sql.SQL("GRANT SELECT ON data.wife TO {}").format(auditor))
        connection.execute(sql.SQL("GRANT SELECT ON LARGE OBJECT 990002 TO {}").format(auditor))


def _files(major: int) -> Iterator[Path]:
    for path in sorted(FOLDER.glob("*_*.sql")):
        since = _SINCE.fullmatch(path.name)
        if since is None or int(since[1]) <= major:
            yield path


def named(text: str, roles: Roles) -> str:
    """The text with the roles' names in the places `{owner}`, `{reporter}` and `{auditor}`."""
    for name in ("owner", "reporter", "auditor"):
        text = text.replace(f"{{{name}}}", sql.Identifier(getattr(roles, name)).as_string(None))
    return text


def _run(connection: Connection[TupleRow], path: Path, roles: Roles) -> None:
    connection.execute(named(path.read_text(encoding="utf-8"), roles).encode())
