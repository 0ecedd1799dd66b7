"""Logins whose Databases have drift reported: it is told once and left, and what is asked for anew is applied."""

import pytest
from tests.controllers.world import World, condition, phase, scenario

pytestmark = pytest.mark.majors(15, 18)


async def apply_all(world: World, *policies: str) -> None:
    await world.cluster()
    for number, policy in enumerate(policies):
        await world.database(f"app{number}", driftPolicy=policy)
    await world.user(databases=[world.ref(f"app{number}") for number in range(len(policies))])
    await world.settled_and_ready()


def limit(world: World) -> int:
    return int(world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login())[0][0])


@scenario
async def test_drift_of_a_login_is_told_once_and_left(world: World) -> None:
    await apply_all(world, "Report")
    key = world.user_key()
    world.execute("ALTER ROLE {} CONNECTION LIMIT 3", world.login())
    for _ in range(2):
        await world.settle()
    status = await world.status(key)
    assert (status["phase"], status["driftCount"]) == ("Ready", 1)
    assert status["drift"] == [f"Change login {world.login()}: connection limit -1"]
    assert "differs from the spec in 1 point" in status["message"]
    assert "set spec.driftPolicy of its Database to Repair" in status["message"]
    assert condition(await world.get(key))["reason"] == "DriftDetected"  # type: ignore[index]
    assert limit(world) == 3
    assert await world.plan() == {}
    world.execute("ALTER ROLE {} NOINHERIT", world.login())
    await world.settle()
    told = [event for event in world.store.events(key) if event.reason == "DriftDetected"]
    assert [(event.type.value, event.count) for event in told] == [("Warning", 1), ("Warning", 1)]
    assert "inherits" in told[-1].message
    await world.database("app0", driftPolicy="Repair")
    await world.settled_and_ready()
    status = await world.status(key)
    assert "drift" not in status
    assert "driftCount" not in status
    assert limit(world) == -1


@scenario
async def test_what_the_spec_asks_for_anew_is_applied_with_all_the_rest(world: World) -> None:
    await apply_all(world, "Report")
    world.execute("ALTER ROLE {} CONNECTION LIMIT 3", world.login())
    await world.settle()
    await world.change(world.user_key(), privileges="readwrite")
    await world.settled_and_ready()
    assert (limit(world), await world.reason(world.user_key())) == (-1, "Ready")


@scenario
async def test_a_password_is_left_when_it_was_changed_on_the_server_and_set_when_in_the_secret(world: World) -> None:
    await apply_all(world, "Report")
    world.execute("ALTER ROLE {} PASSWORD 'by-hand'", world.login())
    await world.settle()
    status = await world.status(world.user_key())
    assert (status["drift"], status["loginVerified"]) == ([f"Change login {world.login()}: password"], False)
    assert world.works(world.login(), "by-hand", world.named("app0"))
    await world.edit_secret(f"{world.login()}-credentials", password=b"Edited-in-the-Secret-1")
    await world.settled_and_ready()
    assert world.works(world.login(), "Edited-in-the-Secret-1", world.named("app0"))
    assert (await world.status(world.user_key()))["loginVerified"] is True


@pytest.mark.majors(18)
@scenario
async def test_one_of_several_databases_that_has_drift_repaired_is_enough(world: World) -> None:
    await apply_all(world, "Report", "Repair")
    world.execute("ALTER ROLE {} CONNECTION LIMIT 3", world.login())
    await world.settled_and_ready()
    assert limit(world) == -1
    await world.database("app1", driftPolicy="Report")
    await world.settled_and_ready()
    world.execute("ALTER ROLE {} CONNECTION LIMIT 3", world.login())
    await world.settle()
    assert limit(world) == 3
    assert "one of its Databases" in (await world.status(world.user_key()))["message"]


@pytest.mark.majors(18)
@scenario
async def test_a_login_that_is_gone_is_not_ready_where_drift_is_only_reported(world: World) -> None:
    await apply_all(world, "Report")
    world.execute("DROP ROLE {}", world.login())
    await world.settle()
    user = await world.get(world.user_key())
    assert (phase(user), await world.reason(user.key)) == ("Failed", "DriftDetected")
    assert "is gone from the server" in user.status["message"]


@pytest.mark.majors(18)
@scenario
async def test_consent_that_is_withdrawn_is_no_drift(world: World) -> None:
    await world.cluster()
    await world.database(driftPolicy="Report", allowedNamespaces=["other"])
    await world.user(namespace="other", databaseRef=world.ref(namespace="team"))
    await world.settled_and_ready()
    password = await world.password(namespace="other")
    await world.database(driftPolicy="Report")
    await world.settle()
    assert not world.works(world.login(), password, world.named())
