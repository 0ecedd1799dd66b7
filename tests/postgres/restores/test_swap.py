"""A restored database takes the other's place, and gives it back: whole, with all its properties, closed to nobody."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from tests.postgres.core import (
    PASSWORD,
    desired_login,
    execute,
    left_of,
    rows,
    settle_database,
    settle_login,
)
from tests.postgres.restores.restoring import UNTIL, Restore, in_a_restore
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.restores.guards import swap_blocked
from dbtether.postgres.restores.looking import look_at_swap
from dbtether.postgres.restores.model import Completed, Replaced, replaced_comment, replaced_name
from dbtether.postgres.restores.plan import plan_record, plan_swap
from dbtether.postgres.restores.properties import left_behind

NEW = ("CREATE TABLE public.t AS SELECT 'new' AS word",)
WORD = "SELECT word FROM public.t"


def test_the_restored_database_takes_the_place_with_everything_that_belongs_to_the_name(
    admin: Admin, unique: str
) -> None:
    async def scenario(found: Restore) -> None:
        stranger = f"{unique}-stranger"
        execute(admin, "CREATE ROLE {} LOGIN PASSWORD 'Correct7Horse'", stranger)
        execute(admin, "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", unique, stranger)
        execute(admin, 'ALTER DATABASE {} SET search_path = app, "$user", public', unique)
        execute(admin, "ALTER DATABASE {} SET work_mem = '9MB'", unique)
        execute(admin, "ALTER DATABASE {} CONNECTION LIMIT 17", unique)
        execute(admin, "ALTER ROLE {} IN DATABASE {} SET statement_timeout = '7s'", found.reader.name, unique)
        await found.stage_and_load(*NEW)
        before = (await found.server.shared([], [unique])).databases[unique]
        assert await found.change_places() != ()
        assert await found.change_places() == ()
        after = (await found.server.shared([], [unique, found.replaced])).databases
        assert replace(after[unique], oid=before.oid, acl=()) == replace(before, acl=())
        assert set(after[unique].acl) == set(before.acl)
        assert not after[found.replaced].allows_connections
        assert found.as_login(found.dev.name, unique, "SELECT word, current_user::text FROM public.t") == [
            ("new", found.target.roles.groups[Group.ADMIN])
        ]
        assert found.as_login(found.reader.name, unique, WORD, "SHOW statement_timeout") == [("7s",)]
        assert found.as_login(stranger, unique, "SELECT 1") == [(1,)]
        execute(admin, "ALTER DATABASE {} CONNECTION LIMIT -1", unique)
        execute(admin, "REVOKE ALL ON DATABASE {} FROM {}", unique, stranger)
        await settle_database(found.server, found.target)
        await settle_login(found.server, found.dev)

    in_a_restore(admin, unique, scenario)


def test_what_took_place_is_recorded_and_the_old_database_is_kept_and_told(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        await found.change_places()
        marker, roles = found.target.marker, found.target.roles
        restores = await found.server.restores(unique, marker, roles)
        assert restores.staging == ()
        assert restores.replaced == (Replaced(found.replaced, found.run_id, UNTIL, marker),)
        assert restores.run_of(f"{found.run_id}hash") == found.run_id
        # The controllers leave the record, and the comments, alone.
        await settle_database(found.server, found.target)
        readwrite = (await found.server.shared(roles.all)).roles[roles.groups[Group.READWRITE]]
        again = Completed("another", "00000000")
        await found.apply(plan_record(roles, again, readwrite, found.server.facts))
        assert await found.server.restores(unique, marker, roles) == replace(restores, record=(again, *restores.record))

    in_a_restore(admin, unique, scenario)


def test_going_back_is_a_swap_too(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        await found.change_places()
        back = found.swap(incoming=found.replaced, run_id="0badcafe")
        execute(admin, "ALTER DATABASE {} SET work_mem = '9MB'", unique)
        assert await found.change_places(back) != ()
        assert found.as_login(found.dev.name, unique, WORD, "SHOW work_mem") == [("9MB",)]
        assert found.as_login(found.dev.name, unique, WORD) == [("old",)]
        restores = await found.server.restores(unique, found.target.marker, found.target.roles)
        assert [item.run_id for item in restores.replaced] == ["0badcafe"]
        assert restores.run_of(f"{found.run_id}hash") == found.run_id
        with pytest.raises(Blocked, match="not on the server") as caught:
            await found.change_places(found.swap(incoming=found.replaced, run_id="0ff1ce00"))
        assert caught.value.reason == "DatabaseNotFound"
        assert await found.drop_replaced(replaced_name(unique, "0badcafe")) != ()
        assert [name for name in left_of(admin, unique) if "__before_" in name] == []

    in_a_restore(admin, unique, scenario)


@contextlib.contextmanager
def reconnecting(found: Restore, logins: list[str]) -> Iterator[list[str]]:
    """Clients that connect, read and are thrown out, in a loop; what they have read, in order."""
    words: list[str] = []
    stop = threading.Event()

    def client(login: str) -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(
                    found.admin.server.dsn(login, PASSWORD, found.name), autocommit=True
                ) as connection:
                    while not stop.is_set():
                        row = connection.execute("SELECT word FROM public.t").fetchone()
                        words.append(str(row[0]) if row else "")
                        stop.wait(0.005)
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=client, args=(login,)) for login in logins]
    for thread in threads:
        thread.start()
    try:
        yield words
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_clients_that_reconnect_in_a_loop_do_not_hold_it_back_and_see_old_or_new(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        with reconnecting(found, [found.dev.name, found.reader.name] * 3) as words:
            while len(words) < 50:
                await asyncio.sleep(0.01)
            for _ in range(5):
                try:
                    await found.change_places()
                except Retryable as retryable:
                    if retryable.reason != "ObjectInUse":
                        raise
                else:
                    break
            words_before = len(words)
            while len(words) < words_before + 20:
                await asyncio.sleep(0.01)
        assert set(words) == {"old", "new"}
        assert words[-1] == "new"

    in_a_restore(admin, unique, scenario)


def test_nobody_gets_into_the_replaced_database_or_can_make_it_another(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        await found.change_places()
        for login in (found.dev.name, found.reader.name):
            assert not found.may_connect(login, found.replaced)
            for text in (
                f'COMMENT ON DATABASE "{found.replaced}" IS NULL',
                f'ALTER DATABASE "{found.replaced}" ALLOW_CONNECTIONS true',
                f'DROP DATABASE "{found.replaced}"',
                f'ALTER DATABASE "{found.replaced}" RENAME TO x',
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    found.as_login(login, unique, text)

    in_a_restore(admin, unique, scenario)


def test_the_database_of_a_named_owner_stays_that_owners(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        owner = found.dev.name
        found.target = replace(found.target, owner=owner, known_owners=frozenset({owner}))
        await settle_database(found.server, found.target)
        await found.stage_and_load(*NEW)
        await found.change_places()
        databases = (await found.server.shared([], [unique, found.replaced])).databases
        assert [databases[name].owner for name in (unique, found.replaced)] == [owner, owner]
        assert found.as_login(owner, unique, WORD) == [("new",)]
        await settle_database(found.server, found.target)
        await found.change_places(found.swap(incoming=found.replaced, run_id="0badcafe"))
        assert found.as_login(owner, unique, WORD) == [("old",)]
        await settle_database(found.server, found.target)
        assert await found.drop_replaced(replaced_name(unique, "0badcafe")) != ()

    in_a_restore(admin, unique, scenario)


def test_a_swap_that_will_not_go_on_opens_what_it_closed(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        desired = found.swap()
        statements = plan_swap(desired, await look_at_swap(found.server, desired))
        closing = statements[: next(i for i, item in enumerate(statements) if item.new_transaction)]
        await found.apply(closing)
        assert not found.may_connect(found.dev.name, unique)
        assert not found.may_connect(found.dev.name, found.staging)
        observed = await look_at_swap(found.server, desired)
        assert observed.is_swapping
        assert swap_blocked(desired, observed) is None
        await found.drop_staging()
        assert found.as_login(found.dev.name, unique, WORD) == [("old",)]
        assert found.staging not in left_of(admin, unique)

    in_a_restore(admin, unique, scenario)


def test_a_database_that_somebody_closed_stays_closed(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        execute(admin, "ALTER DATABASE {} ALLOW_CONNECTIONS false", unique)
        with pytest.raises(Blocked, match="no swap has closed it") as caught:
            await found.change_places()
        assert caught.value.reason == "DatabaseClosed"
        await found.drop_staging()
        assert not found.may_connect(found.dev.name, unique)

    in_a_restore(admin, unique, scenario)


def until_alone(found: Restore) -> None:
    """A session is there for a moment after its client has gone."""
    while rows(found.admin, "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usesysid = 10", found.name):
        time.sleep(0.01)


def test_a_session_that_the_admin_may_not_end_is_told_and_nothing_is_closed(admin: Admin, unique: str) -> None:
    if admin.is_superuser:
        pytest.skip("a superuser ends any session")

    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        with admin.server.connect(dbname=unique), pytest.raises(Blocked, match="Superuser postgres is connected"):
            await found.change_places()
        assert found.as_login(found.dev.name, unique, WORD) == [("old",)]
        until_alone(found)
        await found.change_places()

    in_a_restore(admin, unique, scenario)


def comment_on(found: Restore, text: str) -> None:
    with found.admin.server.connect() as connection:
        names = sql.Identifier(found.replaced), sql.Literal(text)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(*names))


def test_only_what_is_marked_as_replaced_is_dropped(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        await found.change_places()
        comment = replaced_comment(found.target.marker, found.run_id, UNTIL)
        for other in (
            "somebody's own words",
            comment.replace(found.run_id, "00000000"),
            comment.replace("team/", "other/"),
            f"{comment} swapping",
        ):
            comment_on(found, other)
            assert await found.drop_replaced() == ()
        comment_on(found, comment)
        execute(admin, "ALTER DATABASE {} OWNER TO postgres", found.replaced)
        assert await found.drop_replaced() == ()
        assert await found.drop_replaced(unique) == ()
        assert {unique, found.replaced} <= set(left_of(admin, unique))

    in_a_restore(admin, unique, scenario)


def test_what_only_a_dba_may_set_is_told_beforehand(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        execute(admin, "ALTER DATABASE {} SET log_statement = 'ddl'", unique)
        execute(admin, "ALTER ROLE postgres IN DATABASE {} SET work_mem = '5MB'", unique)
        execute(admin, "ALTER ROLE postgres IN DATABASE {} SET log_statement = 'all'", unique)
        await found.stage_and_load(*NEW)
        left = left_behind(found.swap(), await look_at_swap(found.server, found.swap()))
        await found.change_places()
        if admin.is_superuser:
            assert left == ()
        else:
            assert len(left) == 3
        for text in left:
            with admin.server.connect() as connection:
                connection.execute(text.encode())
        found_settings = rows(
            admin,
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s "
            "AND setrole IN (0, 10) ORDER BY setrole",
            unique,
        )
        assert [sorted(items) for (items,) in found_settings] == [
            ["log_statement=ddl"],
            ["log_statement=all", "work_mem=5MB"],
        ]

    in_a_restore(admin, unique, scenario)


OBSTACLES = {
    "a prepared transaction": (
        ("BEGIN", "CREATE TABLE public.pending ()", "PREPARE TRANSACTION '{}-gid'"),
        "has a prepared transaction",
        ("ROLLBACK PREPARED '{}-gid'",),
    ),
    "a logical slot": (
        ("SELECT pg_create_logical_replication_slot('{}_slot', 'pgoutput')",),
        "_slot reads database",
        ("SELECT pg_drop_replication_slot('{}_slot')",),
    ),
    "a subscription": (
        ("CREATE SUBSCRIPTION {}_sub CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",),
        "_sub fills database",
        ("ALTER SUBSCRIPTION {}_sub SET (slot_name = NONE)", "DROP SUBSCRIPTION {}_sub"),
    ),
}


@pytest.mark.parametrize(("made", "told", "cured"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_stays_with_a_database_is_told_before_anything_is_closed(
    admin: Admin, unique: str, made: tuple[str, ...], told: str, cured: tuple[str, ...]
) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        with admin.server.connect(dbname=unique) as connection:
            for text in made:
                connection.execute(text.replace("{}", unique).encode())
        try:
            with pytest.raises(Blocked, match=told) as caught:
                await found.change_places()
            assert caught.value.reason == "DatabaseInUse"
            assert found.as_login(found.dev.name, unique, WORD) == [("old",)]
        finally:
            with admin.server.connect(dbname=unique) as connection:
                for text in cured:
                    connection.execute(text.replace("{}", unique).encode())
        until_alone(found)
        await found.change_places()
        assert found.as_login(found.dev.name, unique, WORD) == [("new",)]

    in_a_restore(admin, unique, scenario)


@pytest.mark.majors(16)
def test_the_database_that_dbtether_works_from_is_never_closed(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        observed = await look_at_swap(found.server, found.swap())
        blocked = swap_blocked(found.swap(), replace(observed, maintenance_database=unique))
        assert blocked is not None
        assert "the one that the DBCluster connects to" in blocked.message

    in_a_restore(admin, unique, scenario)


def test_a_login_made_meanwhile_works_in_what_comes_back(admin: Admin, unique: str) -> None:
    async def scenario(found: Restore) -> None:
        await found.stage_and_load(*NEW)
        await found.change_places()
        late = desired_login(f"{unique}-late", (unique, Group.ADMIN))
        await settle_login(found.server, late)
        await found.change_places(found.swap(incoming=found.replaced, run_id="0badcafe"))
        assert found.as_login(late.name, unique, "SELECT word, current_user::text FROM public.t") == [
            ("old", found.target.roles.groups[Group.ADMIN])
        ]
        await settle_login(found.server, late)

    in_a_restore(admin, unique, scenario)
