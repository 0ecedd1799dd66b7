"""The process dies after its n-th write, for every n: the next one finishes, and Secret and server agree."""

import asyncio
import random

import pytest
from tests.controllers.world import SETTINGS, World, scenario
from tests.controllers.wrappers import Life, MortalExecutor, MortalStore

from dbtether.controllers.engine import opened_engine

USERS = ("reader", "maker")


async def apply_all(world: World) -> None:
    await world.cluster()
    await world.database(extensions=["pg_trgm"])
    await world.user("reader", additionalGrants=[{"tables": ["*"], "privileges": ["INSERT"]}])
    await world.user("maker", privileges="admin", secret={"template": "DB"})


async def live(world: World, life: Life) -> None:
    """An engine that dies on the way; the world's own errors after that are of no interest."""
    async with opened_engine(
        MortalStore(world.store, life), executor=MortalExecutor(life), settings=SETTINGS
    ) as engine:
        await engine.loop.run_until_settled(20, retry_horizon_seconds=0.2)


async def assert_converged(world: World) -> None:
    await world.settle()
    await world.assert_ready()
    assert await world.login_works("reader")
    password = (await world.credentials("maker")).data["DB_PASSWORD"].decode()
    assert world.works(world.login("maker"), password, world.named())
    assert await world.plan() == {}


async def delete_all(world: World) -> None:
    await world.delete(*[resource.key for resource in await world.everything()])


@pytest.mark.majors(18)
@scenario
async def test_a_crash_at_every_step_of_creation_and_deletion_is_made_good(world: World) -> None:
    steps, dies = 0, True
    while dies:
        life = Life(steps)
        await apply_all(world)
        await live(world, life)
        dies = life.is_over
        await assert_converged(world)

        await delete_all(world)
        life = Life(steps)
        await live(world, life)
        dies = dies or life.is_over
        await world.settle()
        await world.assert_nothing_left()
        steps += 1
    assert steps > 10


@pytest.mark.majors(18)
@scenario
async def test_a_crash_while_the_last_user_of_a_dropped_database_goes_leaves_no_role(world: World) -> None:
    """On 16+ the owner role stays for the logins it administers: it goes in one transaction with the last."""
    steps, dies = 0, True
    while dies:
        await world.cluster()
        await world.database()
        await world.user()
        await world.settle()
        await world.delete(world.database_key())
        await world.settle()
        await world.delete(world.user_key())
        planned = (await world.plan())[world.user_key()].statements
        owner = f"dbtether_{world.named()}_owner"
        assert any(item.text == f'DROP ROLE "{owner}"' for item in planned) is not world.admin.is_superuser
        life = Life(steps)
        await live(world, life)
        dies = life.is_over
        await world.settle()
        assert world.left() == []
        steps += 1


@pytest.mark.majors(18)
@scenario
async def test_a_crash_at_every_step_of_a_new_password_is_made_good(world: World) -> None:
    await apply_all(world)
    await world.settle()
    steps, dies = 0, True
    while dies:
        await world.edit_secret(f"{world.login()}-credentials", password=f"Edited-by-hand-{steps}".encode())
        await world.change(world.user_key(), privileges="readwrite" if steps % 2 else "readonly")
        life = Life(steps)
        await live(world, life)
        dies = life.is_over
        await assert_converged(world)
        assert await world.password() == f"Edited-by-hand-{steps}"
        steps += 1
    assert steps > 2


@pytest.mark.majors(15, 18)
@scenario
async def test_an_interrupted_run_is_finished_by_the_next(world: World) -> None:
    """Ctrl-C at moments of all kinds, on the way up and on the way down."""
    chance = random.Random(7)
    for _ in range(4):
        await apply_all(world)
        await interrupt(world, chance.uniform(0.0, 0.4))
        await assert_converged(world)
        await delete_all(world)
        await interrupt(world, chance.uniform(0.0, 0.3))
        await world.settle()
        await world.assert_nothing_left()


async def interrupt(world: World, after_seconds: float) -> None:
    async def run() -> None:
        async with opened_engine(world.store, settings=SETTINGS) as engine:
            await engine.loop.run_until_settled(20)

    task = asyncio.create_task(run())
    await asyncio.sleep(after_seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.majors(15, 18)
@scenario
async def test_two_engines_of_one_installation_converge(world: World) -> None:
    """Two operators at once, as after a lost lease: both at the same store and server."""
    for _ in range(2):
        await apply_all(world)
        await together(world)
        await assert_converged(world)
        await delete_all(world)
        await together(world)
        await world.settle()
        await world.assert_nothing_left()


async def together(world: World) -> None:
    async with (
        opened_engine(world.store, settings=SETTINGS) as one,
        opened_engine(world.store, settings=SETTINGS) as two,
    ):
        await asyncio.gather(
            one.loop.run_until_settled(20, retry_horizon_seconds=0.5),
            two.loop.run_until_settled(20, retry_horizon_seconds=0.5),
        )
