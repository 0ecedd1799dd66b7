"""A planned SQL statement as data: what it is for, where it runs, and how it reads without secrets.

Nothing here connects to a server: `plan` functions make statements, `postgres.apply` runs them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import LiteralString

from psycopg import sql

# No valid SQL: a masked script that somebody runs must fail, not give every login this very password.
MASK = "********"


class SecretLiteral(sql.Literal):
    """A literal whose value no representation shows: a password's verifier."""

    def __repr__(self) -> str:
        return f"SecretLiteral({MASK})"


@dataclass(frozen=True, slots=True, repr=False)
class Statement:
    """One statement of a plan.

    `database` is where it runs; empty means the maintenance database, for the catalogs that all databases
    of a server share. `as_role` is the role it runs as (`SET LOCAL ROLE`), None the admin itself.
    A statement that starts a `new_transaction` waits until those before it are committed.
    """

    purpose: str
    database: str
    query: sql.Composed
    as_role: str | None = None
    transactional: bool = True
    destructive: bool = False
    new_transaction: bool = False

    @property
    def text(self) -> str:
        """The SQL with every secret masked."""
        return mask(self.query).as_string(None)

    @property
    def holds_secret(self) -> bool:
        """Whether it sets a password."""
        return mask(self.query) != self.query

    def __repr__(self) -> str:
        return f"Statement({self.purpose!r}, database={self.database!r}, sql={self.text!r})"


def statement(
    purpose: str,
    database: str,
    template: LiteralString,
    *,
    as_role: str | None = None,
    transactional: bool = True,
    destructive: bool = False,
    new_transaction: bool = False,
    **parts: sql.Composable,
) -> Statement:
    """A Statement from a template with `{name}` places; only Identifier, Literal and SQL go into them."""
    return Statement(
        purpose=_one_line(purpose),
        database=database,
        query=sql.SQL(template).format(**parts),
        as_role=as_role,
        transactional=transactional,
        destructive=destructive,
        new_transaction=new_transaction,
    )


def in_new_transaction(item: Statement) -> Statement:
    """The same statement, to run when those before it are committed."""
    return replace(item, new_transaction=True)


def identifiers(names: Iterable[str]) -> sql.Composed:
    """Names quoted and separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def mask(query: sql.Composable) -> sql.Composable:
    """The query with every SecretLiteral replaced."""
    if isinstance(query, SecretLiteral):
        return sql.SQL(MASK)
    if isinstance(query, sql.Composed):
        return sql.Composed([mask(part) for part in query])
    return query


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements that run together on one connection; one transaction when `transactional`."""

    database: str
    transactional: bool
    statements: tuple[Statement, ...]


def batches(statements: Iterable[Statement]) -> Iterator[Batch]:
    """The statements in their order, cut where the database or the kind of transaction changes."""
    run = 0
    numbered = []
    for item in statements:
        # What cannot run in a transaction is a batch of its own.
        run += item.new_transaction or not item.transactional
        numbered.append(((run, item.database, item.transactional), item))
    for (_, database, transactional), group in groupby(numbered, key=lambda pair: pair[0]):
        yield Batch(database, transactional, tuple(item for _, item in group))


def commands(batch: Batch) -> Iterator[tuple[Statement | None, sql.Composed]]:
    """What is sent for a batch, in order, between BEGIN and COMMIT: its statements and the role switches.

    The same sequence is printed by `dbtether plan --sql` and executed by apply.
    """
    role: str | None = None
    for item in batch.statements:
        if item.as_role != role:
            role = item.as_role
            yield None, _switch_role(role, local=batch.transactional)
        yield item, item.query
    if role is not None and not batch.transactional:
        yield None, _switch_role(None, local=False)


def _switch_role(role: str | None, *, local: bool) -> sql.Composed:
    scope = sql.SQL("LOCAL ") if local else sql.SQL("")
    target: sql.Composable = sql.SQL("NONE") if role is None else sql.Identifier(role)
    return sql.SQL("SET {scope}ROLE {role}").format(scope=scope, role=target)


def script(statements: Iterable[Statement], maintenance_database: str) -> str:
    """A psql script of the plan, secrets masked, each statement under its purpose as a comment."""
    lines: list[str] = []
    for batch in batches(statements):
        database = batch.database or maintenance_database
        lines.append(f"\\connect -reuse-previous=on {_psql_argument(f'dbname={_quoted_value(database)}')}")
        if batch.transactional:
            lines.append("BEGIN;")
        for item, query in commands(batch):
            if item is not None:
                lines.append(f"-- {item.purpose}{' (destructive)' if item.destructive else ''}")
            lines.append(f"{mask(query).as_string(None)};")
        if batch.transactional:
            lines.append("COMMIT;")
    return "\n".join(lines) + "\n" if lines else ""


def _one_line(text: str) -> str:
    # A line break in a name would end a script's comment and turn what follows into SQL, or forge a line of
    # the audit log.
    return "".join(character if character.isprintable() else "?" for character in text)


def _quoted_value(text: str) -> str:
    # Quoting of libpq keyword/value strings (libpq, section "Keyword/Value Connection Strings").
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _psql_argument(text: str) -> str:
    # psql reads C-like escapes within single quotes (psql, "Meta-Commands"); a line break ends the command. And
    # \connect then takes the result for an SQL name: one double quote is written as a quoted name of one.
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped.replace('"', '""""') + "'"
