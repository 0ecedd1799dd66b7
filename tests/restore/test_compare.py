"""The comparison sees everything that a restore could lose: one thing is altered, and exactly that is told.

It is the judge of the round trips, so it is judged first: by PostgreSQL's own `pg_dump | psql`, and by alterations.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import TupleRow
from tests.restore.alterations import ALTERATIONS, Alteration
from tests.restore.compare import Snapshot, differences, snapshot
from tests.restore.everything import Roles, fill, fill_as_superuser, named, regrant
from tests.restore.exceptions import LOST_BY_PG_DUMP, beyond
from tests.servers.server import Server

from dbtether.backup.clients import find_clients

NAME = "t_everything"
ROLES = Roles(f"{NAME}_owner", f"{NAME}_reporter", f"{NAME}_auditor")


@contextmanager
def filled(server: Server) -> Iterator[psycopg.Connection[TupleRow]]:
    """A database that holds everything, what only a superuser can make as well."""
    server.drop_everything_named(NAME)
    with server.connect() as connection:
        for role in (ROLES.owner, ROLES.reporter, ROLES.auditor):
            connection.execute(f"CREATE ROLE {role}".encode())
        connection.execute(f"CREATE DATABASE {NAME} TEMPLATE template0 OWNER {ROLES.owner}".encode())
    try:
        with server.connect(dbname=NAME) as connection:
            connection.execute(f"GRANT CREATE ON SCHEMA public TO {ROLES.owner}".encode())
            connection.execute(f"SET ROLE {ROLES.owner}".encode())
            fill(connection, ROLES)
            connection.execute("RESET ROLE")
            fill_as_superuser(connection, ROLES)
            regrant(connection, ROLES)
            yield connection
    finally:
        server.drop_everything_named(NAME)


class Database:
    """The filled database of the server at hand; it is made anew only for another server."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._opened: Iterator[None] | None = None

    def of(self, server: Server) -> tuple[psycopg.Connection[TupleRow], Snapshot]:
        """A connection to it, and how it was when it was made."""
        if self._server is not server:
            self.close()
            self._server, self._opened = server, self._run(server)
            next(self._opened)
        return self._connection, self._snapshot

    def close(self) -> None:
        """Drop it."""
        for _ in self._opened or ():
            pass

    def _run(self, server: Server) -> Iterator[None]:
        with filled(server) as self._connection:
            self._snapshot = snapshot(self._connection)
            yield


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Give one filled database to all the tests of a server."""
    kept = Database()
    yield kept
    kept.close()


@pytest.mark.majors(18)
@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda alteration: alteration.what)
def test_one_thing_altered_is_exactly_one_difference(
    server: Server, database: Database, alteration: Alteration
) -> None:
    assert _told_of(alteration, server, database) == alteration.told_on(server.major)


# Of these the queries differ by major, or ask for what an older one has not.
_OLDER = [a for a in ALTERATIONS if a.since == 13 and {"trigger", "publication", "database"} & a.kinds]


@pytest.mark.majors(13)
@pytest.mark.parametrize("alteration", _OLDER, ids=lambda alteration: alteration.what)
def test_the_same_is_told_of_an_older_server(server: Server, database: Database, alteration: Alteration) -> None:
    assert _told_of(alteration, server, database) == alteration.told_on(server.major)


def _told_of(alteration: Alteration, server: Server, database: Database) -> list[str]:
    connection, before = database.of(server)
    with connection.transaction(force_rollback=True):
        connection.execute(named(alteration.sql, ROLES).encode())
        found = differences(before, snapshot(connection))
    return sorted({text.split(": ")[0] for text in found})


@pytest.mark.majors(13)
def test_who_passed_a_right_on_is_of_no_account(server: Server, database: Database) -> None:
    connection, before = database.of(server)
    with connection.transaction(force_rollback=True):
        connection.execute(named("REVOKE SELECT ON data.wife FROM {reporter} CASCADE", ROLES).encode())
        assert differences(before, snapshot(connection)) != []
        connection.execute(named("GRANT SELECT ON data.wife TO {reporter} WITH GRANT OPTION", ROLES).encode())
        connection.execute(named("GRANT SELECT ON data.wife TO {auditor}", ROLES).encode())
        assert differences(before, snapshot(connection)) == []


@pytest.mark.majors(18)
def test_every_kind_has_an_alteration(server: Server, database: Database) -> None:
    _, before = database.of(server)
    told = [text for alteration in ALTERATIONS for text in alteration.told_on(18)]
    assert [kind for kind in before.kinds() if not any(text.startswith(f"{kind} ") for text in told)] == []


@pytest.mark.majors(18)
def test_what_pg_dump_and_psql_bring_over_is_equal(server: Server, database: Database) -> None:
    _, before = database.of(server)
    clients, copy = find_clients(server.major), f"{NAME}_copy"
    environment = {**os.environ, "PGPASSWORD": server.superuser.password}
    with server.connect() as maintenance:
        maintenance.execute(f"CREATE DATABASE {copy} TEMPLATE template0 OWNER {ROLES.owner}".encode())
    dumped = subprocess.run(
        [clients.path("pg_dump"), "-d", server.dsn(dbname=NAME)], env=environment, capture_output=True, check=True
    )
    loaded = [clients.path("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(dbname=copy)]
    subprocess.run(loaded, env=environment, input=dumped.stdout, capture_output=True, check=True)
    with server.connect(dbname=copy) as connection:
        found = differences(before, snapshot(connection), but=frozenset({"database", "setting"}))
    found = [text for text in found if not text.startswith("extension ")]
    assert beyond(found, ROLES, LOST_BY_PG_DUMP) == []
