"""The shared catalogs of one server, read in batches.

Requests that come while a query is on its way wait for the next one and share it: a thousand resources
reconciled side by side cost a few dozen round trips, and each answer is younger than its request.

A glance (`postgres.glance`) is content with an older answer. Glances share one picture of everything that is
ours, as long as this process has changed nothing on the server since.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from psycopg.rows import class_row, dict_row

from dbtether.errors import DbtetherError
from dbtether.postgres.databases.model import Database
from dbtether.postgres.databases.observe import DATABASES, database_from_row, provider_columns
from dbtether.postgres.pool import Connection
from dbtether.postgres.roles.model import Membership, Role
from dbtether.postgres.roles.observe import (
    DATABASE_PRIVILEGES,
    MEMBERSHIPS,
    NO_VERIFIER,
    OPTIONS_15,
    OPTIONS_16,
    ROLES,
    SETTINGS,
    STRAY_SESSIONS,
    VERIFIER,
    roles_from_rows,
)
from dbtether.postgres.server.model import ServerFacts

# Where the server changes all the time, a picture is not worth taking more often.
_PAUSE_SECONDS = 5.0

# What carries a marker of ours, what is named as ours, and the admin.
_NAMES = b"""
SELECT pg_catalog.array_agg(r.rolname::text) AS names
  FROM pg_catalog.pg_roles r
  LEFT JOIN pg_catalog.pg_shdescription d
    ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
 WHERE pg_catalog.starts_with(r.rolname, 'dbtether_') OR pg_catalog.starts_with(d.description, 'dbtether:')
    OR r.rolname = session_user
UNION ALL SELECT pg_catalog.array_agg(datname::text) FROM pg_catalog.pg_database
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """Roles and databases by name, as far as they exist."""

    roles: dict[str, Role]
    databases: dict[str, Database]


async def observe_shared(
    connection: Connection, server: ServerFacts, roles: Iterable[str], databases: Iterable[str]
) -> Shared:
    """The roles and databases of these names, in one round trip. Raises psycopg.Error."""
    names = sorted(set(roles))
    verifier = VERIFIER if server.is_superuser else NO_VERIFIER
    options = OPTIONS_16 if server.memberships_have_options else OPTIONS_15
    async with connection.pipeline():
        role_rows = await connection.cursor(row_factory=dict_row).execute(
            ROLES.format(verifier=verifier).encode(), (names,)
        )
        membership_rows = await connection.cursor(row_factory=class_row(Membership)).execute(
            MEMBERSHIPS.format(options=options).encode(), (names,)
        )
        setting_rows = await connection.cursor(row_factory=dict_row).execute(SETTINGS, (names,))
        privilege_rows = await connection.cursor(row_factory=dict_row).execute(DATABASE_PRIVILEGES, (names,))
        stray_rows = await connection.cursor().execute(STRAY_SESSIONS, (names,))
        database_rows = await connection.cursor(row_factory=dict_row).execute(
            DATABASES.format(**provider_columns(server.major)).encode(), (sorted(set(databases)),)
        )
    return Shared(
        roles=roles_from_rows(
            await role_rows.fetchall(),
            await membership_rows.fetchall(),
            await setting_rows.fetchall(),
            await privilege_rows.fetchall(),
            {str(name) for (name,) in await stray_rows.fetchall()},
        ),
        databases={row["name"]: database_from_row(row) for row in await database_rows.fetchall()},
    )


async def observe_everything(connection: Connection, server: ServerFacts) -> Shared:
    """All roles that are ours, and all databases, in two round trips. Raises psycopg.Error."""
    cursor = await connection.execute(_NAMES)
    roles, databases = [row[0] or [] for row in await cursor.fetchall()]
    assert isinstance(roles, list)
    assert isinstance(databases, list)
    return await observe_shared(connection, server, roles, databases)


@dataclass(frozen=True, slots=True)
class _Picture:
    shared: Shared
    taken: float

    def shows(self, roles: Iterable[str], databases: Iterable[str]) -> bool:
        """Whether everything that is asked for is in it; what it lacks may exist by now."""
        return all(name in self.shared.roles for name in roles) and all(
            name in self.shared.databases for name in databases
        )


@dataclass(slots=True)
class _Batch:
    roles: set[str]
    databases: set[str]
    answer: asyncio.Future[Shared]


class Catalog:
    """Joins requests for shared facts into few queries, one on its way at a time."""

    def __init__(
        self,
        read: Callable[[set[str], set[str]], Awaitable[Shared]],
        read_everything: Callable[[], Awaitable[Shared]],
    ) -> None:
        self._read = read
        self._read_everything = read_everything
        self._next: _Batch | None = None
        self._reader: asyncio.Task[None] | None = None
        self._picture: _Picture | None = None
        self._painter: asyncio.Task[None] | None = None
        self._begun = -_PAUSE_SECONDS
        self._not_before = 0.0
        self._changes = 0
        self.queries = 0

    def changed(self) -> None:
        """Tell that this process has changed something on the server: what was read before is not shown again."""
        self._changes += 1
        self._picture = None
        self._not_before = self._begun + _PAUSE_SECONDS

    async def glance(self, roles: Iterable[str], databases: Iterable[str], seconds: float) -> Shared:
        """The facts of (at least) these names, so many seconds old at most. Raises what the query raises."""
        roles, databases = tuple(roles), tuple(databases)
        picture = await self._recent(seconds)
        if picture is not None and picture.shows(roles, databases):
            return picture.shared
        return await self.observe(roles, databases)

    async def _recent(self, seconds: float) -> _Picture | None:
        now = asyncio.get_running_loop().time()
        if self._picture is not None and now - self._picture.taken <= seconds:
            return self._picture
        if self._painter is None or self._painter.done():
            if now < self._not_before:
                return None
            self._begun = now
            self._painter = asyncio.create_task(self._paint(now, seconds), name="picture of the shared catalogs")
        await asyncio.shield(self._painter)
        return self._picture

    async def _paint(self, now: float, seconds: float) -> None:
        changes = self._changes
        self.queries += 1
        try:
            shared = await self._read_everything()
        except DbtetherError:
            # Whoever needs an answer asks for it by name, and is told.
            return
        if changes == self._changes:
            self._picture = picture = _Picture(shared, now)
            # Thousands of roles are not kept in memory between two resyncs.
            asyncio.get_running_loop().call_later(seconds, self._drop, picture)

    def _drop(self, picture: _Picture) -> None:
        if self._picture is picture:
            self._picture = None

    async def observe(self, roles: Iterable[str], databases: Iterable[str] = ()) -> Shared:
        """The facts of (at least) these names, read after this call began. Raises what the query raises."""
        if self._next is None:
            self._next = _Batch(set(), set(), asyncio.get_running_loop().create_future())
        batch = self._next
        batch.roles.update(roles)
        batch.databases.update(databases)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._run())
        return await asyncio.shield(batch.answer)

    async def _run(self) -> None:
        while self._next is not None:
            batch, self._next = self._next, None
            self.queries += 1
            try:
                answer = await self._read(batch.roles, batch.databases)
            except asyncio.CancelledError:
                batch.answer.cancel()
                raise
            except Exception as error:
                batch.answer.set_exception(error)
                # Whoever waited may be gone by now; the error is theirs, not the loop's.
                batch.answer.exception()
            else:
                batch.answer.set_result(answer)
