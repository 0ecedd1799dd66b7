"""DatabaseUsers with additionalGrants: the roles that carry them come, are shared, and go."""

from typing import Any, LiteralString

import pytest
from tests.controllers.world import TEAM, World, both_stores, reason_of, scenario
from tests.controllers.wrappers import Keeping, is_write

from dbtether.api.names import is_grant_group


def grant(*privileges: str, tables: tuple[str, ...] = ("orders",), schema: str = "public") -> dict[str, Any]:
    return {"schema": schema, "tables": list(tables), "privileges": list(privileges)}


def grant_roles(world: World) -> list[str]:
    return [name for name in world.left() if is_grant_group(name)]


def make_table(world: World, name: str = "orders") -> None:
    group = f"dbtether_{world.named()}_admin"
    world.execute("SET ROLE {}; CREATE TABLE public.{} (id int)", group, name, dbname=world.named())


async def may(world: World, query: Any, name: str = "reader", namespace: str = TEAM) -> bool:
    return world.works(world.login(name), await world.password(name, namespace), world.named(), query)


@both_stores
@scenario
async def test_users_with_equal_grants_share_one_role(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.settle()
    make_table(world)
    await world.user("one", additionalGrants=[grant("INSERT", "SELECT")])
    await world.user("two", additionalGrants=[grant("SELECT"), grant("INSERT")])
    await world.user("plain")
    await world.settled_and_ready()
    (role,) = grant_roles(world)
    for name in ("one", "two"):
        assert await may(world, "INSERT INTO orders VALUES (1)", name)
        assert not await may(world, "DELETE FROM orders", name)
        assert (await world.status(world.user_key(name)))["databases"][0]["grantRole"] == role
    assert not await may(world, "INSERT INTO orders VALUES (1)", "plain")
    assert (await world.plan()) == {}


@scenario
async def test_everything_applied_at_once_is_planned_and_becomes_ready(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("INSERT", tables=("*",))])
    planned = await world.plan()
    purposes = [item.purpose for plan in planned.values() for item in plan.statements]
    (created,) = [purpose for purpose in purposes if "for additional grants" in purpose]
    assert any(purpose.startswith("Give INSERT on tables that") for purpose in purposes)
    await world.settled_and_ready()
    (role,) = grant_roles(world)
    assert role in created
    assert f"Put {world.login()} into group {role}" in purposes
    make_table(world)
    assert await may(world, "INSERT INTO orders VALUES (1)")


@scenario
async def test_a_running_engine_makes_and_drops_the_roles_without_a_resync(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    async with world.running() as engine:
        make_table(world)

        async def settled() -> None:
            await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
            await world.assert_ready()

        await world.change(world.user_key(), additionalGrants=[grant("INSERT", tables=("*",))])
        await settled()
        (first,) = grant_roles(world)
        assert await may(world, "INSERT INTO orders VALUES (1)")

        await world.change(world.user_key(), additionalGrants=[grant("DELETE", tables=("*",))])
        await settled()
        (second,) = grant_roles(world)
        assert second != first
        assert not await may(world, "INSERT INTO orders VALUES (1)")

        # Dropped by hand: whoever sees it first wakes the other.
        world.execute("DROP OWNED BY {0}", second, dbname=world.named())
        world.execute("DROP ROLE {}", second)
        await world.annotate(world.user_key(), reconcile="now")
        await settled()
        assert grant_roles(world) == [second]
        assert await may(world, "DELETE FROM orders")

        await world.change(world.user_key(), additionalGrants=None)
        await settled()
        assert grant_roles(world) == []
        assert await may(world, "SELECT * FROM orders")

        await world.change(world.user_key(), additionalGrants=[grant("INSERT", tables=("*",))])
        await settled()
        await world.delete(world.user_key())
        await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
        assert grant_roles(world) == []


@scenario
async def test_a_missing_table_is_told_and_granted_when_it_appears(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("INSERT", tables=("orders", "bills"))])
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert await world.reason(world.user_key()) == "GrantsIncomplete"
    assert status["databases"][0]["message"] == "table public.bills does not exist, table public.orders does not exist"
    assert f"{world.named()}: table public.bills does not exist" in status["message"]
    make_table(world)
    await world.settled_and_ready()
    status = await world.status(world.user_key())
    assert status["databases"][0]["message"] == "table public.bills does not exist"
    assert await may(world, "INSERT INTO orders VALUES (1)")
    make_table(world, "bills")
    await world.settled_and_ready()
    assert await world.reason(world.user_key()) == "Ready"
    assert "message" not in (await world.status(world.user_key()))["databases"][0]


@scenario
async def test_an_admin_has_them_all_already(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(privileges="admin", additionalGrants=[grant("TRUNCATE", tables=("*",))])
    await world.settled_and_ready()
    assert grant_roles(world) == []


@pytest.mark.majors(15, 17)
@scenario
async def test_maintain_is_refused_where_the_server_has_it_not(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("MAINTAIN", tables=("*",))])
    await world.settle()
    user = await world.get(world.user_key())
    if world.admin.server.major >= 17:
        assert reason_of(user) == "Ready"
        return
    assert reason_of(user) == "UnsupportedField"
    assert "MAINTAIN exists from PostgreSQL 17 on" in user.status["message"]
    assert grant_roles(world) == []


@scenario
async def test_grants_beyond_the_limit_of_the_namespace_are_refused_and_taken_back(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.settle()
    make_table(world)
    await world.user(additionalGrants=[grant("INSERT")])
    await world.settled_and_ready()
    await world.change(world.cluster_key, maxPrivileges=[{"namespaces": ["*"], "privileges": "readonly"}])
    await world.settle()
    user = await world.get(world.user_key())
    assert reason_of(user) == "PrivilegesTooHigh"
    assert "spec.additionalGrants asks for what readwrite users have" in user.status["message"]
    assert await may(world, "SELECT * FROM orders")
    assert not await may(world, "INSERT INTO orders VALUES (1)")
    await world.settle()
    assert grant_roles(world) == []


@scenario
async def test_another_namespace_makes_no_roles_in_a_database_that_does_not_allow_it(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(namespace="strangers", databaseRef=world.ref(namespace=TEAM), additionalGrants=[grant("INSERT")])
    await world.settle()
    assert grant_roles(world) == []
    await world.change(world.database_key(), allowedNamespaces=["strangers"])
    await world.settled_and_ready()
    assert len(grant_roles(world)) == 1
    await world.change(world.database_key(), allowedNamespaces=None)
    await world.settle()
    await world.settle()
    assert grant_roles(world) == []


@scenario
async def test_one_refusal_leaves_the_grants_in_the_other_databases(world: World) -> None:
    await world.cluster()
    await world.database(allowedNamespaces=["strangers"])
    await world.database("other", allowedNamespaces=["strangers"])
    await world.settle()
    make_table(world)
    databases = [world.ref(namespace=TEAM), world.ref("other", namespace=TEAM)]
    await world.user(namespace="strangers", privileges=None, databases=databases, additionalGrants=[grant("INSERT")])
    await world.settled_and_ready()
    await world.change(world.database_key("other"), allowedNamespaces=None)
    await world.settle()
    assert await world.reason(world.user_key(namespace="strangers")) == "DatabaseNotFound"
    assert await may(world, "INSERT INTO orders VALUES (1)", namespace="strangers")


@scenario
async def test_drift_is_reported_and_what_users_ask_for_is_done(world: World) -> None:
    await world.cluster()
    await world.database(driftPolicy="Report")
    await world.settle()
    make_table(world)
    await world.change(world.database_key(), connectionLimit=77)
    await world.settled_and_ready()
    await world.user(additionalGrants=[grant("INSERT")])
    await world.settled_and_ready()
    assert await may(world, "INSERT INTO orders VALUES (1)")
    (role,) = grant_roles(world)
    world.execute("GRANT TRUNCATE ON orders TO {}", role, dbname=world.named())
    await world.settle()
    assert (await world.status(world.database_key()))["drift"] == [
        f"Revoke TRUNCATE on table public.orders from {role}"
    ]
    await world.delete(world.user_key())
    await world.settle()
    assert grant_roles(world) == []


@scenario
async def test_a_grant_that_waits_for_its_table_is_no_drift(world: World) -> None:
    await world.cluster()
    await world.database(driftPolicy="Report")
    await world.user(additionalGrants=[grant("INSERT")])
    await world.settled_and_ready()
    make_table(world)
    await world.settle()
    assert await may(world, "INSERT INTO orders VALUES (1)")
    assert not (await world.status(world.database_key())).get("drift")
    (role,) = grant_roles(world)
    world.execute("REVOKE INSERT ON orders FROM {}", role, dbname=world.named())
    await world.settle()
    assert (await world.status(world.database_key()))["drift"] == [f"Grant INSERT on table public.orders to {role}"]


@scenario
async def test_nothing_is_left_when_all_goes_at_once(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("INSERT", tables=("*",))])
    await world.user("two", privileges="readwrite", additionalGrants=[grant("TRUNCATE", tables=("*",))])
    await world.settled_and_ready()
    assert len(grant_roles(world)) == 2
    keys = [resource.key for resource in await world.everything()]
    await world.delete(*keys)
    await world.settle()
    await world.assert_nothing_left()


@pytest.mark.majors(15, 18)
@scenario
async def test_the_second_user_costs_the_same_with_five_hundred_tables(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.settle()
    counts = []
    tables = 0
    for rounds in (1, 499):
        for _ in range(rounds):
            make_table(world, f"t{tables}")
            tables += 1
        listed = [
            grant("INSERT", tables=tuple(f"t{number}" for number in range(start, min(start + 256, tables))))
            for start in range(0, tables, 256)
        ]
        await world.user(f"first{rounds}", additionalGrants=listed)
        await world.settled_and_ready()
        async with world.running() as engine:
            mark = world.admin.server.mark()
            await world.user(f"second{rounds}", additionalGrants=listed)
            await engine.loop.run_until_settled(20, retry_horizon_seconds=0.35)
            logged = world.admin.server.statements_since(mark)
        await world.assert_ready()
        # Other tests use the server too.
        counts.append(len([one for one in logged if is_write(one) and world.login(f"second{rounds}") in one]))
        assert not any("ON TABLE" in one for one in logged if world.unique in one and is_write(one))
    # One of them is the rehearsal of the first password, which is rolled back.
    assert counts == [4, 4]


@pytest.mark.majors(15, 18)
@pytest.mark.parametrize("ends", ["another list", "no list", "deleted", "refused"])
@scenario
async def test_a_plan_shows_the_role_that_goes_with_its_last_user(world: World, ends: str) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("INSERT", tables=("*",))])
    await world.settled_and_ready()
    match ends:
        case "another list":
            await world.change(world.user_key(), additionalGrants=[grant("DELETE", tables=("*",))])
        case "no list":
            await world.change(world.user_key(), additionalGrants=None)
        case "deleted":
            await world.delete(world.user_key())
        case "refused":
            limit = {"namespaces": [TEAM], "privileges": "readonly"}
            await world.change(world.cluster_key, maxPrivileges=[limit])
    planned = {key: sorted(one.text for one in found.statements) for key, found in (await world.plan()).items()}
    (role,) = grant_roles(world)
    assert f'DROP ROLE "{role}"' in planned[world.database_key()]
    executor = Keeping()
    await world.settle(executor=executor)
    assert planned == {key: sorted(texts) for key, texts in executor.run_by_key().items()}
    assert role not in grant_roles(world)


@pytest.mark.majors(15, 18)
@scenario
async def test_both_logins_of_an_overlap_rotation_have_the_grants(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(additionalGrants=[grant("INSERT", tables=("*",))], rotation={"days": 30, "strategy": "Overlap"})
    await world.settled_and_ready()
    await world.annotate(world.user_key(), rotate="now")
    await world.settled_and_ready()
    (first,) = grant_roles(world)
    members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolcanlogin AND "
    query: LiteralString = members + "m.roleid = %s::regrole AND starts_with(r.rolname, %s)"
    assert world.rows(query, f'"{first}"', world.login()) == [(2,)]
    await world.change(world.user_key(), additionalGrants=None)
    await world.settled_and_ready()
    assert grant_roles(world) == []
