"""A server that the admin is connected to: its facts, its pool, and everything that observes or applies."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Self

import psycopg
from psycopg.rows import dict_row

from dbtether.api.names import Group, Marker, marker_in
from dbtether.postgres import apply as applying
from dbtether.postgres.catalog import Catalog, Shared, observe_everything, observe_shared
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.databases.model import AvailableExtension, Database, Inside, Session, new_inside
from dbtether.postgres.databases.observe import observe_available, observe_inside, observe_sessions
from dbtether.postgres.databases.owned import observe_owned
from dbtether.postgres.dumps.model import DumpSource
from dbtether.postgres.dumps.observe import observe_dump_source, observe_expired_runs
from dbtether.postgres.errors import ConnectError, classify, connect_failure
from dbtether.postgres.glance import glance_seconds
from dbtether.postgres.pool import Connection, Pool
from dbtether.postgres.restores.model import Restores, RestoreTarget, record_in, restores_beside, run_beside
from dbtether.postgres.restores.observe import (
    Surroundings,
    observe_names_beside,
    observe_restore_target,
    observe_surroundings,
)
from dbtether.postgres.roles.model import Belongings, Dependents, RoleNames
from dbtether.postgres.roles.observe import DATABASES_OF_OWNER, DEPENDENTS, REACHED, SESSIONS, dependents_from_rows
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.server.observe import observe_server
from dbtether.postgres.server.preflight import Preflight, observe_preflight
from dbtether.postgres.sharedwriter import SharedWriter
from dbtether.postgres.statement import Statement


class Server:
    """One PostgreSQL server as its admin sees it. Every method raises Retryable or Blocked on failure."""

    def __init__(
        self,
        parameters: ConnectParameters,
        maintenance_database: str,
        limit: int,
        name: str,
        fence: applying.Fence = applying.no_fence,
    ) -> None:
        self.parameters = parameters
        self.maintenance_database = maintenance_database
        self.pool = Pool(parameters, limit, f"dbtether: {name}")
        self._facts: ServerFacts | None = None
        self._catalog = Catalog(self._read_shared, self._read_everything)
        self._locks: dict[str, asyncio.Lock] = {}
        self._fence = fence
        self._shared_writer = SharedWriter(partial(applying.run_parts, self.pool, maintenance_database, fence=fence))

    @classmethod
    async def open(
        cls,
        parameters: ConnectParameters,
        maintenance_database: str,
        limit: int,
        name: str,
        fence: applying.Fence = applying.no_fence,
    ) -> Self:
        """A server that has answered and told its facts. Raises Retryable or Blocked."""
        server = cls(parameters, maintenance_database, limit, name, fence)
        try:
            await server.refresh()
        except BaseException:
            await server.close()
            raise
        return server

    @property
    def facts(self) -> ServerFacts:
        """Version and the admin's rights as last observed."""
        assert self._facts is not None, "open() has observed them"
        return self._facts

    @property
    def catalog_queries(self) -> int:
        """How many round trips the shared catalogs have cost."""
        return self._catalog.queries

    async def refresh(self) -> ServerFacts:
        """Observe the server's facts anew."""
        async with self._use(
            self.maintenance_database, f"look at the server {self.parameters.host}:{self.parameters.port}"
        ) as connection:
            self._facts = await observe_server(connection)
        self.pool.major = self._facts.major
        return self._facts

    async def preflight(self, installation: str, most: int) -> Preflight:
        """What a DBA must give the admin, and should close: one query, about roles marked by the installation."""
        async with self._use(self.maintenance_database, "look for what the admin lacks") as connection:
            return await observe_preflight(connection, self.facts, installation, most)

    async def close(self) -> None:
        """Let the transaction that runs now end, and close the pool."""
        await self._shared_writer.close()
        await self.pool.close()

    def lock(self, name: str) -> asyncio.Lock:
        """The lock of one database or login within this process: one writer each."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def shared(self, roles: Iterable[str], databases: Iterable[str] = ()) -> Shared:
        """Roles and databases by name, read in a batch with other callers' requests.

        In a glance (`postgres.glance`) they may be a little old.
        """
        if (seconds := glance_seconds()) is not None:
            return await self._catalog.glance(roles, databases, seconds)
        return await self._catalog.observe(roles, databases)

    async def inside(
        self, database: Database | None, name: str, extensions: Sequence[str], *, owned_by: str | None = None
    ) -> Inside | None:
        """What is in the database; what will be in it when it is new; with what the role `owned_by` has there.

        None when the admin cannot look: closed, half dropped, or CONNECT is only about to be granted.
        """
        if database is None:
            available: tuple[AvailableExtension, ...] = ()
            if extensions:
                async with self._use(self.maintenance_database, "look for extensions") as connection:
                    available = await observe_available(connection, extensions)
            return new_inside(self.facts, available)
        if not database.allows_connections and marker_in(database.comment) is None:
            # A creation that was interrupted: nobody has ever been in it.
            return await self.inside(None, name, extensions)
        if not database.allows_connections or database.connection_limit == -2 or not database.admin_can_connect:
            return None
        async with self._use(name, f"look into database {name}") as connection:
            inside = await observe_inside(connection, extensions)
            if owned_by is None:
                return inside
            return replace(inside, owned=await observe_owned(connection, owned_by))

    async def dump_source(self, database: str, roles: RoleNames) -> DumpSource:
        """What a dump of the database needs to know."""
        async with self._use(database, f"look into database {database}") as connection:
            return await observe_dump_source(connection, roles, self.facts.major)

    async def restore_target(self, database: str, roles: RoleNames) -> RestoreTarget:
        """What is in a database that is to be restored into."""
        async with self._use(database, f"look into database {database}") as connection:
            return await observe_restore_target(connection, roles)

    async def restores(
        self, database: str, marker: Marker, roles: RoleNames, known_owners: Iterable[str] = ()
    ) -> Restores:
        """What restores have left beside a database: the record, staging databases and replaced ones."""
        async with self._use(self.maintenance_database, "look for what restores have left") as connection:
            names = await observe_names_beside(connection)
        group = roles.groups[Group.READWRITE]
        shared = await self.shared([group], [name for name in names if run_beside(database, name) is not None])
        readwrite = shared.roles.get(group)
        record = record_in(None if readwrite is None else readwrite.comment)
        beside = [shared.databases[name] for name in names if name in shared.databases]
        return restores_beside(database, marker, {roles.owner, *known_owners}, beside, record)

    async def surroundings(self, databases: Sequence[str]) -> Surroundings:
        """Who is in databases, which roles have settings there, and what is in a rename's way."""
        async with self._use(self.maintenance_database, "look what surrounds a database") as connection:
            return await observe_surroundings(connection, databases, self.facts.major)

    async def expired_runs(self, installation: str) -> tuple[str, ...]:
        """The logins that runs of the installation have left behind, and that have expired."""
        async with self._use(self.maintenance_database, "look for logins of runs that are over") as connection:
            return await observe_expired_runs(connection, installation)

    async def dependents(self, role: str) -> Dependents:
        """What holds a role back from being dropped."""
        async with self._use(self.maintenance_database, f"look for what {role} owns") as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(DEPENDENTS, (role,))
            rows = await cursor.fetchall()
            await cursor.execute(SESSIONS, (role,))
            sessions = await cursor.fetchone()
        return dependents_from_rows(rows, sessions["sessions"] if sessions else 0)

    async def belongings(self, role: str) -> Belongings:
        """What a role that is to be adopted has, and whom it can act as."""
        dependents = await self.dependents(role)
        async with self._use(self.maintenance_database, f"look whom {role} can act as") as connection:
            rows = await (await connection.execute(REACHED, (role,))).fetchall()
        return Belongings(
            dependents,
            tuple(str(name) for name, _ in rows),
            tuple(str(name) for name, is_powerful in rows if is_powerful),
        )

    async def databases_of_owner(self, owner: str) -> tuple[str, ...]:
        """The databases that the role owns, sorted."""
        async with self._use(self.maintenance_database, f"look for the database of {owner}") as connection:
            cursor = await connection.execute(DATABASES_OF_OWNER, (owner,))
            return tuple(str(name) for (name,) in await cursor.fetchall())

    async def sessions(self, database: str) -> tuple[Session, ...]:
        """Who is connected to a database."""
        async with self._use(self.maintenance_database, f"look who uses database {database}") as connection:
            return await observe_sessions(connection, database)

    async def apply(self, statements: Sequence[Statement], subject: str) -> None:
        """Run a plan (postgres.apply)."""
        # Before, since a part may be committed although the rest fails; after, for whoever read meanwhile.
        self._catalog.changed()
        try:
            await applying.apply(
                self.pool, self.maintenance_database, statements, subject, self._shared_writer, self._fence
            )
        finally:
            self._catalog.changed()

    async def rehearse(self, statements: Sequence[Statement]) -> None:
        """Run the part of a plan that concerns the shared catalogs, and roll it back."""
        await applying.rehearse(self.pool, self.maintenance_database, statements)

    async def _read_shared(self, roles: set[str], databases: set[str]) -> Shared:
        async with self._use(self.maintenance_database, "read roles and databases") as connection:
            return await observe_shared(connection, self.facts, roles, databases)

    async def _read_everything(self) -> Shared:
        async with self._use(self.maintenance_database, "read roles and databases") as connection:
            return await observe_everything(connection, self.facts)

    @asynccontextmanager
    async def _use(self, database: str, doing: str) -> AsyncIterator[Connection]:
        try:
            async with self.pool.connection(database) as connection:
                yield connection
        except ConnectError as error:
            raise connect_failure(error, doing) from None
        except psycopg.Error as error:
            raise classify(error, doing) from None
