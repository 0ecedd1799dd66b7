"""A database with users and data, and the steps of a restore around its load, put together for tests."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from tests.postgres.core import PASSWORD, desired_database, desired_login, rows, run, settle_database, settle_login
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension, ObservedDatabase
from dbtether.postgres.dumps.model import DesiredRunLogin, run_comment, run_login_name
from dbtether.postgres.dumps.plan import plan_end
from dbtether.postgres.passwords import scram_verifier
from dbtether.postgres.restores.guards import staging_blocked, swap_blocked
from dbtether.postgres.restores.looking import look_at_drop, look_at_login, look_at_staging, look_at_swap
from dbtether.postgres.restores.model import (
    Completed,
    DesiredLocale,
    DesiredStaging,
    DesiredSwap,
    replaced_name,
    staging_name,
)
from dbtether.postgres.restores.plan import (
    plan_drop_replaced,
    plan_drop_staging,
    plan_login,
    plan_open,
    plan_staging,
    plan_swap,
)
from dbtether.postgres.roles.model import DesiredLogin
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement

UNTIL = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)


@dataclass(slots=True)
class Restore:
    """One run of a restore into a database of a server."""

    admin: Admin
    server: Server
    target: DesiredDatabase
    run_id: str
    extensions: tuple[DesiredExtension, ...] = ()
    locale: DesiredLocale | None = None

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def staging(self) -> str:
        return staging_name(self.name, self.run_id)

    @property
    def replaced(self) -> str:
        return replaced_name(self.name, self.run_id)

    @property
    def login(self) -> str:
        return run_login_name(self.run_id)

    @property
    def dev(self) -> DesiredLogin:
        """Somebody of the admins' group."""
        return desired_login(f"{self.name}-dev", (self.name, Group.ADMIN))

    @property
    def reader(self) -> DesiredLogin:
        return desired_login(f"{self.name}-reader", (self.name, Group.READONLY))

    async def apply(self, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        await self.server.apply(statements, "restore")
        return statements

    # ---- the login

    async def begin(self, database: str) -> tuple[Statement, ...]:
        desired = DesiredRunLogin(
            name=self.login,
            comment=run_comment("Restore", "team", "again", "test"),
            database=database,
            roles=self.target.roles,
            groups=(),
            expires=datetime.now(UTC) + timedelta(minutes=10),
            verifier=scram_verifier(PASSWORD, self.login),
        )
        return await self.apply(plan_login(desired, await look_at_login(self.server, self.login)))

    async def end(self) -> None:
        await self.apply(plan_end(await look_at_login(self.server, self.login)))

    # ---- the staging database

    async def desired_staging(self) -> DesiredStaging:
        found = (await self.server.shared([], [self.name])).databases[self.name]
        locale = self.locale or DesiredLocale.of(found)
        return DesiredStaging(self.target, self.run_id, locale, (*self.target.extensions, *self.extensions))

    async def look_at_staging(self) -> tuple[DesiredStaging, ObservedDatabase]:
        desired = await self.desired_staging()
        return desired, await look_at_staging(self.server, desired)

    async def stage(self) -> tuple[Statement, ...]:
        desired, observed = await self.look_at_staging()
        if (blocked := staging_blocked(desired, observed)) is not None:
            raise blocked
        return await self.apply(plan_staging(desired, observed))

    async def stage_and_load(self, *statements: str) -> None:
        """As a run does: the staging database, its login, and statements as that login."""
        await self.stage()
        await self.begin(self.staging)
        self.as_run(self.staging, *statements)
        await self.end()

    async def drop_staging(self) -> tuple[Statement, ...]:
        await self.apply(plan_open(self.swap(), await look_at_swap(self.server, self.swap())))
        looked = await look_at_drop(self.server, self.staging, self.target.roles)
        return await self.apply(plan_drop_staging(self.name, self.run_id, self.target.roles, looked))

    # ---- the swap

    def swap(self, incoming: str | None = None, run_id: str | None = None) -> DesiredSwap:
        run_id = run_id or self.run_id
        return DesiredSwap(
            database=self.name,
            marker=self.target.marker,
            roles=self.target.roles,
            run_id=run_id,
            incoming=incoming or self.staging,
            expires=UNTIL,
            completed=None if incoming else Completed(f"{run_id}hash", run_id),
            known_owners=self.target.known_owners,
        )

    async def change_places(self, desired: DesiredSwap | None = None) -> tuple[Statement, ...]:
        desired = desired or self.swap()
        observed = await look_at_swap(self.server, desired)
        if (blocked := swap_blocked(desired, observed)) is not None:
            raise blocked
        return await self.apply(plan_swap(desired, observed))

    async def drop_replaced(self, name: str | None = None) -> tuple[Statement, ...]:
        roles = self.target.roles
        looked = await look_at_drop(self.server, name or self.replaced, roles, self.target.known_owners)
        return await self.apply(plan_drop_replaced(self.name, self.target.marker, roles, looked))

    # ---- who does what

    def as_run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        return self.as_login(self.login, database, *statements)

    def as_login(self, login: str, database: str, *statements: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with psycopg.connect(self.admin.server.dsn(login, PASSWORD, database), autocommit=True) as connection:
            for text in statements:
                cursor = connection.execute(text.encode())
                found = cursor.fetchall() if cursor.description else []
        return found

    def may_connect(self, login: str, database: str) -> bool:
        try:
            self.as_login(login, database, "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def superuser_reads(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        return rows(self.admin, query, dbname=database)


def in_a_restore(admin: Admin, unique: str, scenario: Callable[[Restore], Awaitable[None]], **changes: object) -> None:
    """Run the scenario on a database `unique` with an admin user, a reader and a table `t` that says `old`."""

    async def prepared(server: Server) -> None:
        target = desired_database(unique, **changes)
        await settle_database(server, target)
        found = Restore(admin, server, target, unique[-8:])
        await settle_login(server, found.dev)
        await settle_login(server, found.reader)
        admins = target.roles.groups[Group.ADMIN]
        if server.facts.major < 15:
            rows(admin, f'GRANT CREATE ON SCHEMA public TO "{admins}"', dbname=unique)
        found.as_login(found.dev.name, unique, "CREATE TABLE public.t AS SELECT 'old' AS word")
        try:
            await scenario(found)
        finally:
            await found.end()

    run(admin, prepared)
