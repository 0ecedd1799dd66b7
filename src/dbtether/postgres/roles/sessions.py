"""The statements that end a login's sessions. Pure."""

from collections.abc import Iterator, Sequence

from psycopg import sql

from dbtether.postgres.borrow import borrowed
from dbtether.postgres.roles.model import Role
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, in_new_transaction, statement


def ended_sessions(
    server: ServerFacts, role: Role, administrator: str | None, database: str | None = None
) -> Iterator[Statement]:
    """The statements that end a login's sessions, in one database or in all of them."""
    where = sql.SQL("usename = {}").format(sql.Literal(role.name))
    if database is not None:
        where = sql.SQL("{} AND datname = {}").format(where, sql.Literal(database))
    yield from _ended(server, role, administrator, f"End the sessions of {role.name}", where)


def ended_lost_sessions(
    server: ServerFacts, role: Role, administrator: str | None, databases: Sequence[str], *, strays: bool
) -> Iterator[Statement]:
    """The statements that end a login's sessions in these databases, and with `strays` wherever it could not
    connect again.
    """
    conditions: list[sql.Composable] = [sql.SQL("datname = {}").format(sql.Literal(database)) for database in databases]
    purpose = f"End the sessions of {role.name} in database {', '.join(databases)}"
    if strays:
        conditions.append(sql.SQL("NOT pg_catalog.has_database_privilege(usesysid, datid, 'CONNECT')"))
        more = f"{purpose} and" if databases else f"End the sessions of {role.name}"
        purpose = f"{more} where it may not connect any more"
    where = sql.SQL("usename = {} AND ({})").format(sql.Literal(role.name), sql.SQL(" OR ").join(conditions))
    yield from _ended(server, role, administrator, purpose, where)


def _ended(
    server: ServerFacts, role: Role, administrator: str | None, purpose: str, where: sql.Composed
) -> Iterator[Statement]:
    end = statement(
        purpose,
        "",
        "SELECT pg_catalog.pg_terminate_backend(pid{wait}) FROM pg_catalog.pg_stat_activity WHERE {where}",
        destructive=True,
        wait=termination_wait(server),
        where=where,
    )
    # Committed first, or a client that reconnects is let in again.
    if server.can_signal_backends:
        yield in_new_transaction(end)
        return
    for number, item in enumerate(borrowed(server, role, administrator, "", [end])):
        yield item if number else in_new_transaction(item)


def termination_wait(server: ServerFacts) -> sql.SQL:
    """From 14 on it waits (milliseconds) until the session, its locks and temporary tables are really gone."""
    return sql.SQL(", 1000" if server.major >= 14 else "")
