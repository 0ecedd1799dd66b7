"""The one connection of a load: blocking calls on libpq, each statement alone, and a way to stop them from outside.

`exec_params` goes through the extended protocol, which takes exactly one statement: whatever a dump hides in a
text, the server refuses it.
"""

import re
import select
import threading
from contextlib import suppress

import psycopg
from psycopg import pq

from dbtether.backup.restore.words import shown
from dbtether.errors import Blocked, DbtetherError, Retryable
from dbtether.postgres.errors import retry_reason

# How soon a stopped call notices it.
_WAIT_SECONDS = 0.2
_PIECE = 256 * 1024
_GOOD = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY})
# The messages of these quote what is in the data; for the others names are quoted.
_DATA_IN_MESSAGE = re.compile(r"22|P0")
_LAST_SAFE = re.compile(r'^(?:[^"]|(?<=column )"[^"]*"|(?<=encoding )"[^"]*"|(?<=type )"[^"]*")*')
_COPY_LINE = re.compile(r"COPY .*?, line (\d+)")
_NOT_ALLOWED = "42501"


class NotAllowed(Blocked):
    """The login has not the right to it."""


class Stopped(DbtetherError):
    """Somebody ended the load from outside."""


class Session:
    """One connection. All calls block and belong to one thread at a time, but for `stop`.

    They raise Retryable, Blocked or Stopped.
    """

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        """Uses an open connection; who opened it closes it, and what is not committed is undone then."""
        self._pgconn = pgconn
        self._stopped = threading.Event()
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)
        self._is_writing = False
        self._doing: str | bytes = ""

    def run(self, text: bytes, doing: str | bytes) -> list[list[bytes | None]]:
        """Run one statement; its rows. `doing` goes on after "Could not"; bytes are a statement of the dump."""
        self._send(text, doing)
        result = self._result()
        if result.status not in _GOOD:
            raise self._failure(result)
        return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]

    def begin_copy(self, text: bytes, head: bytes) -> None:
        """Run a COPY ... FROM stdin of the dump, up to where it wants its data."""
        self._send(text, head)
        result = self._first_result()
        if result.status != pq.ExecStatus.COPY_IN:
            raise self._failure(result)

    def copy(self, data: memoryview) -> None:
        """Send the next piece of data."""
        try:
            for start in range(0, len(data), _PIECE):
                # libpq would take any amount and grow: what it was given before goes out first.
                self._flush()
                self._pgconn.put_copy_data(data[start : start + _PIECE])
        except psycopg.OperationalError:
            raise self._lost() from None

    def end_copy(self) -> int:
        """The data is complete; the rows that the server took."""
        try:
            self._flush()
            self._pgconn.put_copy_end()
        except psycopg.OperationalError:
            raise self._lost() from None
        result = self._result()
        if result.status not in _GOOD:
            raise self._failure(result)
        return result.command_tuples or 0

    def stop(self) -> None:
        """End what is running, from any thread: the call in the other one raises Stopped."""
        self._stopped.set()

    # -- one statement after the other ---------------------------------------------------------------------

    def _send(self, text: bytes, doing: str | bytes) -> None:
        self._doing = doing
        try:
            self._pgconn.send_query_params(text, None)
        except psycopg.OperationalError:
            raise self._lost() from None

    def _result(self) -> pq.abc.PGresult:
        """The statement's result, once it has ended."""
        found = self._first_result()
        while (later := self._next_result()) is not None:
            if found.status in _GOOD:
                found = later
        return found

    def _first_result(self) -> pq.abc.PGresult:
        result = self._next_result()
        if result is None:
            raise self._lost()
        return result

    def _next_result(self) -> pq.abc.PGresult | None:
        try:
            self._flush()
            while self._pgconn.is_busy():
                self._wait()
            return self._pgconn.get_result()
        except psycopg.OperationalError:
            raise self._lost() from None

    def _flush(self) -> None:
        while self._pgconn.flush():
            self._wait(writing=True)

    def _wait(self, *, writing: bool = False) -> None:
        """Wait until there is something to read, or room to write."""
        if writing != self._is_writing:
            self._is_writing = writing
            self._poll.modify(self._pgconn.socket, select.POLLIN | (select.POLLOUT if writing else 0))
        ready: list[tuple[int, int]] = []
        while not ready:
            if self._stopped.is_set():
                self._cancel()
                raise Stopped(f"Could not {self._told()}: it was stopped")
            ready = self._poll.poll(_WAIT_SECONDS * 1000)
        if any(event & ~select.POLLOUT for _, event in ready):
            self._pgconn.consume_input()

    def _cancel(self) -> None:
        """Make the server end what it does for us: it would finish it first, and see only then that we are gone."""
        with suppress(psycopg.Error):
            self._pgconn.get_cancel().cancel()

    # -- what went wrong -------------------------------------------------------------------------------------

    def _told(self) -> str:
        return f"run `{shown(self._doing)}`" if isinstance(self._doing, bytes) else self._doing

    def _lost(self) -> DbtetherError:
        """Why the connection does not go on; what the server said last tells most."""
        result = None
        with suppress(psycopg.Error):
            result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return self._failure(result)
        said = " ".join(self._pgconn.get_error_message().split())
        return Retryable("ConnectionFailed", f"Could not {self._told()}: {said[:200] or 'the connection is lost'}")

    def _failure(self, result: pq.abc.PGresult) -> DbtetherError:
        """What a statement's failure means; no value of the data is told."""
        code = _field(result, pq.DiagnosticField.SQLSTATE)
        message = _field(result, pq.DiagnosticField.MESSAGE_PRIMARY) or result.get_error_message().strip()
        text = f"Could not {self._told()}: {without_values(code, message)}{_place(result)}"
        reason = retry_reason(code or None, message)
        if reason is not None:
            return Retryable(reason, text)
        if code == _NOT_ALLOWED:
            return NotAllowed("RestoreFailed", f"{text} (SQLSTATE {code})")
        return Blocked("RestoreFailed", f"{text} (SQLSTATE {code})")


def without_values(code: str, message: str) -> str:
    """The server's sentence up to where it quotes a value."""
    text = next(iter(message.splitlines()), "").rstrip(".")
    if code.startswith("P0"):
        return "a function of the dump raised an error"
    if not _DATA_IN_MESSAGE.match(code):
        return text
    safe = _LAST_SAFE.match(text)
    assert safe is not None, "it matches nothing at least"
    kept = safe[0].rstrip(' :"')
    return kept if len(safe[0]) == len(text) else f"{kept} …"


def _place(result: pq.abc.PGresult) -> str:
    """The line of the data where it happened."""
    found = _COPY_LINE.search(_field(result, pq.DiagnosticField.CONTEXT))
    return "" if found is None else f", at line {found[1]} of the data"


def _field(result: pq.abc.PGresult, field: pq.DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode(errors="replace")
