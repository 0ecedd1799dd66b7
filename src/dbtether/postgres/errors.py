"""SQLSTATE to what a reconcile does next: one table, and the sentence for people.

Only the server's primary message is shown; details and queries may hold values. The one exception is the
detail of 2BP01, which lists the objects that hold a role back.
"""

import re

import psycopg

from dbtether.errors import Blocked, DbtetherError, Retryable


class ConnectError(DbtetherError):
    """A connect that failed; `sqlstate` is None when no server answered."""

    def __init__(self, sqlstate: str | None, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message


# The last two: an object, such as an ended session's temporary table, went away under the statement.
_LOST_RACES = (
    "tuple concurrently updated",
    "tuple concurrently deleted",
    "could not open relation with OID",
    "cache lookup failed for",
)

RETRYABLE: dict[str, str] = {
    "40001": "Retrying",  # serialization_failure
    "40P01": "Retrying",  # deadlock_detected
    "55P03": "LockNotAvailable",
    "55006": "ObjectInUse",
    "57014": "StatementTimeout",
    "53300": "TooManyConnections",
    "57P01": "ConnectionFailed",  # admin_shutdown
    "57P02": "ConnectionFailed",  # crash_shutdown
    "57P03": "ConnectionFailed",  # cannot_connect_now
    "25P03": "ConnectionFailed",  # idle_in_transaction_session_timeout
    "25P04": "ConnectionFailed",  # transaction_timeout
    "57P05": "ConnectionFailed",  # idle_session_timeout
    "53100": "ServerOutOfResources",
    "53200": "ServerOutOfResources",
}

BLOCKED: dict[str, str] = {
    "42501": "MissingPrivileges",
    "2BP01": "RoleHasDependents",
    "25006": "ServerReadOnly",
    "28P01": "AuthenticationFailed",
    "28000": "AuthenticationFailed",
    "3D000": "DatabaseNotFound",
}

# In the text of every extension that refuses to be made without, whatever the SQLSTATE and the language.
_PRELOAD = "shared_preload_libraries"
_DEPENDENT_OBJECTS = "2BP01"
# What CREATE DATABASE says of a locale that the operating system, or the server's build, does not have.
_LACKS_LOCALE = frozenset({"42809", "0A000"})
_LOCALE = re.compile(r"\b(?:locale|LC_COLLATE|LC_CTYPE|ICU)\b")
_SERVER_PREFIX = re.compile(r"^connection to server at .* failed:")
_VERBOSE = re.compile(r"\b[A-Z][^:\n]*:\s+([0-9A-Z]{5}):\s+([^\n]*)")


def retry_reason(sqlstate: str | None, message: str) -> str | None:
    """The status reason when an error of this SQLSTATE is expected to pass by itself, else None.

    XX000 counts only with PostgreSQL's texts for a lost race on the catalogs; 23505 only on a
    catalog's own index (two sessions created the same object).
    """
    if sqlstate is None:
        return "ConnectionFailed"
    if sqlstate.startswith("08"):
        return "ConnectionFailed"
    if sqlstate == "XX000" and any(text in message for text in _LOST_RACES):
        return "Retrying"
    if sqlstate == "23505" and '"pg_' in message:
        return "Retrying"
    return RETRYABLE.get(sqlstate)


def classify(error: psycopg.Error, doing: str) -> DbtetherError:
    """What a failed statement means for the reconcile: Retryable or Blocked, with one sentence."""
    message = primary_message(error)
    sqlstate = error.sqlstate
    text = f"Could not {doing}: {message}"
    if sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        # psycopg itself refused a value (NUL in a text, a time it cannot hold): no server was asked.
        return Blocked("StatementRefused", text)
    retry = retry_reason(sqlstate, message)
    if retry is not None:
        return Retryable(retry, f"{text}; trying again")
    if sqlstate == _DEPENDENT_OBJECTS and error.diag.message_detail:
        # Names of objects only; without them nobody knows where to look.
        text += f": {'; '.join(error.diag.message_detail.splitlines())}"
    suffix = f" (SQLSTATE {sqlstate})"
    if _PRELOAD in message:
        return Blocked("ExtensionNeedsPreload", f"{text}{suffix}; add it there and restart the server")
    if sqlstate in _LACKS_LOCALE and _LOCALE.search(message):
        return Blocked("LocaleNotAvailable", f"{text}{suffix}; have it installed on the server, or use one that is")
    return Blocked(BLOCKED.get(sqlstate or "", "StatementRefused"), text + suffix)


def primary_message(error: psycopg.Error) -> str:
    """The server's own sentence in one line, without DETAIL, HINT or query."""
    text = error.diag.message_primary or str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def parse_verbose(text: str) -> tuple[str | None, str]:
    """SQLSTATE and message out of libpq's verbose text of a failed connect; (None, text) without one.

    libpq keeps no result of a failed connect, so the code is only in the text, and only with
    PQERRORS_VERBOSE (libpq, section "Control Functions"). The severity before it is localized.
    """
    found = _VERBOSE.findall(text)
    if not found:
        first = next(iter(text.strip().splitlines()), "no answer")
        return None, _SERVER_PREFIX.sub("", first).strip()
    sqlstate, message = found[-1]
    return sqlstate, message


def connect_failure(error: ConnectError, doing: str) -> DbtetherError:
    """What a failed connect means for the reconcile: Retryable or Blocked, with one sentence."""
    text = f"Could not {doing}: {error.message}"
    retry = retry_reason(error.sqlstate, error.message)
    if retry is not None:
        return Retryable(retry, f"{text}; trying again")
    return Blocked(BLOCKED.get(error.sqlstate or "", "ConnectionRefused"), f"{text} (SQLSTATE {error.sqlstate})")
