"""The second pass: loads a stored dump, and commits only what was proven to its last byte.

Nobody but this module decides on the COMMIT. It comes after the checksum, the footer and the counts agree, after
all deferred checks have run, and after it was seen that nothing became the property of the run's own login. In
the same transaction that login writes into its own settings that the load is complete: so the server itself tells
what became of it, whoever was killed in the meantime.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dbtether.backup.formats import DumpFormat
from dbtether.backup.restore.counting import count_rows
from dbtether.backup.restore.guard import Guard
from dbtether.backup.restore.job import Expectation
from dbtether.backup.restore.model import ExistingObjects, LoadWay, Rules
from dbtether.backup.restore.passing import Pass, Passed, PassProgress, in_thread, pass_through
from dbtether.backup.restore.session import NotAllowed, Session
from dbtether.backup.scanner import DumpDamaged
from dbtether.errors import Blocked, DbtetherError
from dbtether.postgres.connection import ConnectParameters, connect
from dbtether.postgres.errors import ConnectError, connect_failure
from dbtether.postgres.restores.model import committed_name
from dbtether.postgres.restores.objects import ANYTHING, drop_query

_BATCH_STATEMENTS = 200
_BATCH_BYTES = 64 * 1024 * 1024
_LOCK_WAIT = "60s"
# What a login's or a database's own settings must not decide; a server without one of them does not know it.
_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog",
    "row_security": "off",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "client_min_messages": "warning",
    "default_tablespace": "",
    "escape_string_warning": "off",
}
_SETTINGS_SINCE = ((14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0"))
# So that the server notices within seconds that this process was killed; not every system can tell.
_IF_KNOWN = (("client_connection_check_interval", "5s"),)
_IDENTITY = b"SELECT pg_catalog.current_setting('role'), current_user, session_user"
_OWNED = b"""
SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdepend
 WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND deptype = 'o'
   AND refobjid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)
   AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Where and how to load what."""

    parameters: ConnectParameters
    database: str
    application_name: str
    run_id: str
    owner: str
    """The group that the login's sessions run as."""
    way: LoadWay
    existing: ExistingObjects
    rules: Rules
    format: DumpFormat
    expected: Expectation | None
    counts: bool = False
    """Whether the rows of every table are counted before it is told that all is there; in a staging database."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in the database now, committed."""

    tables: int
    rows: int
    left_out: Mapping[str, int]


async def load(
    request: LoadRequest,
    stream: AsyncIterator[bytes],
    *,
    on_progress: Callable[[PassProgress], None] = lambda _: None,
    environment: Mapping[str, str] = os.environ,
) -> Loaded:
    """Load a stored dump into a database, whole or (in one transaction) not at all.

    Raises DumpDamaged, DumpRefused, Retryable or Blocked, and what the stream raises. A connection that was lost
    while the COMMIT went by may have committed: the login's settings tell (`committed_name`).
    """
    connection = await _connected(request)
    session = Session(connection.pgconn)
    loader = _Loader(request, session)
    try:
        await in_thread(loader.begin, session.stop)
        order = Pass(
            request.format,
            request.expected,
            loader,
            session.stop,
            on_progress,
            environment,
            hashes_plain=False,
        )
        passed = await pass_through(stream, order)
        await in_thread(lambda: loader.commit(passed), session.stop)
    finally:
        await connection.close()
    return Loaded(len(passed.scanned.rows), passed.rows, dict(loader.guard.left_out))


async def _connected(request: LoadRequest) -> psycopg.AsyncConnection[tuple[object, ...]]:
    try:
        return await connect(request.parameters, request.database, request.application_name, admin=False)
    except ConnectError as error:
        raise connect_failure(error, f"log in to database {request.database}") from None


@dataclass(slots=True)
class _Loader:
    """Gets the dump's statements and data, and sends what the guard lets through."""

    request: LoadRequest
    session: Session
    guard: Guard = field(init=False)
    _rows: int = 0
    _batch_statements: int = 0
    _batch_bytes: int = 0

    def __post_init__(self) -> None:
        self.guard = Guard(self.request.rules)

    # -- before the dump ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the session fit, and the database ready to be loaded."""
        self._configure()
        self._check_identity()
        self._begin()
        if self.request.existing is ExistingObjects.DROP and self.request.way is LoadWay.TRANSACTION:
            self._drop_all()
        elif self.session.run(ANYTHING, "look for what is there") != [[b"f"]]:
            raise Blocked("TargetNotEmpty", f"Database {self.request.database} is not empty: nothing was loaded")

    def _configure(self) -> None:
        major = self.request.rules.server_major
        since = [(name, value) for first, name, value in _SETTINGS_SINCE if major >= first]
        for name, value in (*_SETTINGS.items(), *since):
            self.session.run(_set(name, value), f"set {name}")
        for name, value in _IF_KNOWN:
            with suppress(Blocked):
                self.session.run(_set(name, value), f"set {name}")

    def _check_identity(self) -> None:
        """The setting `role` of the login decides whose everything will be; a login without it is let in as itself."""
        ((_, current, _),) = self.session.run(_IDENTITY, "ask as whom it runs")
        if (current or b"").decode() != self.request.owner:
            raise Blocked(
                "RestoreFailed",
                f"The login of this run acts as {(current or b'').decode()} in database {self.request.database}, not "
                f"as {self.request.owner}: nothing was loaded",
            )

    def _drop_all(self) -> None:
        """Everything that is there goes, and comes back if anything goes wrong."""
        self.session.run(_set("lock_timeout", _LOCK_WAIT), "set lock_timeout")
        query = drop_query(self.request.rules.existing_schemas)
        for (text,) in self.session.run(query, "list what is to be dropped"):
            assert text is not None, "it is a statement"
            self.session.run(text, f"drop what is there (`{text[:80].decode(errors='replace')}`)")
        self.session.run(_set("lock_timeout", "0"), "set lock_timeout")

    # -- the dump -------------------------------------------------------------------------------------------

    def statement(self, head: bytes, text: bytes, offset: int) -> None:
        if not self.guard.judge(head, text, offset):
            return
        self._make_room()
        self._batch_statements += 1
        first = head[:6].upper()
        if first.startswith(b"COPY"):
            self.session.begin_copy(text, head)
        elif first in (b"GRANT ", b"REVOKE"):
            self._run_if_allowed(head, text)
        else:
            self.session.run(text, head)

    def command(self, line: bytes, offset: int) -> None:
        self.guard.command(line, offset)

    def rows(self, data: memoryview) -> None:
        self._batch_bytes += len(data)
        self.session.copy(data)

    def rows_end(self) -> None:
        self._rows += self.session.end_copy()

    def _run_if_allowed(self, head: bytes, text: bytes) -> None:
        """Privileges on what is not the dump's own, such as an extension's functions, are not ours to give."""
        self.session.run(b"SAVEPOINT privileges", "set a savepoint")
        try:
            self.session.run(text, head)
        except NotAllowed:
            self.session.run(b"ROLLBACK TO SAVEPOINT privileges", "go back to a savepoint")
            self.guard.left_out["privileges on what is not the owner's"] += 1
        self.session.run(b"RELEASE SAVEPOINT privileges", "release a savepoint")

    def _make_room(self) -> None:
        """Into a staging database it goes in batches: no lock is held for long, whatever there are of objects."""
        if self.request.way is LoadWay.TRANSACTION or self.guard.is_in_large_object:
            return
        if self._batch_statements >= _BATCH_STATEMENTS or self._batch_bytes >= _BATCH_BYTES:
            self._commit()
            self._begin()

    def _begin(self) -> None:
        self.session.run(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "begin a transaction")
        self._batch_statements = self._batch_bytes = 0

    def _commit(self) -> None:
        self.session.run(b"COMMIT", "commit")

    # -- after the dump -------------------------------------------------------------------------------------

    def commit(self, passed: Passed) -> None:
        """The last proofs, then the COMMIT."""
        self.guard.close()
        if self._rows != passed.rows:
            raise DumpDamaged(f"the server took {self._rows:,} rows of {passed.rows:,}")
        if self.request.way is LoadWay.STAGING:
            self._commit()
            self._analyze()
            if self.request.counts:
                count_rows(self.session, passed.scanned.rows)
            self._begin()
        self._prove_ownership()
        name, login = committed_name(self.request.run_id), sql.Identifier(self.request.parameters.user)
        self.session.run(b"SET LOCAL ROLE NONE", "act as the run's login")
        record = sql.SQL("ALTER ROLE {} SET application_name = {}").format(login, sql.Literal(name)).as_bytes(None)
        self.session.run(record, "record that the load is complete")
        self._commit()
        if self.request.way is LoadWay.TRANSACTION:
            # It is loaded already: autovacuum would do the same a little later.
            with suppress(DbtetherError):
                self._analyze()

    def _prove_ownership(self) -> None:
        """Nothing acts as anybody else any more, and everything belongs to whom it should."""
        self.session.run(b"SET CONSTRAINTS ALL IMMEDIATE", "check what was put off")
        self.session.run(_set("search_path", "pg_catalog"), "set search_path")
        self._check_identity()
        if self.session.run(_OWNED, "ask what belongs to the run's login") != [[b"0"]]:
            raise Blocked(
                "RestoreFailed",
                "Something in the dump has changed as whom it is loaded, so that objects belong to the run's own login",
            )

    def _analyze(self) -> None:
        self.session.run(b"ANALYZE", "analyse the tables")


def _set(name: str, value: str) -> bytes:
    return sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)).as_bytes(None)
