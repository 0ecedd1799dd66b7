"""Privileges, databases that come and go, and what is moved or refused."""

from typing import Any

import pytest
from tests.controllers.world import World, both_stores, scenario

from dbtether.controllers.executor import Recording
from dbtether.runtime.overlay import OverlayStore

pytestmark = pytest.mark.majors(15, 18)


async def with_databases(world: World, *names: str) -> None:
    await world.cluster()
    for name in names:
        await world.database(name)


async def apply_table(world: World, database: str = "app") -> None:
    """A table with a row, made by somebody with the admin level."""
    await world.user("maker", databaseRef=world.ref(database), privileges="admin")
    await world.settle()
    with world.logged_in(world.login("maker"), await world.password("maker"), world.named(database)) as connection:
        connection.execute("CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1)")


async def may(world: World, database: str = "app", name: str = "reader") -> list[str]:
    """What the user may do there, the least first."""
    password = await world.password(name)
    queries = {
        "connect": "SELECT 1",
        "read": "SELECT * FROM public.t",
        "write": "INSERT INTO public.t VALUES (2)",
        "create": "CREATE TABLE public.u (); DROP TABLE public.u",
    }
    return [
        word
        for word, query in queries.items()
        if world.works(world.login(name), password, world.named(database), query)
    ]


@scenario
async def test_privileges_go_up_and_down_at_once(world: World) -> None:
    await with_databases(world, "app")
    await apply_table(world)
    for level, expected in (
        ("readonly", ["connect", "read"]),
        ("admin", ["connect", "read", "write", "create"]),
        ("readwrite", ["connect", "read", "write"]),
        ("readonly", ["connect", "read"]),
    ):
        await world.user(privileges=level)
        await world.settled_and_ready()
        assert await may(world) == expected


@scenario
async def test_databases_come_into_the_list_and_go_out_of_it(world: World) -> None:
    await with_databases(world, "app", "other")
    await world.user(databases=[world.ref("app")])
    await world.settle()
    assert await world.login_works(database="app")
    assert not await world.login_works(database="other")
    await world.change(world.user_key(), databases=[world.ref("app"), world.ref("other", privileges="admin")])
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert status["privilegesSummary"] == "mixed"
    assert status["databasesSummary"] == f"{world.database_key('app').name} (+1)"
    assert (await world.credentials()).data["databases"].decode() == f"{world.named('app')},{world.named('other')}"
    assert await world.login_works(database="other")
    await world.change(world.user_key(), databases=[world.ref("other", privileges="readonly")])
    await world.settled_and_ready()
    assert not await world.login_works(database="app")
    assert await world.login_works(database="other")


@pytest.mark.majors(18)
@scenario
async def test_the_form_with_one_database_takes_the_level_beside_it(world: World) -> None:
    await with_databases(world, "app")
    await world.user(database=world.ref("app", privileges="readwrite"))
    await world.settled_and_ready()
    (entry,) = (await world.status(world.user_key()))["databases"]
    assert entry["privileges"] == "readwrite"


@pytest.mark.majors(18)
@scenario
async def test_databases_on_two_clusters_are_refused(world: World) -> None:
    await with_databases(world, "app")
    await world.database("far", clusterRef={"name": "another"})
    await world.user(databases=[world.ref("app"), world.ref("far")])
    await world.settle()
    assert await world.reason(world.user_key()) == "ClustersDiffer"
    assert world.login() not in world.left()


@pytest.mark.majors(18)
@scenario
async def test_a_login_is_not_moved_to_another_cluster(world: World) -> None:
    await with_databases(world, "app")
    await world.database("far", clusterRef={"name": "another"})
    await world.user(databases=[world.ref("app")])
    await world.settle()
    await world.change(world.user_key(), databases=[world.ref("far")])
    await world.settle()
    assert await world.reason(world.user_key()) == "ClustersDiffer"
    await world.delete(world.user_key())
    await world.settle()
    assert world.login() not in world.left()


@pytest.mark.majors(18)
@scenario
async def test_a_name_that_was_applied_cannot_be_changed(world: World) -> None:
    await with_databases(world, "app")
    await world.user()
    await world.settle()
    await world.change(world.user_key(), username=world.login("renamed"))
    await world.change(world.database_key(), databaseName=world.named("renamed"))
    await world.settle()
    assert await world.reason(world.database_key()) == "ImmutableField"
    assert await world.reason(world.user_key()) == "ImmutableField"
    assert world.login("renamed") not in world.left()
    await world.change(world.user_key(), username=None)
    await world.change(world.database_key(), databaseName=None)
    await world.settled_and_ready()


@pytest.mark.majors(18)
@both_stores
@scenario
async def test_limits_and_settings_are_set_and_reset(world: World) -> None:
    await with_databases(world, "app")
    await world.user(connectionLimit=3, settings={"statement_timeout": "5s"})
    await world.database(connectionLimit=7, settings={"statement_timeout": "9s"})
    await world.settled_and_ready()
    assert world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login()) == [(3,)]
    settings = "SELECT count(*) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole"
    where = " LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE coalesce(r.rolname, d.datname) = ANY(%s)"
    query: Any = settings + where
    assert world.rows(query, [world.login(), world.named()]) == [(2,)]
    await world.user(connectionLimit=-1)
    await world.database(connectionLimit=-1)
    await world.settled_and_ready()
    assert world.rows(query, [world.login(), world.named()]) == [(0,)]
    assert world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login()) == [(-1,)]


@pytest.mark.majors(18)
@pytest.mark.parametrize(
    "shut", [{"connectionLimit": 0}, {"validUntil": "2020-01-31T12:00:00Z"}], ids=["limit", "time"]
)
@scenario
async def test_a_login_that_shall_let_nobody_in_is_ready_and_says_so(world: World, shut: dict[str, Any]) -> None:
    await with_databases(world, "app")
    await world.user(**shut)
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert status["loginVerified"] is False
    assert "nobody can log in" in status["message"]
    assert not await world.login_works()
    assert await world.plan() == {}
    await world.user()
    await world.settled_and_ready()
    assert (await world.status(world.user_key()))["loginVerified"] is True
    assert await world.login_works()


@scenario
async def test_a_group_dropped_by_hand_comes_back_with_its_members(world: World) -> None:
    await with_databases(world, "app")
    await world.user()
    await world.settle()
    group = f"dbtether_{world.named()}_readonly"
    world.execute("DROP OWNED BY {}", group, dbname=world.named())
    world.execute("DROP ROLE {}", group)
    await world.settled_and_ready()
    assert await world.login_works()
    assert await world.plan() == {}


@pytest.mark.majors(18)
@scenario
async def test_a_database_dropped_by_hand_comes_back_for_its_users(world: World) -> None:
    await with_databases(world, "app")
    await world.user()
    await world.settle()
    world.execute("DROP DATABASE {} WITH (FORCE)", world.named())
    await world.settled_and_ready()
    assert await world.login_works()


@pytest.mark.majors(18)
@scenario
async def test_a_template_of_ones_own_is_planned_once(world: World) -> None:
    world.execute("CREATE DATABASE {} IS_TEMPLATE true", f"{world.unique}_tpl")
    world.execute("CREATE TABLE public.t ()", dbname=f"{world.unique}_tpl")
    await world.cluster()
    await world.database(template=f"{world.unique}_tpl")
    settlement = await world.settle(5, executor=(recording := Recording()), store=OverlayStore(world.store))
    assert settlement.unsettled == ()
    assert world.database_key() in recording.planned
    await world.settled_and_ready()
    assert await world.plan() == {}
