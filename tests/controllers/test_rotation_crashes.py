"""The process dies after its n-th write or batch of a rotation, for every n: the next one makes it good."""

from typing import Any

import pytest
from tests.controllers.test_rotation import IN_PLACE, OVERLAP, in_secret
from tests.controllers.world import SETTINGS, World, scenario
from tests.controllers.wrappers import Life, MortalExecutor, MortalStore

from dbtether.controllers.engine import opened_engine


async def live(world: World, life: Life) -> None:
    """An engine that dies on the way."""
    async with opened_engine(
        MortalStore(world.store, life),
        executor=MortalExecutor(life),
        settings=SETTINGS,
        on_rotation=world.rotations.append,
    ) as engine:
        await engine.loop.run_until_settled(20, retry_horizon_seconds=0.2)


class Application:
    """Has credentials, and tries them after each step."""

    def __init__(self, world: World, credentials: tuple[str, str]) -> None:
        self._world, self._credentials = world, credentials
        self.tries: list[bool] = []

    def look(self) -> None:
        self.tries.append(self._world.works(*self._credentials, self._world.named()))


async def secrets_of(world: World) -> list[tuple[str, str]]:
    entries = (await world.status(world.user_key()))["databases"]
    return [await in_secret(world, name) for name in dict.fromkeys(entry["secretName"] for entry in entries)]


@pytest.mark.majors(15, 18)
@pytest.mark.parametrize("value", ["now", "each"], ids=["now", "a-value"])
@pytest.mark.parametrize("rotation", [IN_PLACE, OVERLAP], ids=["in-place", "overlap"])
@scenario
async def test_a_crash_at_every_step_of_a_rotation_is_made_good(
    world: World, rotation: dict[str, Any], value: str
) -> None:
    await world.cluster()
    await world.database("app")
    await world.database("other")
    await world.user(
        databases=[world.ref("app"), world.ref("other", privileges="admin")],
        secretGeneration="perDatabase",
        rotation=rotation,
    )
    await world.settled_and_ready()
    overlaps = rotation is OVERLAP
    steps, dies = 0, True
    while dies:
        world.rotations.clear()
        (before,) = set(await secrets_of(world))
        await world.annotate(world.user_key(), rotate=value if value == "now" else f"{value}-{steps}")
        application = Application(world, before)
        life = Life(steps, application.look)
        await live(world, life)
        dies = life.is_over
        shown = await secrets_of(world)
        if overlaps:
            assert all(application.tries), "an application was cut off"
            # At no moment does a Secret name what does not work.
            assert all(world.works(*credentials, world.named()) for credentials in shown)
        await world.settle()
        await world.assert_ready()
        (after,) = set(await secrets_of(world))
        assert after != before
        if set(shown) != {before}:
            assert after in shown, "a second new password was made after the Secret had one"
        for database in ("app", "other"):
            assert world.works(*after, world.named(database))
        assert world.works(*before, world.named()) is overlaps
        status = await world.status(world.user_key())
        assert "pendingRotation" not in status
        assert await world.plan() == {}
        await world.settle()
        assert set(await secrets_of(world)) == {after}
        steps += 1
    assert steps >= 5


@pytest.mark.majors(18)
@scenario
async def test_a_crash_at_every_step_of_the_way_home_from_overlap_is_made_good(world: World) -> None:
    steps, dies = 0, True
    while dies:
        await world.cluster()
        await world.database()
        await world.user(rotation=OVERLAP)
        await world.settled_and_ready()
        await world.annotate(world.user_key(), rotate="now")
        await world.settle()
        second = await in_secret(world)
        await world.change(world.user_key(), rotation=None)
        await world.annotate(world.user_key(), rotate=f"home-{steps}")
        application = Application(world, second)
        life = Life(steps, application.look)
        await live(world, life)
        dies = life.is_over
        await world.settle()
        await world.assert_ready()
        login, password = await in_secret(world)
        assert login == world.login()
        assert world.works(login, password, world.named())
        application.look()
        assert all(application.tries), "an application was cut off"
        await world.delete(*[resource.key for resource in await world.everything()])
        await world.settle()
        await world.assert_nothing_left()
        steps += 1
