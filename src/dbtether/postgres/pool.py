"""The connections to one server: few, bounded over all its databases, reused, and closed when idle.

A PostgreSQL connection belongs to one database, so a pool per database would multiply the limit; here one
bound (`DBCluster.spec.maxConnections`) holds for the server as a whole.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import pq

from dbtether.postgres.connection import ConnectParameters, connect

Connection = psycopg.AsyncConnection[tuple[object, ...]]

_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Idle:
    database: str
    connection: Connection
    since: float


class Usage:
    """How much the server was used: what tells its time from ours."""

    def __init__(self) -> None:
        self.uses = 0
        """How often a connection was taken: the round trips of a reconcile, seen from here."""
        self.busy_seconds = 0.0
        """How long at least one connection was in use."""
        self._in_use = 0
        self._since = 0.0

    @contextmanager
    def of_server(self) -> Iterator[None]:
        """Count the time until the end as the server's."""
        self.uses += 1
        if self._in_use == 0:
            self._since = time.perf_counter()
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            if self._in_use == 0:
                self.busy_seconds += time.perf_counter() - self._since


class Pool:
    """Connections of the admin to the databases of one server, at most `limit` at a time."""

    def __init__(self, parameters: ConnectParameters, limit: int, application_name: str) -> None:
        self._parameters = parameters
        self._application_name = application_name
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[_Idle] = []
        self._open = 0
        self._limit = limit
        self._closed = False
        self.usage = Usage()
        self.major = 0
        """The server's major version once it is known: later connections are shielded from its settings too."""

    @property
    def open_connections(self) -> int:
        """How many connections to the server exist now, in use or idle."""
        return self._open

    @asynccontextmanager
    async def connection(self, database: str) -> AsyncIterator[Connection]:
        """A connection to `database`, waiting for a free slot. Raises ConnectError.

        It comes back to the pool only when it is idle in no transaction; otherwise it is closed.
        """
        async with self._slots:
            with self.usage.of_server():
                connection = await self._take(database)
                try:
                    yield connection
                finally:
                    await self._give_back(database, connection)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Room for a connection that somebody else opens, such as a user's login: it counts as one of ours."""
        async with self._slots:
            if self._open >= self._limit and self._idle:
                await self._close(self._idle.pop(0).connection)
            self._open += 1
            try:
                with self.usage.of_server():
                    yield
            finally:
                self._open -= 1

    async def _take(self, database: str) -> Connection:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].database == database:
                found = self._idle.pop(index).connection
                if _is_usable(found):
                    return found
                await self._close(found)
        if self._open >= self._limit and self._idle:
            await self._close(self._idle.pop(0).connection)
        self._open += 1
        try:
            return await connect(self._parameters, database, self._application_name, major=self.major)
        except BaseException:
            self._open -= 1
            raise

    async def _give_back(self, database: str, connection: Connection) -> None:
        if self._closed or not _is_usable(connection):
            await self._close(connection)
            return
        self._idle.append(_Idle(database, connection, time.monotonic()))

    async def _close(self, connection: Connection) -> None:
        self._open -= 1
        await connection.close()

    async def close_database(self, database: str) -> None:
        """Close the idle connections to `database`: DROP and RENAME refuse while one is there."""
        keep = [idle for idle in self._idle if idle.database != database]
        drop = [idle for idle in self._idle if idle.database == database]
        self._idle = keep
        for idle in drop:
            await self._close(idle.connection)

    async def close_idle(self, older_than_seconds: float = _IDLE_SECONDS) -> None:
        """Close the connections that nobody has used for so long."""
        border = time.monotonic() - older_than_seconds
        drop = [idle for idle in self._idle if idle.since <= border]
        self._idle = [idle for idle in self._idle if idle.since > border]
        for idle in drop:
            await self._close(idle.connection)

    async def close(self) -> None:
        """Close every idle connection now, and the others as they come back."""
        self._closed = True
        await self.close_idle(0)


def _is_usable(connection: Connection) -> bool:
    return (
        not connection.closed
        and not connection.broken
        and connection.info.transaction_status == pq.TransactionStatus.IDLE
        and connection.pgconn.pipeline_status == pq.PipelineStatus.OFF
        and not _has_ended(connection)
    )


def _has_ended(connection: Connection) -> bool:
    # A server that went away leaves an end-of-file waiting on the socket; an idle healthy one is silent.
    try:
        readable, _, _ = select.select([connection.fileno()], [], [], 0)
    except (OSError, ValueError):
        return True
    return bool(readable)
