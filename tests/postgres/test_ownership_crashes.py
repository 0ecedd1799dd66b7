"""A change of hands cut at any statement: nothing is lost, and the next reconcile finishes."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from tests.postgres.core import (
    desired_database,
    desired_login,
    drop_database,
    drop_login,
    execute,
    left_of,
    make_database,
    opened,
    rows,
    settle_database,
    settle_login,
)
from tests.postgres.test_crash_points import behind_proxy
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.server.access import Server

_MOST = 80


@pytest.mark.majors(15, 16, 18)
@pytest.mark.parametrize("adopts", [True, False], ids=["adoption", "owner"])
def test_a_change_of_hands_cut_at_any_statement_is_finished(admin: Admin, unique: str, adopts: bool) -> None:
    plain = desired_database(f"{unique}_app", revoke_public_connect=not adopts, adopts=adopts)
    login = desired_login(f"{unique}-u", (plain.name, Group.ADMIN), verifier=None)
    owned = replace(plain, owner=login.name, known_owners=frozenset({login.name}))
    legacy = f"{unique}-legacy"

    async def cut_after(point: int) -> bool:
        async with opened(admin) as server:
            if adopts:
                execute(admin, "CREATE ROLE {} LOGIN", legacy)
                if server.facts.acts_as_owner:
                    execute(admin, "GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", legacy, admin.user)
                execute(admin, "CREATE DATABASE {} OWNER {} TEMPLATE template0", plain.name, legacy)
                execute(admin, "CREATE TABLE t (); ALTER TABLE t OWNER TO {}", legacy, dbname=plain.name)
            else:
                await settle_database(server, plain)
                await settle_login(server, login)
        async with behind_proxy(admin) as (server, proxy):
            proxy.end_after(point, deliver=point % 2 == 0)
            with contextlib.suppress(Retryable):
                await make_database(server, plain if adopts else owned)
            was_cut = proxy.cut > 0
        async with opened(admin) as server:
            await settle_database(server, plain if adopts else owned)
            if adopts:
                assert rows(admin, "SELECT count(*) FROM pg_class WHERE relname = 't'", dbname=plain.name) == [(1,)]
            with contextlib.suppress(Blocked):
                await _gone(server)
            await _gone(server)
        if adopts:
            execute(admin, "DROP ROLE {}", legacy)
        assert left_of(admin, unique) == []
        return was_cut

    async def _gone(server: Server) -> None:
        await drop_database(server, owned)
        if not adopts:
            await drop_login(server, login)
            await drop_database(server, owned)

    async def main() -> None:
        for point in range(admin.server.major % 4, _MOST, 4):
            if not await cut_after(point):
                return
        pytest.fail(f"a change of hands of more than {_MOST} statements")

    asyncio.run(main())
