"""A swap, a staging database and a way back, cut at any statement: the old or the new one is whole, and it goes on."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.postgres.core import left_of, opened, rows
from tests.postgres.restores.restoring import Restore, in_a_restore
from tests.postgres.test_crash_points import behind_proxy, until_gone
from tests.servers.fixtures import Admin

from dbtether.errors import Retryable
from dbtether.postgres.databases.model import DesiredExtension, DesiredSchema
from dbtether.postgres.dumps.model import run_login_name
from dbtether.postgres.restores.looking import look_at_swap
from dbtether.postgres.restores.model import replaced_name

_MOST = 120
WORD = "SELECT word FROM public.t"


async def _cut(found: Restore, point: int, operation: Callable[[Restore], Awaitable[object]]) -> bool:
    async with behind_proxy(found.admin) as (server, proxy):
        proxy.end_after(point, deliver=point % 2 == 0)
        with contextlib.suppress(Retryable):
            await operation(replace(found, server=server))
        was_cut = proxy.cut > 0
    await until_gone(found.admin)
    return was_cut


async def _at_each(admin: Admin, found: Restore, step: int, once: Callable[[Restore, int], Awaitable[bool]]) -> None:
    for point in range(admin.server.major % step, _MOST, step):
        async with opened(admin) as server:
            if not await once(replace(found, server=server, run_id=f"{point:08x}"), point):
                return
    pytest.fail(f"an operation of more than {_MOST} statements")


@pytest.mark.majors(13, 16, 18)
@pytest.mark.parametrize("back", [False, True], ids=["goes on", "goes back"])
def test_a_swap_cut_at_any_statement(admin: Admin, unique: str, every_statement: bool, back: bool) -> None:
    async def once(found: Restore, point: int) -> bool:
        await found.stage_and_load("CREATE TABLE public.t AS SELECT 'new' AS word")
        was_cut = await _cut(found, point, Restore.change_places)
        is_done = (await look_at_swap(found.server, found.swap())).is_done
        names = {name for name in left_of(admin, unique) if not name.startswith("dbtether_")}
        assert found.name in names
        assert (found.replaced in names) is is_done
        assert (found.staging in names) is not is_done
        if found.may_connect(found.dev.name, found.name):
            assert found.as_login(found.dev.name, found.name, WORD) == [("new" if is_done else "old",)]
        if back:
            await found.drop_staging()
        else:
            await found.change_places()
            is_done = True
        assert found.as_login(found.dev.name, found.name, WORD) == [("new" if is_done else "old",)]
        restores = await found.server.restores(found.name, found.target.marker, found.target.roles)
        assert (restores.run_of(f"{found.run_id}hash") is not None) is is_done
        if is_done:
            undo = found.swap(incoming=found.replaced, run_id=f"{point + 4096:08x}")
            assert await found.change_places(undo) != ()
            await found.drop_replaced(undo.outgoing)
        left = await found.server.restores(found.name, found.target.marker, found.target.roles)
        assert (left.staging, left.replaced) == ((), ())
        assert found.as_login(found.dev.name, found.name, WORD) == [("old",)]
        return was_cut

    async def scenario(found: Restore) -> None:
        await _at_each(admin, found, 1 if every_statement else 5, once)

    in_a_restore(admin, unique, scenario)


@pytest.mark.majors(13, 16, 18)
def test_a_way_back_cut_at_any_statement_is_gone_to_its_end(admin: Admin, unique: str, every_statement: bool) -> None:
    async def once(found: Restore, point: int) -> bool:
        await found.stage_and_load("CREATE TABLE public.t AS SELECT 'new' AS word")
        await found.change_places()
        undo = found.swap(incoming=found.replaced, run_id=f"{point + 4096:08x}")
        was_cut = await _cut(found, point, lambda behind: behind.change_places(undo))
        observed = await look_at_swap(found.server, undo)
        if observed.is_swapping:
            # Its time may be over by now, but it is coming back.
            assert await found.drop_replaced() == ()
        if not observed.is_done:
            # Whoever goes on does not know the run that began it.
            undo = replace(undo, run_id=f"{point + 8192:08x}")
            await found.change_places(undo)
        assert found.as_login(found.dev.name, found.name, WORD) == [("old",)]
        assert await found.drop_replaced(undo.outgoing) != ()
        return was_cut

    async def scenario(found: Restore) -> None:
        await _at_each(admin, found, 1 if every_statement else 7, once)

    in_a_restore(admin, unique, scenario)


@pytest.mark.majors(13, 16, 18)
def test_a_staging_database_cut_at_any_statement_is_finished_or_dropped(
    admin: Admin, unique: str, every_statement: bool
) -> None:
    async def once(found: Restore, point: int) -> bool:
        found.extensions = (DesiredExtension("fuzzystrmatch", schema="ext"),)

        async def prepare(behind: Restore) -> None:
            await behind.stage()
            await behind.begin(behind.staging)

        was_cut = await _cut(found, point, prepare)
        if point % 3 == 0:
            await found.drop_staging()
            await found.end()
            assert not {found.staging, found.login} & set(left_of(admin, found.run_id))
            return was_cut
        await found.stage()
        await found.begin(found.staging)
        assert await found.stage() == ()
        assert not found.may_connect(found.dev.name, found.staging)
        found.as_run(found.staging, "CREATE TABLE app.t (word public.citext)", "SELECT ext.levenshtein('a', 'a')")
        await found.drop_staging()
        await found.end()
        return was_cut

    async def scenario(found: Restore) -> None:
        await _at_each(admin, found, 1 if every_statement else 7, once)
        assert rows(admin, "SELECT 1 FROM pg_roles WHERE rolname = %s", run_login_name(found.run_id)) == []
        assert replaced_name(unique, found.run_id) not in left_of(admin, unique)

    in_a_restore(admin, unique, scenario, schemas=(DesiredSchema("app"),), extensions=(DesiredExtension("citext"),))
