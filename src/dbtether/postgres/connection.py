"""One connection to a PostgreSQL server: parameters, session options, and why a connect failed."""

import asyncio
import ctypes
import functools
import socket
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from dbtether.postgres.errors import ConnectError, parse_verbose

# A tenant's ALTER DATABASE / ALTER ROLE settings must not rule the admin's session: options given at
# connect beat them (PostgreSQL documentation, "How Configuration Settings Are Set", section 19.1).
_OPTIONS = (
    "-c role=none -c search_path=pg_catalog,pg_temp -c default_transaction_read_only=off "
    "-c default_transaction_isolation=read\\ committed -c statement_timeout={statement_timeout_ms} "
    "-c lock_timeout={lock_timeout_ms} -c idle_in_transaction_session_timeout={idle_timeout_ms} "
    "-c client_min_messages=warning -c datestyle=ISO -c timezone=UTC"
)
IDLE_IN_TRANSACTION_SECONDS = 4.0
"""After so long without a word within a transaction the server ends it.

A process that was stopped in the middle of a transaction must never commit it after another one has taken its
place: this is less than the time between a leader's last write and the next leader's first.
"""
# Settings that older servers do not know, and refuse a session for.
_OPTIONS_SINCE = ((16, "-c createrole_self_grant="), (17, "-c transaction_timeout=0"))
_PQERRORS_VERBOSE = 2


@dataclass(frozen=True, slots=True)
class ConnectParameters:
    """Where and as whom to connect. The repr never shows the password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sslmode: str = "require"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    connect_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 300.0
    lock_timeout_seconds: float = 5.0

    def conninfo(self, database: str, application_name: str, *, admin: bool, major: int = 0) -> str:
        """The libpq connection string; with `admin` the session is shielded from tenants' settings.

        `major` is the server's, where it is known already: newer ones have more that a tenant could set.
        """
        values: dict[str, str] = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": database,
            "application_name": application_name[:63],
            "sslmode": self.sslmode,
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
            "tcp_user_timeout": "60000",
            "client_encoding": "utf8",
            "target_session_attrs": "any",
            # Never a passfile, a service or a Kerberos ticket of whoever runs this process.
            "passfile": "/dev/null",
            "gssencmode": "disable",
        }
        if self.sslmode != "verify-full":
            # A server that asks for the password in clear text could be anybody (libpq, `require_auth`).
            values["require_auth"] = "!password"
        for name in ("sslrootcert", "sslcert", "sslkey"):
            if (path := getattr(self, name)) is not None:
                values[name] = path
        if admin:
            values["options"] = _OPTIONS.format(
                statement_timeout_ms=int(self.statement_timeout_seconds * 1000),
                lock_timeout_ms=int(self.lock_timeout_seconds * 1000),
                idle_timeout_ms=int(IDLE_IN_TRANSACTION_SECONDS * 1000),
            )
            values["options"] += "".join(f" {option}" for since, option in _OPTIONS_SINCE if major >= since)
        return make_conninfo("", **values)


async def connect(
    parameters: ConnectParameters, database: str, application_name: str, *, admin: bool = True, major: int = 0
) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """An open connection in autocommit mode. Raises ConnectError with the server's SQLSTATE."""
    addresses = await _resolve(parameters.host, parameters.port)
    conninfo = parameters.conninfo(database, application_name, admin=admin, major=major)
    failure = ConnectError(None, "no address")
    for address in addresses:
        # `host` stays in the string: TLS checks the certificate against it, not against the address.
        target = make_conninfo(conninfo, **({} if address is None else {"hostaddr": address}))
        try:
            async with asyncio.timeout(parameters.connect_timeout_seconds):
                pgconn = await _poll_until_open(target)
        except TimeoutError:
            seconds = parameters.connect_timeout_seconds
            failure = ConnectError(None, f"no answer within {seconds:g} s")
            continue
        except ConnectError as error:
            if error.sqlstate is not None:
                raise
            failure = error
            continue
        connection = psycopg.AsyncConnection[tuple[object, ...]](pgconn)
        await connection.set_autocommit(True)
        return connection
    raise failure


async def _resolve(host: str, port: int) -> list[str | None]:
    if host.startswith("/"):
        return [None]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a valid host name"
        raise ConnectError(None, f'host name "{host}" does not resolve: {reason}') from None
    return list(dict.fromkeys(str(item[4][0]) for item in found))


async def _poll_until_open(conninfo: str) -> pq.abc.PGconn:
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    try:
        _set_verbose(pgconn)
        while pgconn.status != pq.ConnStatus.BAD:
            state = pgconn.connect_poll()
            if state == pq.PollingStatus.OK:
                pgconn.nonblocking = 1
                return pgconn
            if state == pq.PollingStatus.FAILED:
                break
            await _ready(pgconn.socket, reading=state == pq.PollingStatus.READING)
        raise ConnectError(*parse_verbose(pgconn.get_error_message()))
    except BaseException:
        pgconn.finish()
        raise


async def _ready(descriptor: int, *, reading: bool) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    add(descriptor, wake)
    try:
        await done
    finally:
        remove(descriptor)


def _set_verbose(pgconn: pq.abc.PGconn) -> None:
    # psycopg has no call for it; without it a failed connect carries no SQLSTATE, only localized text.
    pointer: int = getattr(pgconn, "pgconn_ptr")  # noqa: B009 - in both implementations, not in the protocol
    _libpq().PQsetErrorVerbosity(ctypes.c_void_p(pointer), _PQERRORS_VERBOSE)


@functools.cache
def _libpq() -> ctypes.CDLL:
    """The libpq that psycopg itself uses: bundled with its wheel, else the system's."""
    if pq.__impl__ == "binary":
        import psycopg_binary

        package = Path(psycopg_binary.__file__).parent
        bundled = [*package.parent.glob("psycopg_binary.libs/libpq*"), *package.glob(".dylibs/libpq*")]
        if bundled:
            return ctypes.CDLL(str(bundled[0]))
    from ctypes.util import find_library

    found = find_library("pq")
    if found is None:
        raise ConnectError(None, "libpq was not found; install psycopg with its binary wheel")
    return ctypes.CDLL(found)
