"""A load that is ended in the middle: the server is left with the old state or the new one, whole, and says which."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.cli.program import PROGRAM
from tests.controllers.world import scenario
from tests.restore.pair import PASSWORD, RUN, Pair, pieces, sessions_of
from tests.servers.server import Server

from dbtether.backup.restore.job import RestoreResult, RestoreRun, RestoreSecrets, restore_files
from dbtether.backup.restore.load import load
from dbtether.backup.restore.model import ExistingObjects, LoadWay
from dbtether.errors import Blocked, Retryable

pytestmark = pytest.mark.majors(18)

FILL = (
    "CREATE TABLE a (id int PRIMARY KEY, note text)",
    "INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 60000) n",
    "CREATE TABLE b (id int PRIMARY KEY, note text)",
    "INSERT INTO b SELECT n, md5(n::text) FROM generate_series(1, 60000) n",
    "CREATE INDEX ON b (note)",
)
BEFORE = "CREATE TABLE a (old text); INSERT INTO a VALUES ('kept'); CREATE TABLE c (id int)"
NEW = [("a", 60000), ("b", 60000)]
OLD = [("a", 1), ("c", 0)]


def tables(pair: Pair) -> list[tuple[object, object]]:
    return [(row[0], row[4]) for row in pair.contents() if row[1] == "r"]


def wait_until(told: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


async def halfway(content: bytes, act: Callable[[], object]) -> AsyncIterator[bytes]:
    """The object as a store would give it, with something happening in the middle."""
    middle = len(content) // 2
    async for piece in pieces(content[:middle]):
        yield piece
    await asyncio.to_thread(act)
    async for piece in pieces(content[middle:]):
        yield piece


# -- the worker in a process of its own ------------------------------------------------------------------------


def start_worker(pair: Pair, folder: Path, content: bytes, **changes: object) -> "subprocess.Popen[str]":
    """`dbtether job restore` on this dump."""
    (folder / "store").mkdir(exist_ok=True)
    (folder / "store" / "1.sql").write_bytes(content)
    run = RestoreRun(
        run_id=RUN,
        storage={"local": {"path": str(folder / "store")}},
        local_root=str(folder),
        key="1.sql",
        rules=pair.rules,
        host=pair.server.host,
        port=pair.server.port,
        user=pair.login,
        sslmode="disable",
        database=pair.unique,
        way=LoadWay.TRANSACTION,
        existing=ExistingObjects.DROP,
        owner=pair.group,
        application_name="dbtether: restore team/again",
    ).model_copy(update=changes)
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for name, data in restore_files(run, RestoreSecrets(PASSWORD, None, {})).items():
        (files / name).write_bytes(data)
    command = [str(PROGRAM), "job", "restore", str(files), "--result", str(folder / "result")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def test_the_worker_says_how_it_ended_and_shows_no_password(pair: Pair, tmp_path: Path) -> None:
    pair.fill(*FILL)
    pair.at(BEFORE, as_owner=True)
    worker = start_worker(pair, tmp_path, pair.dump())
    wait_until(lambda: sessions_of(pair.server, pair.login) == 1)
    command = Path(f"/proc/{worker.pid}/cmdline").read_bytes() + Path(f"/proc/{worker.pid}/environ").read_bytes()
    out, err = worker.communicate(timeout=60)
    assert (worker.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "done"
    assert out.startswith("restoring: ")
    assert PASSWORD not in out
    assert PASSWORD.encode() not in command
    assert RestoreResult.parse((tmp_path / "result").read_text()) == RestoreResult(True, tables=2, rows=120000)
    assert tables(pair) == NEW
    assert pair.is_committed


def test_a_worker_that_is_asked_to_end_undoes_what_it_began_and_says_so(pair: Pair, tmp_path: Path) -> None:
    pair.fill(*FILL)
    pair.at(BEFORE, as_owner=True)
    with pair.server.connect(dbname=pair.unique) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE c")
        worker = start_worker(pair, tmp_path, pair.dump())
        wait_until(lambda: sessions_of(pair.server, pair.login) == 1)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
        wait_until(lambda: sessions_of(pair.server, pair.login) == 0)
    assert worker.returncode == 130
    found = RestoreResult.parse((tmp_path / "result").read_text())
    assert found is not None
    assert (found.succeeded, found.reason, found.may_retry) == (False, "Cancelled", True)
    assert tables(pair) == OLD


@pytest.mark.parametrize("way", LoadWay)
def test_a_worker_that_is_killed_leaves_the_old_state_or_the_new_and_the_server_says_which(
    pair: Pair, tmp_path: Path, way: LoadWay
) -> None:
    pair.fill(*FILL)
    content, chance = pair.dump(), random.Random(9)
    if way is LoadWay.TRANSACTION:
        pair.at(BEFORE, as_owner=True)
    seen = set()
    for _ in range(10):
        worker = start_worker(pair, tmp_path, content, way=way)
        wait_until(lambda: sessions_of(pair.server, pair.login) == 1)
        time.sleep(chance.random() * 0.8)
        worker.kill()
        worker.communicate()
        wait_until(lambda: sessions_of(pair.server, pair.login) == 0)
        seen.add(pair.is_committed)
        if pair.is_committed:
            assert tables(pair) == NEW
        elif way is LoadWay.TRANSACTION:
            assert tables(pair) == OLD
        forget(pair, way)
    assert False in seen


def forget(pair: Pair, way: LoadWay) -> None:
    """As it was before."""
    if way is LoadWay.TRANSACTION and not pair.is_committed:
        return
    with pair.server.connect() as connection:
        connection.execute(f'ALTER ROLE "{pair.login}" RESET application_name'.encode())
    pair.at("DROP TABLE IF EXISTS a, b, c")
    if way is LoadWay.TRANSACTION:
        pair.at(BEFORE, as_owner=True)


# -- the server and the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", LoadWay)
@scenario
async def test_a_session_that_is_ended_may_be_tried_again(pair: Pair, way: LoadWay) -> None:
    pair.fill(*FILL)
    content = pair.dump()

    def end() -> None:
        with pair.server.connect() as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            connection.execute(query, (pair.login,))

    with pytest.raises(Retryable) as caught:
        await load(replace(pair.request, way=way), halfway(content, end))
    assert caught.value.reason == "ConnectionFailed"
    assert not pair.is_committed
    assert way is LoadWay.STAGING or pair.is_empty


@scenario
async def test_a_server_that_restarts_in_the_middle_is_as_it_was(
    fresh_server: Callable[[int], Server], unique: str, server: Server
) -> None:
    pair = Pair(fresh_server(server.major), unique)
    pair.make()
    pair.fill(*FILL)
    content = pair.dump()
    pair.at(BEFORE, as_owner=True)
    # The tests' servers commit asynchronously: what a restart at once would take is not the restore's doing.
    pair.at("CHECKPOINT")
    request = replace(pair.request, existing=ExistingObjects.DROP)
    with pytest.raises(Retryable):
        await load(request, halfway(content, pair.server.restart))
    assert tables(pair) == OLD
    await pair.load(content, existing=ExistingObjects.DROP)
    assert tables(pair) == NEW


@scenario
async def test_a_load_that_is_cancelled_ends_its_session_also_in_a_long_statement(pair: Pair) -> None:
    pair.fill("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    slow = (
        b"CREATE FUNCTION public.slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        b"$$ BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN 1; END $$;\nCREATE INDEX ON public.t (public.slow(id));\n"
    )
    plain = pair.dump()
    end = plain.index(b"\n\\.\n") + 4
    task = asyncio.create_task(pair.load(plain[:end] + slow + plain[end:]))
    asks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active'"
    while pair.at(asks) == [(0,)]:
        assert not task.done()
        await asyncio.sleep(0.02)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_until(lambda: sessions_of(pair.server, pair.login) == 0, 5)
    assert time.monotonic() - started < 5
    assert pair.is_empty


@scenario
async def test_a_store_that_fails_in_the_middle_is_no_end_of_the_data(pair: Pair) -> None:
    pair.fill(*FILL)
    pair.at(BEFORE, as_owner=True)

    def fail() -> None:
        raise OSError("the store is gone")

    request = replace(pair.request, existing=ExistingObjects.DROP)
    with pytest.raises(OSError, match="the store is gone"):
        await load(request, halfway(pair.dump(), fail))
    wait_until(lambda: sessions_of(pair.server, pair.login) == 0)
    assert tables(pair) == OLD


# -- who else is there -----------------------------------------------------------------------------------------


@scenario
async def test_time_outs_that_the_login_and_the_database_have_end_no_load(pair: Pair) -> None:
    pair.fill("CREATE TABLE t (id int)", "INSERT INTO t SELECT generate_series(1, 200000)", "CREATE INDEX ON t (id)")
    with pair.server.connect() as connection:
        for setting in ("statement_timeout = '5ms'", "lock_timeout = '1ms'", "standard_conforming_strings = off"):
            connection.execute(f'ALTER ROLE "{pair.login}" SET {setting}'.encode())
            connection.execute(f'ALTER DATABASE "{pair.unique}" SET {setting}'.encode())
        connection.execute(f'ALTER ROLE "{pair.login}" SET default_transaction_read_only = on'.encode())
    await pair.load(pair.dump())
    assert pair.is_committed


@scenario
async def test_a_target_that_is_not_empty_is_refused_whatever_is_in_it(pair: Pair) -> None:
    pair.fill(*FILL)
    content = pair.dump()
    for what in (
        "TABLE x ()",
        "SEQUENCE x",
        "TYPE x AS ENUM ()",
        "FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        pair.at(f"CREATE {what}", as_owner=True)
        with pytest.raises(Blocked) as caught:
            await pair.load(content)
        assert caught.value.reason == "TargetNotEmpty"
        pair.at(f"DROP {what.split('(')[0].split(' AS')[0]}")
    await pair.load(content)


@scenario
async def test_a_login_that_does_not_act_as_the_group_loads_nothing(pair: Pair) -> None:
    pair.fill(*FILL)
    with pair.server.connect() as connection:
        connection.execute(f'ALTER ROLE "{pair.login}" IN DATABASE "{pair.unique}" RESET role'.encode())
    with pytest.raises(Blocked, match=f"acts as {pair.login} in database {pair.unique}, not as {pair.group}"):
        await pair.load(pair.dump())
    assert pair.is_empty


@scenario
async def test_what_the_server_says_is_told_without_what_is_in_the_data(pair: Pair) -> None:
    pair.fill("CREATE TABLE t (id int, secret text)", "INSERT INTO t VALUES (1, 'a'), (2, 'hunter2'), (3, 'hunter2')")
    plain = pair.dump()
    with pytest.raises(Blocked) as caught:
        await pair.load(plain.replace(b"2\thunter2", b"hunter2\thunter2"))
    assert caught.value.message == (
        "Could not run `COPY public.t (id, secret) FROM stdin`: invalid input syntax for type integer …, at line 2 of "
        "the data (SQLSTATE 22P02)"
    )
    index = b"CREATE UNIQUE INDEX u ON public.t (secret);\n"
    end = plain.index(b"\n\\.\n") + 4
    with pytest.raises(Blocked) as caught:
        await pair.load(plain[:end] + index + plain[end:])
    assert caught.value.message == (
        'Could not run `CREATE UNIQUE INDEX u ON public.t (secret)`: could not create unique index "u" (SQLSTATE 23505)'
    )


@scenario
async def test_a_server_that_is_away_may_be_tried_again(pair: Pair) -> None:
    with pytest.raises(Retryable) as caught:
        await pair.load(b"", parameters=replace(pair.request.parameters, port=1))
    assert caught.value.reason == "ConnectionFailed"
    with pytest.raises(Blocked) as refused:
        await pair.load(b"", parameters=replace(pair.request.parameters, password="wrong"))
    assert "wrong" not in refused.value.message.replace("wrong password", "")
    with psycopg.connect(pair.server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
