"""A role that exists is taken over by consent alone, with all of it told, and never one with power or an owner."""

from typing import Any

import pytest
from tests.controllers.world import CLUSTER, TEAM, World, phase, scenario

pytestmark = pytest.mark.majors(15, 18)
OTHER = "other"


def old_role(world: World, options: str = "LOGIN PASSWORD 'theirs'", name: str | None = None) -> str:
    """A role that somebody made, which the admin may administer."""
    name = name or world.login()
    with world.admin.server.connect() as connection:
        connection.execute(f'CREATE ROLE "{name}" {options}'.encode())
        major = connection.info.server_version // 10000
        if major >= 16 and not world.admin.is_superuser:
            connection.execute(f'GRANT "{name}" TO "{world.admin.user}" WITH ADMIN TRUE, INHERIT FALSE'.encode())
    return name


def adoptable(name: str, namespace: str = TEAM) -> dict[str, Any]:
    return {"adoptable": [{"role": name, "namespace": namespace}]}


def comment(world: World, name: str) -> str | None:
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    return world.rows(query, name)[0][0]  # type: ignore[no-any-return]


async def ready_with(world: World, name: str, **spec: Any) -> None:
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user(adopt=True, **spec)
    await world.settled_and_ready()


@pytest.mark.parametrize("exists", [True, False], ids=["exists", "not-there"])
@scenario
async def test_without_consent_the_entry_is_named_and_nothing_told(world: World, exists: bool) -> None:
    if exists:
        old_role(world)
    await world.cluster(**adoptable(world.login(), OTHER))
    await world.database()
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "AdoptionNotAllowed"
    older = world.login().replace("-", "_")
    assert (await world.status(world.user_key()))["message"] == (
        f"spec.adopt: DBCluster {CLUSTER} does not let namespace {TEAM} take over role {world.login()}: the platform "
        f"team must add {{role: {world.login()}, namespace: {TEAM}}} (or {{role: {older}, namespace: {TEAM}}}) to its "
        f"spec.adoptable"
    )
    assert await world.store.get_secret(TEAM, f"{world.login()}-credentials") is None
    assert (world.login() in world.left()) is exists


@scenario
async def test_a_role_is_taken_over_with_a_new_password_and_then_is_ours(world: World) -> None:
    name = old_role(world, "LOGIN PASSWORD 'theirs' CREATEDB CREATEROLE CONNECTION LIMIT 9")
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user()
    await world.settle()
    assert await world.reason(world.user_key()) == "RoleNotOurs"
    await world.change(world.user_key(), adopt=True)
    planned = [item.purpose for item in (await world.plan())[world.user_key()].statements]
    assert f"Mark role {name} as belonging to dbtether:{TEAM}/{name}@test" in planned
    assert comment(world, name) is None
    await world.settled_and_ready()
    assert comment(world, name) == f"dbtether:{TEAM}/{name}@test"
    assert await world.login_works()
    assert not world.works(name, "theirs", world.named())
    flags = "SELECT rolcreatedb, rolcreaterole, rolconnlimit FROM pg_roles WHERE rolname = %s"
    assert world.rows(flags, name) == [(False, False, -1)]
    assert await world.plan() == {}
    # What was consented to once is not taken back by a tidier list.
    await world.cluster()
    await world.settled_and_ready()
    await world.delete(world.user_key())
    await world.settle()
    assert name not in world.left()


@scenario
async def test_consent_given_later_wakes_who_asks(world: World) -> None:
    name = old_role(world)
    await world.cluster()
    await world.database()
    await world.user(adopt=True)
    async with world.running() as engine:
        assert await world.reason(world.user_key()) == "AdoptionNotAllowed"
        await world.cluster(**adoptable(name))
        await engine.loop.run_until_settled(20)
        await world.assert_ready()


@scenario
async def test_with_consent_a_role_that_is_not_there_is_made(world: World) -> None:
    await ready_with(world, world.login())
    assert await world.login_works()


@pytest.mark.parametrize("options", ["SUPERUSER", "REPLICATION", "BYPASSRLS", "LOGIN"])
@scenario
async def test_a_role_with_power_over_the_server_is_never_taken(world: World, options: str) -> None:
    name = old_role(world, options)
    if options == "LOGIN":
        # Itself it is harmless, but it can act as a superuser by way of a group.
        old_role(world, "SUPERUSER", f"{name}-boss")
        old_role(world, "NOLOGIN", f"{name}-staff")
        world.execute("GRANT {} TO {}", f"{name}-boss", f"{name}-staff")
        world.execute("GRANT {} TO {}", f"{name}-staff", name)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "AdoptionNotAllowed"
    assert "nobody may take that over" in (await world.status(world.user_key()))["message"]
    assert comment(world, name) is None
    assert await world.store.get_secret(TEAM, f"{world.login()}-credentials") is None


@scenario
async def test_the_admin_itself_is_never_taken(world: World) -> None:
    await world.cluster(**adoptable(world.admin.user))
    await world.database()
    await world.user(adopt=True, username=world.admin.user)
    await world.settle()
    assert await world.reason(world.user_key()) in ("AdoptionNotAllowed", "InvalidSpec")


@scenario
async def test_an_owner_of_a_database_is_not_taken(world: World) -> None:
    name = old_role(world)
    world.execute("CREATE DATABASE {} OWNER {}", world.named("theirs"), name)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "RoleHasDependents"
    assert f'ALTER DATABASE "{world.named("theirs")}" OWNER TO' in (await world.status(world.user_key()))["message"]


@pytest.mark.majors(18)
@scenario
async def test_where_the_admin_has_no_rights_on_the_role_the_statement_is_given_and_works(world: World) -> None:
    if world.admin.is_superuser:
        pytest.skip("a superuser has all rights")
    world.execute("CREATE ROLE {} LOGIN", world.login())
    await world.cluster(**adoptable(world.login()))
    await world.database()
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "MissingPrivileges"
    message = (await world.status(world.user_key()))["message"]
    with world.admin.server.connect() as connection:
        connection.execute(message.partition("must run ")[2].encode())
    await world.settled_and_ready()
    assert await world.login_works()


# ---- what it had


@scenario
async def test_what_it_keeps_is_told(world: World) -> None:
    name = old_role(world)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.database("neighbour", OTHER)
    await world.settle()
    neighbour, staff = f"dbtether_{world.named('neighbour')}_readonly", f"{name}-staff"
    old_role(world, "NOLOGIN", staff)
    old_role(world, "LOGIN", f"{name}-boss")
    world.execute("GRANT {} TO {}", neighbour, staff)
    world.execute("GRANT {} TO {}", staff, name)
    world.execute("GRANT {} TO {}", name, f"{name}-boss")
    world.execute("ALTER ROLE {} SET search_path TO mine", name)
    world.execute("CREATE SCHEMA mine AUTHORIZATION {}", name, dbname=world.named())
    world.execute("CREATE TABLE mine.t (id int); GRANT SELECT ON mine.t TO {}", name, dbname=world.named())
    await world.user(adopt=True)
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert f"it is also in role {staff}, by somebody else's grant" in status["message"]
    assert f"{name}-boss can act as it" in status["message"]
    assert "status.broughtAlong" in status["message"]
    told = " | ".join(status["broughtAlong"])
    assert f"can act as {neighbour} by way of another role" in told
    assert f"owns 1 object in database {world.named()}" in told
    assert f"has privileges of its own on 1 object in database {world.named()}" in told
    assert "keeps its setting search_path" in told
    assert await world.plan() == {}
    settings = "SELECT rolconfig FROM pg_roles WHERE rolname = %s"
    assert world.rows(settings, name) == [(["search_path=mine"],)]


@scenario
async def test_a_group_of_another_database_is_left(world: World) -> None:
    name = old_role(world)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.database("neighbour", OTHER)
    await world.settle()
    group = f"dbtether_{world.named('neighbour')}_readwrite"
    if world.admin.is_superuser or world.admin.server.major < 16:
        world.execute("GRANT {} TO {}", group, name)
    else:
        world.execute("SET ROLE {}; GRANT {} TO {}", f"dbtether_{world.named('neighbour')}_owner", group, name)
    await world.user(adopt=True)
    await world.settled_and_ready()
    assert not world.works(name, await world.password(), world.named("neighbour"))


@scenario
async def test_an_admin_finds_what_it_owned_in_the_group_and_other_sessions_stay(world: World) -> None:
    """A session works as the group then, which has no rights on what is the login's own."""
    name = old_role(world)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.settle()
    world.execute("CREATE TABLE public.t (id int)", dbname=world.named())
    world.execute("ALTER TABLE public.t OWNER TO {}", name, dbname=world.named())
    with world.logged_in(name, "theirs", "postgres") as session:
        await world.user(adopt=True, privileges="admin")
        planned = [item.purpose for item in (await world.plan())[world.user_key()].statements]
        assert any(text.startswith(f"Hand over what {name} owns") for text in planned)
        await world.settled_and_ready()
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    password = await world.password()
    assert world.works(name, password, world.named(), "ALTER TABLE public.t ADD COLUMN more int")
    assert await world.plan() == {}
    owner = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 't' AND relkind = 'r'"
    assert world.rows(owner, dbname=world.named()) == [(f"dbtether_{world.named()}_admin",)]


# ---- another resource's


@scenario
async def test_a_live_resource_keeps_its_login_until_it_releases_it(world: World) -> None:
    name = world.login("shared")
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user("giver", username=name)
    await world.settle()
    first = await world.password("giver")
    async with world.running() as engine:
        await world.user("taker", username=name, adopt=True)
        await engine.loop.run_until_settled(20)
        giver, taker = world.user_key("giver"), world.user_key("taker")
        assert await world.reason(taker) == "RoleConflict"
        await world.annotate(giver, release_to=taker.path)
        await engine.loop.run_until_settled(20)
        await world.assert_ready(taker)
        assert (phase(await world.get(giver)), await world.reason(giver)) == ("Failed", "Released")
        assert f"belongs to DatabaseUser {taker.path} now" in (await world.status(giver))["message"]
        assert not world.works(name, first, world.named())
        await world.delete(giver)
        await engine.loop.run_until_settled(20)
        assert await world.is_gone(giver)
    assert world.works(name, await world.password("taker"), world.named())
    assert comment(world, name) == f"dbtether:{taker.path}@test"


@scenario
async def test_a_release_to_another_gives_nothing(world: World) -> None:
    name = world.login("shared")
    await world.cluster(adoptable=[{"role": name, "namespace": OTHER}])
    await world.database(allowedNamespaces=["*"])
    await world.user("giver", username=name, annotations={"dbtether.io/release-to": f"{TEAM}/somebody-else"})
    await world.settle()
    await world.user("taker", OTHER, username=name, adopt=True, databaseRef=world.ref(namespace=TEAM))
    await world.settle()
    taker = world.user_key("taker", OTHER)
    assert await world.reason(taker) == "RoleConflict"
    assert world.user_key("giver").name not in (await world.status(taker))["message"]
    await world.assert_ready(world.user_key("giver"))
    assert "goes to DatabaseUser" in (await world.status(world.user_key("giver")))["message"]


@scenario
async def test_a_release_to_nobody_is_told_to_be_one(world: World) -> None:
    await world.cluster()
    await world.database(annotations={"dbtether.io/release-to": "taker"})
    await world.user(annotations={"dbtether.io/release-to": f"{TEAM}/a/b"})
    await world.settle()
    for key in (world.database_key(), world.user_key()):
        await world.assert_ready(key)
        message = (await world.status(key))["message"]
        assert f"dbtether.io/release-to names nobody: it must be namespace/name of a {key.kind}" in message


@scenario
async def test_what_is_released_is_not_dropped_with_its_giver(world: World) -> None:
    name = world.login("shared")
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user("giver", username=name)
    await world.settle()
    await world.annotate(world.user_key("giver"), release_to=world.user_key("taker").path)
    await world.delete(world.user_key("giver"))
    await world.settle()
    assert await world.is_gone(world.user_key("giver"))
    assert name in world.left()
    await world.user("taker", username=name, adopt=True)
    await world.settled_and_ready()


@scenario
async def test_a_marker_whose_resource_is_gone_gives_way_to_consent_and_one_whose_is_there_does_not(
    world: World,
) -> None:
    name = old_role(world)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user("holder")
    await world.settle()
    world.execute(f"COMMENT ON ROLE {{}} IS 'dbtether:{TEAM}/{world.login('holder')}@test'", name)
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "RoleNotOurs"
    assert f"dbtether.io/release-to={world.user_key().path}" in (await world.status(world.user_key()))["message"]
    await world.delete(world.user_key("holder"))
    await world.settle()
    await world.settled_and_ready()
    assert await world.login_works()


@scenario
async def test_another_installations_role_is_given_by_a_dba_alone(world: World) -> None:
    name = old_role(world)
    world.execute("COMMENT ON ROLE {} IS 'dbtether:team/x@elsewhere'", name)
    await world.cluster(**adoptable(name))
    await world.database()
    await world.user(adopt=True)
    await world.settle()
    assert await world.reason(world.user_key()) == "OtherInstallation"
    message = (await world.status(world.user_key()))["message"]
    with world.admin.server.connect() as connection:
        connection.execute(message.partition("a DBA run ")[2].encode())
    await world.settled_and_ready()


# ---- the older name


@scenario
async def test_the_older_name_is_kept_where_the_role_is_marked_for_the_resource(world: World) -> None:
    older = old_role(world, name=world.login().replace("-", "_"))
    key = world.user_key()
    world.execute(f"COMMENT ON ROLE {{}} IS 'dbtether:{key.path}@test'", older)
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    assert (await world.status(key))["username"] == older
    assert world.works(older, await world.password(), world.named())
    assert world.login() not in world.left()
    await world.delete(key)
    await world.settle()
    assert older not in world.left()


@pytest.mark.parametrize("form", ["dbtether:{0}", None], ids=["older-marker", "unmarked"])
@scenario
async def test_the_older_operators_login_is_taken_by_consent_and_its_password_survives(
    world: World, form: str | None
) -> None:
    """Its Secret is owned by the resource, and has other keys than ours; its status tells the name."""
    older = old_role(world, "LOGIN NOINHERIT PASSWORD 'Kept-from-before-1'", world.login().replace("-", "_"))
    key = world.user_key()
    if form is not None:
        world.execute(f"COMMENT ON ROLE {{}} IS '{form.format(key.path)}'", older)
    await world.cluster()
    user = await world.user(adopt=True)
    entries = [{"name": world.database_key().name, "databaseName": world.named(), "privileges": "owner"}]
    status = {"phase": "Ready", "clusterName": CLUSTER, "databases": entries, "observedGeneration": 1}
    await world.store.write_status(user, status if form else {**status, "username": older})
    # Nothing in that status makes it stumble, not even while its Database is away.
    await world.settle()
    assert await world.reason(key) == "DatabaseNotFound"
    await world.database()
    await world.older_secret(user, username=older, password="Kept-from-before-1")
    await world.settle()
    assert await world.reason(key) == "AdoptionNotAllowed"
    assert f"{{role: {older}, namespace: {TEAM}}}" in (await world.status(key))["message"]
    await world.cluster(**adoptable(older))
    await world.settled_and_ready()
    assert (await world.status(key))["username"] == older
    secret = await world.credentials()
    assert (secret.data["password"], secret.data["user"]) == (b"Kept-from-before-1", older.encode())
    assert secret.data["username"] == older.encode()
    assert world.works(older, "Kept-from-before-1", world.named())
    assert world.login() not in world.left()
