"""Who may refer to what across namespaces, and that a refusal tells nothing."""

import asyncio
from typing import Any

import pytest
from psycopg import sql
from tests.controllers.world import CLUSTER, TEAM, World, phase, reason_of, scenario

from dbtether.controllers.engine import opened_engine
from dbtether.runtime.overlay import MemoryStore

pytestmark = pytest.mark.majors(18)
OTHER = "other"


@scenario
async def test_a_database_admits_its_own_namespace_and_those_it_names(world: World) -> None:
    await world.cluster()
    await world.database(allowedNamespaces=["friend"])
    for namespace in (TEAM, "friend", OTHER):
        await world.user(namespace, namespace, databaseRef=world.ref(namespace=TEAM))
    await world.settle()
    await world.assert_ready(world.user_key(TEAM, TEAM), world.user_key("friend", "friend"))
    refused = await world.get(world.user_key(OTHER, OTHER))
    assert (phase(refused), reason_of(refused)) == ("Waiting", "DatabaseNotFound")
    assert world.login(OTHER) not in world.left()


@scenario
async def test_consent_given_later_wakes_who_waits_and_taken_back_stops(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(namespace=OTHER, databaseRef=world.ref(namespace=TEAM))
    async with world.running() as engine:
        await world.database(allowedNamespaces=["*"])
        await engine.loop.run_until_settled(20)
        await world.assert_ready()
        await world.database()
        await engine.loop.run_until_settled(20)
        assert await world.reason(world.user_key(namespace=OTHER)) == "DatabaseNotFound"
        # What it has it may still give back.
        await world.delete(world.user_key(namespace=OTHER))
        await engine.loop.run_until_settled(20)
    assert world.login() not in world.left()


@pytest.mark.parametrize("state", ["valid", "invalid", "deleted"])
@scenario
async def test_a_refusal_of_a_database_does_not_tell_whether_it_exists(world: World, state: str) -> None:
    await world.cluster()
    extra: dict[str, Any] = {"encoding": "nonsense"} if state == "invalid" else {}
    await world.database("real", **extra)
    await world.settle()
    if state == "deleted":
        await world.annotate(world.database_key("real"), paused="true")
        await world.delete(world.database_key("real"))
    for name in ("real", "none"):
        await world.user(name, OTHER, databaseRef=world.ref(name, TEAM))
    await world.settle()
    real, none = [await world.status(world.user_key(name, OTHER)) for name in ("real", "none")]
    assert without_names(real) == without_names(none)


def without_names(status: Any) -> str:
    kept = {"phase": status["phase"], "message": status["message"], "reason": status["conditions"][0]["reason"]}
    return str(kept).replace("real", "none")


@pytest.mark.parametrize("state", ["valid", "invalid", "not connected"])
@scenario
async def test_a_refusal_of_a_cluster_does_not_tell_whether_it_exists(world: World, state: str) -> None:
    changes: dict[str, Any] = {"valid": {}, "invalid": {"port": 0}, "not connected": {"port": 1}}[state]
    await world.cluster(allowedNamespaces=["friend"], **changes)
    await world.database("real")
    await world.database("none", clusterRef={"name": "nope"})
    await world.settle(5)
    real, none = [await world.status(world.database_key(name)) for name in ("real", "none")]
    assert without_names(real).replace(CLUSTER, "nope") == without_names(none)
    assert world.left() == []


@scenario
async def test_a_cluster_admits_namespaces_by_their_labels(world: World) -> None:
    await world.cluster(namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": TEAM}})
    await world.database("ours")
    await world.database("theirs", OTHER)
    await world.settle()
    await world.assert_ready(world.database_key("ours"))
    assert await world.reason(world.database_key("theirs", OTHER)) == "ClusterNotFound"


@scenario
async def test_what_was_made_can_be_deleted_after_the_cluster_shuts_a_namespace_out(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.settle()
    await world.cluster(allowedNamespaces=["friend"])
    await world.delete(world.database_key(), world.user_key())
    await world.settle()
    assert world.left() == []


@scenario
async def test_privileges_beyond_the_clusters_limit_are_refused(world: World) -> None:
    await world.cluster(
        maxPrivileges=[
            {"namespaces": [TEAM], "privileges": "readwrite"},
            {"namespaces": ["*"], "privileges": "readonly"},
        ]
    )
    await world.database(allowedNamespaces=["*"])
    await world.user("fits", privileges="readwrite")
    await world.user("high", privileges="admin")
    await world.user("far", OTHER, databaseRef=world.ref(namespace=TEAM), privileges="readwrite")
    await world.settle()
    await world.assert_ready(world.user_key("fits"))
    assert await world.reason(world.user_key("high")) == "PrivilegesTooHigh"
    assert await world.reason(world.user_key("far", OTHER)) == "PrivilegesTooHigh"
    assert {world.login("high"), world.login("far")} & set(world.left()) == set()


# ---- names


@pytest.mark.parametrize("namespace", [TEAM, OTHER])
@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "the other way round"])
@scenario
async def test_one_database_has_one_resource_and_the_next_takes_over(
    world: World, namespace: str, reverse: bool
) -> None:
    await world.cluster()
    names = [("b", TEAM), ("a", namespace)] if reverse else [("a", TEAM), ("b", namespace)]
    first, second = [world.database_key(*name) for name in names]
    await world.database(*names[0], databaseName=world.named("shared"))
    async with world.running() as engine:
        await world.database(*names[1], databaseName=world.named("shared"))
        await engine.loop.run_until_settled(20)
        await world.assert_ready(first)
        loser = await world.get(second)
        assert (phase(loser), reason_of(loser)) == ("Failed", "DatabaseConflict")
        assert (str(first) in loser.status["message"]) is (namespace == TEAM)
        await world.delete(first)
        await engine.loop.run_until_settled(20)
    await world.assert_ready(second)


@pytest.mark.parametrize("namespace", [TEAM, OTHER])
@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "the other way round"])
@scenario
async def test_one_login_has_one_resource_and_the_next_takes_over(world: World, namespace: str, reverse: bool) -> None:
    await world.cluster()
    await world.database(allowedNamespaces=["*"])
    names = [("b", TEAM), ("a", namespace)] if reverse else [("a", TEAM), ("b", namespace)]
    first, second = [world.user_key(*name) for name in names]
    shared: dict[str, Any] = {"username": world.login("shared"), "databaseRef": world.ref(namespace=TEAM)}
    await world.user(*names[0], **shared)
    async with world.running() as engine:
        password = await world.password(*names[0])
        await world.user(*names[1], **shared)
        await engine.loop.run_until_settled(20)
        await world.assert_ready(first)
        loser = await world.get(second)
        assert (phase(loser), reason_of(loser)) == ("Failed", "RoleConflict")
        assert (str(first) in loser.status["message"]) is (namespace == TEAM)
        assert await world.store.get_secret(second.namespace, f"{second.name}-credentials") is None
        assert world.works(world.login("shared"), password, world.named())
        await world.delete(first)
        await engine.loop.run_until_settled(20)
    await world.assert_ready(second)
    assert world.works(world.login("shared"), await world.password(*names[1]), world.named())


@scenario
async def test_who_is_not_admitted_keeps_no_name_from_others(world: World) -> None:
    """Written down first, but never accepted: the name is free."""
    await world.cluster(allowedNamespaces=[TEAM])
    await world.database("a-squatter", OTHER, databaseName=world.named())
    await world.user("a-squatter", OTHER, databaseRef=world.ref(namespace=TEAM), username=world.login())
    await world.settle()
    await world.database()
    await world.user()
    await world.settle()
    await world.assert_ready(world.database_key(), world.user_key())


@scenario
async def test_who_is_not_admitted_does_not_hold_the_cluster(world: World) -> None:
    await world.cluster(allowedNamespaces=["friend"])
    await world.database()
    await world.settle()
    await world.delete(world.cluster_key)
    await world.settle()
    assert await world.is_gone(world.cluster_key)


@scenario
async def test_a_foreign_database_or_role_is_not_touched(world: World) -> None:
    world.execute("CREATE DATABASE {}", world.named())
    world.execute("CREATE ROLE {} LOGIN PASSWORD 'theirs'", world.login())
    await world.cluster()
    await world.database()
    await world.database("mine")
    await world.user(databaseRef=world.ref("mine"))
    await world.settle()
    assert await world.reason(world.database_key()) == "DatabaseNotOurs"
    assert await world.reason(world.user_key()) == "RoleNotOurs"
    assert world.works(world.login(), "theirs", world.named())
    assert await world.store.get_secret(TEAM, f"{world.login()}-credentials") is None
    await world.delete(world.database_key(), world.user_key())
    await world.settle()
    assert {world.named(), world.login()} <= set(world.left())


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("dbtether:team/{0}-reader@other", "OtherInstallation"),
        ("dbtether:other/{0}-reader@test", "RoleNotOurs"),
        ("dbtether:team/{0}-reader", "RoleNotOurs"),
    ],
)
@scenario
async def test_the_marker_of_another_is_respected(world: World, comment: str, reason: str) -> None:
    world.execute("CREATE ROLE {}", world.login())
    with world.admin.server.connect() as connection:
        mark = sql.Literal(comment.format(world.unique))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(world.login()), mark))
    await world.cluster()
    await world.database()
    await world.user()
    await world.settle()
    assert await world.reason(world.user_key()) == reason


@pytest.mark.parametrize("name", ["dbtether_x_admin", "pg_monitor", "postgres"])
@scenario
async def test_a_tenant_cannot_name_a_group_or_a_role_of_the_server(world: World, name: str) -> None:
    await world.cluster()
    await world.database()
    await world.user(username=name)
    await world.settle()
    assert await world.reason(world.user_key()) in ("InvalidSpec", "RoleNotOurs")


@scenario
async def test_a_group_that_exists_already_is_no_group_of_ours(world: World) -> None:
    world.execute("CREATE ROLE {}", f"dbtether_{world.named()}_admin")
    await world.cluster()
    await world.database()
    await world.settle()
    assert await world.reason(world.database_key()) == "RoleNotOurs"
    assert world.named() not in world.left()


# ---- two installations


@scenario
async def test_two_installations_do_not_touch_each_others_objects(world: World) -> None:
    other = World(world.admin, world.unique, MemoryStore(installation="another"))
    for each in (world, other):
        await each.cluster()
        await each.database()
        await each.user()
    async with opened_engine(world.store) as one, opened_engine(other.store) as two:
        await asyncio.gather(one.loop.run_until_settled(20), two.loop.run_until_settled(20))
    ready = [each for each in (world, other) if phase(await each.get(each.database_key())) == "Ready"]
    assert len(ready) == 1
    (winner,) = ready
    loser = other if winner is world else world
    await winner.settled_and_ready()
    assert await winner.login_works()
    assert await loser.reason(loser.database_key()) == "DatabaseNotOurs"
    await loser.delete(*[resource.key for resource in await loser.everything()])
    await loser.settle()
    assert await winner.login_works()
