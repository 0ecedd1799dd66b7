"""A Database that names its owner, takes a database over that exists, or gives its own away."""

from typing import Any

import pytest
from tests.controllers.world import TEAM, World, reason_of, scenario

pytestmark = pytest.mark.majors(15, 16, 18)
OTHER = "other"


def owner_of(world: World, name: str = "app") -> str:
    query = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s"
    return str(world.rows(query, world.named(name))[0][0])


def owner_role(world: World, name: str = "app") -> str:
    return f"dbtether_{world.named(name)}_owner"


def legacy(world: World, name: str = "legacy") -> str:
    """A login with a database and a table in it, from before; the admin may act for it."""
    login = world.login(name)
    world.execute("CREATE ROLE {} LOGIN PASSWORD 'Correct7Horse'", login)
    world.execute("CREATE DATABASE {} OWNER {} TEMPLATE template0", world.named(), login)
    if world.admin.server.major >= 16 and not world.admin.is_superuser:
        world.execute("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", login, world.admin.user)
    world.execute("CREATE TABLE public.t (id serial)", dbname=world.named())
    world.execute("ALTER TABLE public.t OWNER TO {}", login, dbname=world.named())
    return login


def adoptable(world: World, namespace: str = TEAM) -> dict[str, Any]:
    return {"adoptable": [{"database": world.named(), "namespace": namespace}]}


async def message(world: World, key: Any = None) -> str:
    return str((await world.status(key or world.database_key()))["message"])


@scenario
async def test_a_database_waits_for_its_owner_usable_and_goes_over_once_the_login_is_there(world: World) -> None:
    await world.cluster()
    await world.database(owner=world.login(), schemas=[{"name": "s", "owner": world.login()}])
    await world.user(privileges="admin")
    await world.settled_and_ready()
    assert owner_of(world) == world.login()
    assert (await world.status(world.database_key()))["owner"] == world.login()
    assert await world.plan() == {}
    assert await world.login_works()
    await world.change(world.database_key(), owner=None, schemas=None)
    await world.settled_and_ready()
    assert owner_of(world) == owner_role(world)
    await world.delete(world.user_key(), world.database_key())
    await world.settle()
    assert await world.is_gone(world.user_key())
    assert world.left() == []


@scenario
async def test_a_database_is_taken_from_an_owner_whose_user_is_deleted(world: World) -> None:
    await world.cluster()
    await world.database(owner=world.login(), schemas=[{"name": "s", "owner": world.login()}])
    await world.user()
    await world.settled_and_ready()
    await world.delete(world.user_key())
    await world.settle()
    assert await world.is_gone(world.user_key())
    assert world.login() not in world.left()
    assert owner_of(world) == owner_role(world)


@scenario
async def test_an_owner_that_is_to_come_is_told(world: World) -> None:
    await world.cluster(adoptable=[{"role": world.login("later"), "namespace": TEAM}])
    await world.database(owner=world.login("later"))
    await world.settled_and_ready()
    assert owner_of(world) == owner_role(world)
    assert f"{world.login('later')} shall own it" in await message(world)


@pytest.mark.parametrize("exists", [True, False], ids=["exists", "not-there"])
@pytest.mark.parametrize("field", ["owner", "schemas"])
@scenario
async def test_a_strangers_role_owns_nothing_and_nothing_is_told_of_it(world: World, exists: bool, field: str) -> None:
    if exists:
        world.execute("CREATE ROLE {} LOGIN", world.login("stranger"))
    await world.cluster()
    name = world.login("stranger")
    spec: dict[str, Any] = {"owner": name} if field == "owner" else {"schemas": [{"name": "s", "owner": name}]}
    await world.database(**spec)
    await world.settle()
    assert await world.reason(world.database_key()) == "ReferenceNotAllowed"
    assert await message(world) == (
        f"{name} cannot own anything here: name a login of a DatabaseUser of this namespace, or a role that the "
        f"DBCluster's spec.adoptable lists for this namespace"
    )
    assert world.named() not in world.left()


@scenario
async def test_a_user_of_another_namespace_owns_nothing(world: World) -> None:
    await world.cluster()
    await world.database("theirs", OTHER)
    await world.user("thief", OTHER, databaseRef=world.ref("theirs"))
    await world.settled_and_ready()
    await world.database(owner=world.login("thief"))
    await world.settle()
    assert await world.reason(world.database_key()) == "ReferenceNotAllowed"


@scenario
async def test_adoption_needs_the_resources_word_and_the_clusters(world: World) -> None:
    name = legacy(world)
    await world.cluster()
    await world.database()
    await world.settle()
    assert await world.reason(world.database_key()) == "DatabaseNotOurs"
    assert "spec.adopt" in await message(world)
    await world.change(world.database_key(), adopt=True)
    await world.settle()
    assert await world.reason(world.database_key()) == "AdoptionNotAllowed"
    assert f"{{database: {world.named()}, namespace: {TEAM}}}" in await message(world)
    assert owner_of(world) == name
    await world.cluster(**adoptable(world))
    await world.settled_and_ready()
    assert owner_of(world) == owner_role(world)
    status = await world.status(world.database_key())
    assert status["createdByUs"] is False
    assert "every login of the server can connect" in status["message"]
    assert await world.plan() == {}
    assert world.works(name, "Correct7Horse", world.named(), "INSERT INTO t DEFAULT VALUES")
    await world.user()
    await world.settled_and_ready()
    assert world.works(world.login(), await world.password(), world.named(), "SELECT * FROM t")
    await world.delete(world.user_key(), world.database_key())
    await world.settle()
    assert world.left() == [name]


@scenario
async def test_an_adoption_is_reported_first_and_then_done_exactly(world: World) -> None:
    name = legacy(world)
    await world.cluster(**adoptable(world))
    await world.database(adopt=True, driftPolicy="Report")
    await world.settle()
    status = await world.status(world.database_key())
    assert await world.reason(world.database_key()) == "AdoptionPlanned"
    assert f"Make {owner_role(world)} the owner of database {world.named()}, which was {name}'s" in status["drift"]
    assert f"Hand table public.t to dbtether_{world.named()}_admin" in status["drift"]
    assert owner_of(world) == name
    planned = (await world.plan())[world.database_key()] if await world.plan() else None
    assert planned is None
    await world.change(world.database_key(), driftPolicy="Repair")
    done = (await world.plan())[world.database_key()]
    assert [item.purpose for item in done.statements] == list(status["drift"])
    await world.settled_and_ready()
    assert "drift" not in await world.status(world.database_key())


@pytest.mark.majors(15, 18)
@scenario
async def test_a_database_and_its_owner_are_adopted_by_one_manifest_and_one_plan_shows_both(world: World) -> None:
    name = legacy(world)
    both = [{"database": world.named(), "namespace": TEAM}, {"role": name, "namespace": TEAM}]
    await world.cluster(adoptable=both)
    await world.database(adopt=True)
    await world.user("old", username=name, adopt=True, privileges="admin")
    planned = await world.plan()
    assert f"Make {owner_role(world)} the owner" in " ".join(
        s.purpose for s in planned[world.database_key()].statements
    )
    shown = [item.purpose for item in planned[world.user_key("old")].statements]
    assert any(name in purpose for purpose in shown)
    await world.settled_and_ready()
    assert owner_of(world) == owner_role(world)
    assert await world.plan() == {}


@scenario
async def test_the_platforms_own_is_never_adopted(world: World) -> None:
    await world.cluster(database="template1", adoptable=[{"database": "template1", "namespace": TEAM}])
    await world.settle()
    key = world.database_key()
    spec = {"clusterRef": {"name": "pg"}, "databaseName": "template1", "adopt": True}
    await world.store.apply_resource(key, spec)
    await world.settle()
    assert await world.reason(key) in ("InvalidSpec", "AdoptionNotAllowed")


async def with_giver(world: World) -> None:
    await world.cluster(**adoptable(world, OTHER))
    await world.database()
    await world.user()
    await world.settled_and_ready()
    await world.database("taker", OTHER, adopt=True, databaseName=world.named())
    await world.settle()


@scenario
async def test_a_live_resources_database_is_taken_only_when_it_gives_it_away(world: World) -> None:
    await with_giver(world)
    giver, taker = world.database_key(), world.database_key("taker", OTHER)
    assert await world.reason(taker) == "DatabaseConflict"
    assert str(giver) not in await message(world, taker)
    await world.annotate(giver, release_to=world.database_key("nobody", OTHER).path)
    await world.settle()
    assert await world.reason(taker) == "DatabaseConflict"
    await world.annotate(giver, release_to=taker.path)
    await world.settle()
    await world.assert_ready(taker)
    assert await world.reason(giver) == "Released"
    assert reason_of(await world.get(taker)) == "Ready"
    # The giver neither fights back nor drops what it gave.
    await world.delete(giver)
    await world.settle()
    assert await world.is_gone(giver)
    await world.assert_ready(taker)
    assert owner_of(world) == owner_role(world)


@scenario
async def test_what_a_deleted_resource_left_may_be_adopted(world: World) -> None:
    await world.cluster(**adoptable(world, OTHER))
    await world.database(deletionPolicy="Retain")
    await world.settled_and_ready()
    await world.delete(world.database_key())
    await world.settle()
    await world.database("taker", OTHER, databaseName=world.named())
    await world.settle()
    taker = world.database_key("taker", OTHER)
    assert await world.reason(taker) == "DatabaseNotOurs"
    await world.change(taker, adopt=True)
    await world.settled_and_ready(taker)
    await world.delete(taker)
    await world.settle()
    assert world.left() == []


@scenario
async def test_another_installations_database_is_not_taken(world: World) -> None:
    await world.cluster(**adoptable(world))
    world.execute("CREATE ROLE {}", owner_role(world))
    world.execute("COMMENT ON ROLE {} IS 'dbtether:team/app@another'", owner_role(world))
    world.execute("CREATE DATABASE {} OWNER {}", world.named(), owner_role(world))
    await world.database(adopt=True)
    await world.settle()
    assert await world.reason(world.database_key()) == "OtherInstallation"


@scenario
async def test_the_older_operators_database_goes_to_whom_its_comment_names(world: World) -> None:
    legacy(world)
    world.execute(
        f"COMMENT ON DATABASE {{}} IS 'for the shop\ndbtether:{TEAM}/{world.database_key().name}'",
        world.named(),
    )
    await world.cluster(adoptable=[{"database": world.named(), "namespace": space} for space in (TEAM, OTHER)])
    await world.database()
    await world.database("thief", OTHER, adopt=True, databaseName=world.named())
    await world.settle()
    assert await world.reason(world.database_key("thief", OTHER)) == "DatabaseNotOurs"
    await world.change(world.database_key(), adopt=True)
    await world.settled_and_ready(world.database_key())


@scenario
async def test_a_setting_of_an_attempt_that_never_reported_does_not_stay(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.settled_and_ready()
    # The second field is refused by the server, after the first was applied.
    await world.change(
        world.database_key(),
        settings={"work_mem": "8MB"},
        extensions=["pg_trgm"],
        extensionOptions={"pg_trgm": {"schema": "nosuch"}},
        driftPolicy="Repair",
    )
    await world.settle()
    await world.change(world.database_key(), settings={"work_mem": "8MB"}, extensions=None, extensionOptions=None)
    await world.settled_and_ready()
    assert (await world.status(world.database_key()))["appliedSettings"] == ["work_mem"]
    await world.change(world.database_key(), settings=None)
    await world.settled_and_ready()
    query = "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = %s"
    assert world.rows(query, world.named()) == [(0,)]


@scenario
async def test_an_extension_that_cannot_move_is_blocked_and_the_old_schema_cures_it(world: World) -> None:
    await world.cluster()
    await world.database(extensions=["citext"], schemas=[{"name": "s"}])
    await world.settled_and_ready()
    await world.change(world.database_key(), extensionOptions={"citext": {"schema": "s"}})
    await world.settle()
    if world.admin.is_superuser:
        await world.assert_ready(world.database_key())
        return
    # What a trusted extension brought belongs to the bootstrap superuser.
    assert await world.reason(world.database_key()) == "MissingPrivileges"
    assert "move extension citext from schema public to s" in await message(world)
    await world.change(world.database_key(), extensionOptions=None)
    await world.settled_and_ready()
