"""The process dies after its n-th write, for every n: the next one finishes, and Secret and server agree."""

import asyncio
import inspect
import random

import pytest
from tests.controllers.world import SETTINGS, World, scenario
from tests.controllers.wrappers import Life, MortalExecutor, MortalStore, WrappedStore

from dbtether.controllers.engine import opened_engine
from dbtether.controllers.executor import Executor
from dbtether.runtime.store import Store

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


@pytest.mark.majors(18)
@scenario
async def test_a_crash_at_every_step_of_a_change_is_made_good(world: World) -> None:
    """What people change most, there and back: a database's insides, a user's databases, level and Secret."""
    await apply_all(world)
    await world.database("other")
    await world.settle()
    steps, dies = 0, True
    while dies:
        there = steps % 2 == 0
        schemas, settings = [{"name": f"s{steps}"}], {"work_mem": f"{4 + steps}MB"}
        await world.change(world.database_key(), schemas=schemas, settings=settings, connectionLimit=10 + steps)
        await world.change(
            world.user_key(),
            databaseRef=world.ref("other" if there else "app"),
            privileges="admin" if there else "readonly",
            secret={"name": f"{world.unique}-{steps}", "template": "DB"},
        )
        life = Life(steps)
        await live(world, life)
        dies = life.is_over
        await world.settle()
        await world.assert_ready()
        assert await world.plan() == {}
        secrets = [secret for secret in await world.store.list_secrets() if secret.name.startswith(world.unique)]
        assert sorted(secret.name for secret in secrets) == sorted(
            [f"{world.unique}-{steps}", f"{world.login('maker')}-credentials"]
        )
        password = (await world.secret(f"{world.unique}-{steps}")).data["DB_PASSWORD"].decode()
        assert world.works(world.login(), password, world.named("other" if there else "app"))
        assert not world.works(world.login(), password, world.named("app" if there else "other"))
        steps += 1
    assert steps > 6


def test_every_write_of_a_store_and_every_run_of_an_executor_is_a_step() -> None:
    """A port that gets another writing method must have it counted here, or a crash there is never tried."""
    reads = {"installation", "fingerprint_key", "get", "list", "get_secret", "subscribe"}
    writes = {name for name in vars(Store) if not name.startswith("_")} - reads
    assert {name for name in vars(WrappedStore) if not name.startswith("_")} >= writes
    for name in writes:
        source = inspect.getsource(getattr(WrappedStore, name))
        assert "self.before(" in source
        assert "self.after(" in source
    runs = {name for name in vars(Executor) if not name.startswith("_")} - {"only_plans", "assumed_roles", "may_write"}
    assert runs <= set(vars(MortalExecutor))


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
            one.loop.run_until_settled(90, retry_horizon_seconds=0.5),
            two.loop.run_until_settled(90, retry_horizon_seconds=0.5),
        )
