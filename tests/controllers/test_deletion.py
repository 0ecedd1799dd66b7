"""Deletion in every order, with every policy: nothing hangs, nothing of ours is left, nothing else is lost."""

from itertools import permutations
from typing import Any

import pytest
from psycopg import sql
from tests.controllers.world import TEAM, World, phase, reason_of, scenario

from dbtether.api.names import Group, Marker, group_role
from dbtether.postgres.restores.model import replaced_comment, replaced_name

pytestmark = pytest.mark.majors(15, 18)


async def apply_all(world: World, **database: Any) -> None:
    await world.cluster()
    await world.database(**database)
    await world.user()
    await world.user("maker", privileges="admin")
    await world.settled_and_ready()


@pytest.mark.parametrize("order", list(permutations(("user", "database", "cluster"))), ids="-".join)
@scenario
async def test_deletion_in_every_order_leaves_nothing(world: World, order: tuple[str, ...]) -> None:
    await apply_all(world)
    keys = {"user": world.user_key(), "database": world.database_key(), "cluster": world.cluster_key}
    async with world.running() as engine:
        for step in order:
            await world.delete(keys[step])
            await engine.loop.run_until_settled(20)
        await world.delete(world.user_key("maker"))
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@pytest.mark.majors(18)
@scenario
async def test_a_database_takes_along_what_a_restore_has_left_beside_it(world: World) -> None:
    await apply_all(world)
    marker = Marker(TEAM, world.database_key().name, world.store.installation)
    owner, replaced = group_role(world.named(), Group.OWNER), replaced_name(world.named(), "0a1b2c3d")
    world.execute("CREATE DATABASE {} OWNER {} ALLOW_CONNECTIONS false", replaced, owner)
    comment = replaced_comment(marker, "0a1b2c3d", world.now())
    with world.admin.server.connect() as connection:
        names = sql.Identifier(replaced), sql.Literal(comment)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(*names))
    # One that somebody has dropped is made anew: the one beside it is not it under another name.
    world.execute("DROP DATABASE {} WITH (FORCE)", world.named())
    await world.annotate(world.database_key(), reconcile="now")
    await world.settle()
    assert {world.named(), replaced} <= set(world.left())
    await world.delete(*[resource.key for resource in await world.everything()])
    await world.settle()
    await world.assert_nothing_left()


@scenario
async def test_many_users_and_their_database_go_at_once(world: World) -> None:
    await world.cluster()
    await world.database()
    for number in range(6):
        await world.user(f"u{number}", privileges="admin")
    await world.settle()
    for number in range(6):
        name = f"u{number}"
        with world.logged_in(world.login(name), await world.password(name), world.named()) as connection:
            connection.execute("CREATE SEQUENCE public.s" + str(number))
    await world.delete(*[resource.key for resource in await world.everything()])
    await world.settle()
    await world.assert_nothing_left()


@scenario
async def test_a_database_goes_although_its_users_stay_and_the_last_of_them_takes_the_owner_along(world: World) -> None:
    await apply_all(world)
    await world.delete(world.database_key())
    await world.settle()
    assert await world.is_gone(world.database_key())
    assert world.named() not in world.left()
    assert await world.reason(world.user_key()) == "DatabaseNotFound"
    await world.delete(world.user_key())
    await world.settle()
    await world.delete(world.user_key("maker"))
    await world.settle()
    assert world.left() == []


@scenario
async def test_a_database_made_again_takes_back_the_users_that_stayed(world: World) -> None:
    await apply_all(world)
    await world.delete(world.database_key())
    await world.settle()
    await world.database()
    await world.settled_and_ready()
    assert await world.login_works()


@scenario
async def test_retain_keeps_everything_on_the_server_and_comes_back_to_it(world: World) -> None:
    await world.cluster()
    await world.database(deletionPolicy="Retain")
    await world.user(deletionPolicy="Retain", privileges="admin")
    await world.settle()
    with world.logged_in(world.login(), await world.password(), world.named()) as connection:
        connection.execute("CREATE TABLE public.t ()")
    await world.delete(world.user_key(), world.database_key(), world.cluster_key)
    await world.settle()
    assert await world.everything() == []
    assert {world.named(), world.login()} <= set(world.left())
    await world.cluster()
    await world.database()
    await world.user(privileges="admin")
    await world.settled_and_ready()
    assert world.works(world.login(), await world.password(), world.named(), "SELECT FROM public.t")
    await world.delete(world.user_key(), world.database_key())
    await world.settle()
    assert world.left() == []


@scenario
async def test_what_a_login_owns_in_several_databases_is_handed_over(world: World) -> None:
    await world.cluster()
    await world.database("one")
    await world.database("two")
    both = [world.ref("one"), world.ref("two")]
    await world.user("maker", databases=both, privileges="admin")
    await world.user("heir", databases=both, privileges="admin")
    await world.settle()
    for database in ("one", "two"):
        # Owned by the login itself, as after SET ROLE NONE.
        with world.logged_in(world.login("maker"), await world.password("maker"), world.named(database)) as connection:
            connection.execute("CREATE TABLE public.t ()")
        world.execute("ALTER TABLE public.t OWNER TO {}", world.login("maker"), dbname=world.named(database))
    await world.delete(world.user_key("maker"))
    await world.settle()
    assert world.login("maker") not in world.left()
    for database in ("one", "two"):
        password = await world.password("heir")
        assert world.works(world.login("heir"), password, world.named(database), "DROP TABLE public.t")


@pytest.mark.majors(18)
@scenario
async def test_a_cluster_in_use_waits_for_the_last_that_uses_it(world: World) -> None:
    await apply_all(world)
    async with world.running() as engine:
        await world.delete(world.cluster_key)
        await engine.loop.run_until_settled(20)
        cluster = await world.get(world.cluster_key)
        assert (phase(cluster), reason_of(cluster)) == ("Connected", "InUse")
        assert str(world.database_key()) in cluster.status["message"]
        await world.delete(world.database_key(), world.user_key(), world.user_key("maker"))
        await engine.loop.run_until_settled(20)
    await world.assert_nothing_left()


@pytest.mark.majors(18)
@scenario
async def test_protection_keeps_the_database_until_its_name_is_confirmed(world: World) -> None:
    await apply_all(world, deletionProtection=True)
    await world.delete(world.database_key())
    await world.settle()
    assert await world.is_gone(world.database_key())
    assert world.named() in world.left()
    await world.database(deletionProtection=True, annotations={"dbtether.io/confirm-delete": world.named()})
    await world.settled_and_ready()
    await world.delete(world.database_key())
    await world.settle()
    assert world.named() not in world.left()


@pytest.mark.majors(18)
@scenario
async def test_a_server_that_is_away_is_waited_for_until_it_is_given_up(
    world: World, fresh: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = fresh
    await apply_all(world)
    world.admin.server.stop()
    await world.delete(*[resource.key for resource in await world.everything()])
    await world.settle(5)
    for key in (world.database_key(), world.user_key()):
        resource = await world.get(key)
        assert phase(resource) in ("Deleting", "Failed")
        assert "dbtether.io/force-delete=true" in resource.status["message"]
    for resource in await world.everything():
        await world.annotate(resource.key, force_delete="true")
    await world.settle(10)
    assert await world.everything() == []
    assert [secret.name for secret in await world.store.list_secrets() if secret.namespace == TEAM] == []
    told = [record.message for record in caplog.records if "left behind" in record.message]
    assert any(world.named() in line for line in told)
    assert any(world.login() in line for line in told)


@pytest.mark.majors(18)
@scenario
async def test_a_retaining_resource_goes_although_the_server_is_away(world: World, fresh: World) -> None:
    world = fresh
    await world.cluster()
    await world.database(deletionPolicy="Retain")
    await world.user(deletionPolicy="Retain")
    await world.settle()
    world.admin.server.stop()
    await world.delete(world.database_key(), world.user_key())
    await world.settle(5)
    assert await world.is_gone(world.database_key())
    assert await world.is_gone(world.user_key())


@pytest.mark.majors(18)
@scenario
async def test_with_the_cluster_gone_by_force_the_rest_can_be_given_up(world: World) -> None:
    await apply_all(world)
    await world.annotate(world.cluster_key, force_delete="true")
    await world.delete(world.cluster_key)
    await world.settle()
    assert await world.is_gone(world.cluster_key)
    await world.delete(world.database_key())
    await world.settle()
    assert "force-delete" in (await world.status(world.database_key()))["message"]
    await world.annotate(world.database_key(), force_delete="true")
    await world.settle()
    assert await world.is_gone(world.database_key())
    assert world.named() in world.left()


@pytest.mark.majors(18)
@pytest.mark.parametrize(
    "spec", [{"clusterRef": {"name": "nope"}}, {"encoding": "nonsense"}], ids=["waiting", "invalid"]
)
@scenario
async def test_what_was_never_applied_is_gone_at_once(world: World, spec: dict[str, Any]) -> None:
    await world.cluster()
    await world.database(**spec)
    await world.user()
    await world.settle()
    await world.delete(world.database_key(), world.user_key(), world.cluster_key)
    await world.settle()
    await world.assert_nothing_left()


@scenario
async def test_a_session_in_the_database_does_not_hold_its_end_up(world: World) -> None:
    await apply_all(world)
    with world.logged_in(world.login(), await world.password(), world.named()):
        await world.delete(*[resource.key for resource in await world.everything()])
        await world.settle()
    await world.assert_nothing_left()


@pytest.mark.majors(18)
@scenario
async def test_a_login_that_was_given_a_database_says_what_to_do(world: World) -> None:
    await apply_all(world)
    world.execute("CREATE DATABASE {} OWNER {}", world.named("given"), world.login())
    await world.delete(world.user_key())
    await world.settle()
    user = await world.get(world.user_key())
    assert (phase(user), reason_of(user)) == ("Failed", "RoleHasDependents")
    assert "ALTER DATABASE" in user.status["message"]
