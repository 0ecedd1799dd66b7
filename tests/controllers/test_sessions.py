"""Sessions that are open while rights go: which end, which stay, and that no crash lets one live on."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.controllers.test_crashes import live
from tests.controllers.world import World, scenario
from tests.controllers.wrappers import Life

pytestmark = pytest.mark.majors(13, 15, 18)
Session = psycopg.Connection[tuple[object, ...]]


async def with_user(world: World, *names: str, privileges: str = "readwrite") -> str:
    """A user of these databases, and its password."""
    await world.cluster()
    for name in names:
        await world.database(name)
    await world.user(databases=[world.ref(name) for name in names], privileges=privileges)
    await world.settled_and_ready()
    return await world.password()


@contextmanager
def session(world: World, password: str, database: str) -> Iterator[Session]:
    with world.logged_in(world.login(), password, world.named(database)) as connection:
        connection.add_notice_handler(lambda _: None)
        yield connection


def is_open(connection: Session) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("privileges", ["readonly", "readwrite", "admin"])
@scenario
async def test_a_user_that_is_moved_loses_rights_and_sessions_there_and_nothing_elsewhere(
    world: World, privileges: str
) -> None:
    password = await with_user(world, "old", "kept", privileges=privileges)
    await world.database("new")
    await world.settle()
    with session(world, password, "old") as old, session(world, password, "kept") as kept:
        await world.change(world.user_key(), databases=[world.ref("kept"), world.ref("new")])
        planned = [item.purpose for item in (await world.plan())[world.user_key()].statements]
        assert any("End the sessions" in text for text in planned)
        await world.settled_and_ready()
        assert (is_open(old), is_open(kept)) == (False, True)
    assert not world.works(world.login(), password, world.named("old"))
    assert world.works(world.login(), password, world.named("new"))
    assert await world.plan() == {}


@scenario
async def test_a_session_by_inheritance_stays_with_fewer_rights_when_the_level_falls(world: World) -> None:
    password = await with_user(world, "app")
    world.execute("CREATE TABLE public.t (id int)", dbname=world.named())
    world.execute("ALTER TABLE public.t OWNER TO {}", f"dbtether_{world.named()}_admin", dbname=world.named())
    await world.settle()
    with session(world, password, "app") as connection:
        connection.execute("INSERT INTO public.t VALUES (1)")
        await world.change(world.user_key(), privileges="readonly")
        await world.settled_and_ready()
        assert connection.execute("SELECT id FROM public.t").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO public.t VALUES (2)")


@scenario
async def test_a_session_left_by_a_crash_is_ended_by_the_next_look(world: World) -> None:
    """Dies after each step of taking rights away: a session that kept them would work as a group it has lost."""
    steps, dies = 0, True
    while dies:
        await world.cluster()
        await world.database("app")
        await world.database("other")
        await world.user(databases=[world.ref("app"), world.ref("other")], privileges="admin")
        await world.settled_and_ready()
        password = await world.password()
        with session(world, password, "app") as lowered, session(world, password, "other") as left:
            assert is_open(lowered)
            assert is_open(left)
            await world.change(world.user_key(), databases=[world.ref("app")], privileges="readonly")
            life = Life(steps)
            await live(world, life)
            dies = life.is_over
            await world.settled_and_ready()
            assert (is_open(lowered), is_open(left)) == (False, False)
        assert await world.plan() == {}
        steps += 1
    assert steps > 2


@scenario
async def test_a_session_that_is_where_its_login_may_not_be_is_ended_at_the_next_look(world: World) -> None:
    """Without the traces of ours: rights that a DBA took away leave sessions, too."""
    password = await with_user(world, "app")
    await world.database("elsewhere")
    await world.settle()
    world.execute("GRANT CONNECT ON DATABASE {} TO {}", world.named("elsewhere"), world.login())
    with session(world, password, "elsewhere") as connection:
        await world.settled_and_ready()
        assert not is_open(connection)
