"""The shared catalogs of one server, read in batches.

Requests that come while a query is on its way wait for the next one and share it: a thousand resources
reconciled side by side cost a few dozen round trips, and each answer is younger than its request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from psycopg.rows import class_row, dict_row

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


@dataclass(slots=True)
class _Batch:
    roles: set[str]
    databases: set[str]
    answer: asyncio.Future[Shared]


class Catalog:
    """Joins requests for shared facts into few queries, one on its way at a time."""

    def __init__(self, read: Callable[[set[str], set[str]], Awaitable[Shared]]) -> None:
        self._read = read
        self._next: _Batch | None = None
        self._reader: asyncio.Task[None] | None = None
        self.queries = 0

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
