"""What is missing is waited for, and its coming wakes those who wait: nothing is polled."""

import pytest
from tests.controllers.world import PLATFORM, World, condition, phase, reason_of, scenario

from dbtether.controllers.engine import opened_engine

pytestmark = pytest.mark.majors(18)


@scenario
async def test_an_absent_credentials_secret_is_named_and_its_coming_connects(world: World) -> None:
    await world.cluster_without_secret()
    await world.database()
    await world.user()
    async with world.running() as engine:
        cluster = await world.get(world.cluster_key)
        assert (phase(cluster), reason_of(cluster)) == ("Failed", "SecretNotFound")
        assert f"{PLATFORM}/admin" in cluster.status["message"]
        assert await world.reason(world.database_key()) == "ClusterNotConnected"
        assert await world.reason(world.user_key()) == "DatabaseNotReady"
        await world.admin_secret()
        await engine.loop.run_until_settled(20)
    await world.assert_ready()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": b"wrong"}, "AuthenticationFailed"),
        ({"password": b""}, "SecretInvalid"),
        ({"username": b"\xff"}, "SecretInvalid"),
    ],
    ids=["wrong", "empty", "no text"],
)
@scenario
async def test_a_wrong_admin_login_is_said_and_a_corrected_one_is_picked_up(
    world: World, change: dict[str, bytes], reason: str
) -> None:
    await world.cluster()
    await world.database()
    await world.settle()
    async with world.running() as engine:
        await world.admin_secret(**change)
        await engine.loop.run_until_settled(20)
        assert await world.reason(world.cluster_key) == reason
        database = await world.get(world.database_key())
        assert (phase(database), reason_of(database)) == ("Waiting", "ClusterNotConnected")
        await world.admin_secret()
        await engine.loop.run_until_settled(20)
    await world.assert_ready()
    assert world.admin.password not in str([resource.status for resource in await world.everything()])


@scenario
async def test_a_line_break_at_the_end_of_a_secrets_value_is_not_meant(world: World) -> None:
    await world.cluster()
    await world.admin_secret(
        username=world.admin.user.encode() + b"\n", password=world.admin.password.encode() + b"\r\n"
    )
    await world.settled_and_ready()


@scenario
async def test_credentials_may_come_from_the_environment(world: World) -> None:
    await world.cluster(credentialsSecretRef=None, credentialsFromEnv={"username": "PGU", "password": "PGP"})
    for environment, reason in (
        ({"PGU": world.admin.user}, "SecretInvalid"),
        ({"PGU": world.admin.user, "PGP": world.admin.password}, "Connected"),
    ):
        async with opened_engine(world.store, environment=environment) as engine:
            await engine.loop.run_until_settled(10)
        assert await world.reason(world.cluster_key) == reason


@scenario
async def test_a_server_that_goes_away_is_shown_and_its_return_makes_all_ready(world: World, fresh: World) -> None:
    world = fresh
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    before = await world.password()
    world.admin.server.stop()
    settlement = await world.settle(10)
    assert world.cluster_key in settlement.failing
    cluster = await world.get(world.cluster_key)
    assert (phase(cluster), reason_of(cluster)) == ("Failed", "ConnectionFailed")
    assert "ConnectionFailed" in [event.reason for event in world.store.events(world.cluster_key)]
    assert phase(await world.get(world.database_key())) == "Waiting"
    world.admin.server.start()
    await world.settled_and_ready()
    assert await world.password() == before
    assert await world.plan() == {}


@scenario
async def test_another_server_behind_the_endpoint_changes_nothing_until_confirmed(world: World, fresh: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.settle()
    other = fresh.admin.server
    async with world.running() as engine:
        await world.change(world.cluster_key, port=other.port)
        await world.admin_secret(username=fresh.admin.user.encode(), password=fresh.admin.password.encode())
        # The others are looked at as well, before or after the DBCluster.
        engine.loop.wake(world.database_key())
        engine.loop.wake(world.user_key())
        await engine.loop.run_until_settled(20)
        assert await world.reason(world.cluster_key) == "ServerChanged"
        assert fresh.rows("SELECT datname::text FROM pg_database WHERE datname = %s", world.named()) == []
        await world.delete(world.user_key())
        await engine.loop.run_until_settled(20)
        assert not await world.is_gone(world.user_key())
        message = (await world.status(world.cluster_key))["message"]
        found = message.rsplit("=", 1)[1]
        await world.annotate(world.cluster_key, confirm_server=found)
        await engine.loop.run_until_settled(20)
    await world.assert_ready(world.cluster_key, world.database_key())
    assert fresh.rows("SELECT 1 FROM pg_database WHERE datname = %s", world.named()) == [(1,)]


@scenario
async def test_a_database_is_never_made_on_a_server_that_the_cluster_has_not_confirmed(
    world: World, fresh: World
) -> None:
    """Also when the Database is looked at before the DBCluster is."""
    await world.cluster()
    await world.settle()
    await world.annotate(world.cluster_key, paused="true")
    await world.change(world.cluster_key, port=fresh.admin.server.port)
    await world.admin_secret(username=fresh.admin.user.encode(), password=fresh.admin.password.encode())
    await world.database()
    await world.settle(3)
    assert await world.reason(world.database_key()) == "ClusterNotConnected"
    assert fresh.rows("SELECT 1 FROM pg_database WHERE datname = %s", world.named()) == []


@scenario
async def test_an_invalid_cluster_is_told_there_and_holds_others_back(world: World) -> None:
    await world.cluster(port=99_999)
    await world.database()
    await world.settle()
    assert await world.reason(world.cluster_key) == "InvalidSpec"
    database = await world.get(world.database_key())
    assert (phase(database), reason_of(database)) == ("Waiting", "ClusterNotFound")
    assert "99999" not in database.status["message"]


@scenario
async def test_paused_changes_nothing_until_it_ends(world: World) -> None:
    await world.cluster()
    await world.database(annotations={"dbtether.io/paused": "true"})
    await world.user()
    async with world.running() as engine:
        database = await world.get(world.database_key())
        assert (phase(database), condition(database)) == ("Pending", None)
        assert condition(database, "Paused")["status"] == "True"  # type: ignore[index]
        assert "until the annotation dbtether.io/paused is removed" in database.status["message"]
        assert "Paused" in (await world.status(world.user_key()))["message"]
        assert world.left() == []
        await world.annotate(world.database_key(), paused="false")
        await engine.loop.run_until_settled(20)
    await world.assert_ready()
    assert condition(await world.get(world.database_key()), "Paused") is None
    for key in (world.cluster_key, world.user_key()):
        await world.annotate(key, paused="true")
    await world.delete(world.user_key())
    for _ in range(2):
        await world.settle()
    assert "its deletion waits" in (await world.status(world.user_key()))["message"]
    for key in (world.cluster_key, world.user_key()):
        paused = await world.get(key)
        assert (phase(paused), condition(paused)["status"]) == (  # type: ignore[index]
            "Connected" if key == world.cluster_key else "Ready",
            "True",
        )
        assert [event.count for event in world.store.events(key) if event.reason == "Paused"] == [1]
    assert not await world.is_gone(world.user_key())
    assert world.login() in world.left()


@scenario
async def test_a_new_value_of_the_reconcile_annotation_repairs_at_once(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    async with world.running() as engine:
        world.execute("ALTER ROLE {} CONNECTION LIMIT 1", world.login())
        await world.annotate(world.user_key(), reconcile="1")
        await engine.loop.run_until_settled(20)
    assert world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login()) == [(-1,)]
    changed = [event for event in world.store.events(world.user_key()) if event.reason == "Changed"]
    assert len(changed) == 1


@scenario
async def test_finalizers_of_the_older_operator_are_exchanged(world: World) -> None:
    await world.cluster()
    await world.database()
    older = ("databaseusers.dbtether.io/finalizer", "someone.else/finalizer")
    await world.store.apply_resource(
        world.user_key(), {"databaseRef": world.ref(), "privileges": "readonly"}, finalizers=older
    )
    await world.settled_and_ready()
    assert (await world.get(world.user_key())).finalizers == ("someone.else/finalizer", "dbtether.io/finalizer")
    await world.delete(world.user_key())
    await world.settle()
    assert (await world.get(world.user_key())).finalizers == ("someone.else/finalizer",)
    assert world.login() not in world.left()
