"""Consent that is taken back takes the access along, and a login that lost its marker is not forgotten."""

from typing import Any

import pytest
from tests.controllers.world import TEAM, World, phase, scenario

pytestmark = pytest.mark.majors(15, 18)
OTHER = "other"


async def with_other(world: World, privileges: str = "readwrite", **database: Any) -> str:
    """A user of another namespace in two databases, and its password; the second one is its own namespace's."""
    await world.cluster()
    await world.database(allowedNamespaces=[OTHER], **database)
    await world.database("own", OTHER)
    places = [world.ref(namespace=TEAM, privileges=privileges), world.ref("own", OTHER, privileges=privileges)]
    await world.user(namespace=OTHER, databases=places, privileges=None)
    await world.settled_and_ready()
    return await world.password(namespace=OTHER)


def groups(world: World, name: str = "reader") -> list[str]:
    """The groups that the login is in."""
    rows = world.rows(
        "SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid "
        "JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s",
        world.login(name),
    )
    return sorted({row[0] for row in rows})


async def assert_refused(world: World, reason: str, sentence: str) -> None:
    user = await world.get(world.user_key(namespace=OTHER))
    assert await world.reason(user.key) == reason
    assert sentence in user.status["message"]


@pytest.mark.parametrize("privileges", ["readonly", "readwrite", "admin"])
@scenario
async def test_a_database_that_admits_no_longer_is_left_and_the_others_stay(world: World, privileges: str) -> None:
    password = await with_other(world, privileges)
    await world.database()
    planned = (await world.plan())[world.user_key(namespace=OTHER)]
    assert any(f"dbtether_{world.named()}_{privileges}" in item.purpose for item in planned.statements)
    assert world.works(world.login(), password, world.named())
    await world.settle()
    await assert_refused(world, "DatabaseNotFound", f'or does not allow the namespace "{OTHER}"')
    assert not world.works(world.login(), password, world.named())
    assert world.works(world.login(), password, world.named("own"))
    assert not any(world.named() in group for group in groups(world))
    assert await world.plan() == {}
    await world.database(allowedNamespaces=["*"])
    await world.settled_and_ready()
    assert await world.login_works(namespace=OTHER)
    assert await world.password(namespace=OTHER) == password


@scenario
async def test_a_paused_user_keeps_nothing_that_was_taken_back_and_is_left_alone_else(world: World) -> None:
    password = await with_other(world)
    key = world.user_key(namespace=OTHER)
    await world.annotate(key, paused="true")
    await world.change(key, connectionLimit=3)
    await world.database()
    await world.settle()
    assert "Paused" in (await world.status(key))["message"]
    assert not world.works(world.login(), password, world.named())
    assert world.works(world.login(), password, world.named("own"))
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
    assert world.rows(limit, world.login()) == [(-1,)]
    await world.annotate(key, paused="false")
    await world.settle()
    await assert_refused(world, "DatabaseNotFound", f'or does not allow the namespace "{OTHER}"')


@scenario
async def test_an_admins_sessions_end_with_the_consent(world: World) -> None:
    password = await with_other(world, "admin")
    with world.logged_in(world.login(), password, world.named()) as session:
        session.execute("CREATE TABLE public.t ()")
        await world.database()
        await world.settle()
        session.add_notice_handler(lambda _: None)
        with pytest.raises(Exception, match=r"terminat|closed"):
            session.execute("DROP TABLE public.t")


@scenario
async def test_the_only_database_goes_too(world: World) -> None:
    await world.cluster()
    await world.database(allowedNamespaces=[OTHER])
    await world.user(namespace=OTHER, databaseRef=world.ref(namespace=TEAM), connectionLimit=3)
    async with world.running() as engine:
        password = await world.password(namespace=OTHER)
        assert world.works(world.login(), password, world.named())
        await world.database()
        await engine.loop.run_until_settled(20)
        assert (groups(world), world.works(world.login(), password, world.named())) == ([], False)
        await world.database(allowedNamespaces=[OTHER])
        await engine.loop.run_until_settled(20)
        await world.assert_ready()
    assert world.works(world.login(), password, world.named())


@pytest.mark.parametrize(
    "spec",
    [{"connectionLimit": -7}, {"username": "another"}],
    ids=["invalid", "renamed"],
)
@scenario
async def test_nobody_keeps_access_by_breaking_his_own_resource(world: World, spec: dict[str, Any]) -> None:
    password = await with_other(world)
    await world.change(world.user_key(namespace=OTHER), **spec)
    await world.settle()
    assert world.works(world.login(), password, world.named())
    await world.database()
    await world.settle()
    assert phase(await world.get(world.user_key(namespace=OTHER))) == "Failed"
    assert not world.works(world.login(), password, world.named())
    assert world.works(world.login(), password, world.named("own"))


@pytest.mark.parametrize(
    "closed",
    [{"allowedNamespaces": [TEAM]}, {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TEAM}}}],
    ids=["names", "labels"],
)
@scenario
async def test_a_cluster_that_admits_no_longer_takes_everything(world: World, closed: dict[str, Any]) -> None:
    password = await with_other(world)
    await world.cluster(**closed)
    assert world.user_key(namespace=OTHER) in await world.plan()
    await world.settle()
    assert phase(await world.get(world.user_key(namespace=OTHER))) == "Waiting"
    assert groups(world) == []
    assert not world.works(world.login(), password, world.named("own"))
    await world.cluster()
    await world.settled_and_ready()
    assert world.works(world.login(), password, world.named())


@pytest.mark.parametrize("before", ["admin", "readwrite"])
@scenario
async def test_a_lowered_limit_lowers_who_is_there(world: World, before: str) -> None:
    password = await with_other(world, before)
    create = "CREATE TABLE public.mine (id int)"
    assert world.works(world.login(), password, world.named(), create) is (before == "admin")
    await world.cluster(maxPrivileges=[{"namespaces": ["*"], "privileges": "readonly"}])
    assert world.user_key(namespace=OTHER) in await world.plan()
    await world.settle()
    await assert_refused(world, "PrivilegesTooHigh", "allows at most readonly")
    assert groups(world) == sorted(f"dbtether_{world.named(name)}_readonly" for name in ("app", "own"))
    assert world.works(world.login(), password, world.named())
    await world.cluster()
    await world.settled_and_ready()
    assert f"dbtether_{world.named()}_{before}" in groups(world)


@scenario
async def test_asking_for_too_much_gives_nothing_and_takes_nothing(world: World) -> None:
    await world.cluster(maxPrivileges=[{"namespaces": ["*"], "privileges": "readwrite"}])
    await world.database()
    await world.user()
    await world.settled_and_ready()
    await world.change(world.user_key(), privileges="admin")
    await world.settle()
    assert await world.reason(world.user_key()) == "PrivilegesTooHigh"
    assert groups(world) == [f"dbtether_{world.named()}_readonly"]


@scenario
async def test_a_database_that_is_away_takes_nothing(world: World) -> None:
    await world.cluster()
    await world.database(deletionPolicy="Retain")
    await world.user()
    await world.settled_and_ready()
    await world.delete(world.database_key())
    await world.settle()
    assert await world.reason(world.user_key()) == "DatabaseNotFound"
    assert await world.login_works()


@scenario
async def test_a_role_that_is_not_ours_keeps_what_it_has(world: World) -> None:
    password = await with_other(world)
    world.execute("COMMENT ON ROLE {} IS 'dbtether:else/where@test'", world.login())
    await world.database()
    await world.settle()
    assert world.works(world.login(), password, world.named())


# ---- a login without its marker


@pytest.mark.parametrize(
    "comment", ["NULL", "'the reporting login'", "'dbtether:{0} (do not touch)'", "'dbtether:{0}'"]
)
@scenario
async def test_a_login_that_lost_its_marker_is_not_said_to_be_deleted(world: World, comment: str) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    key = world.user_key()
    with world.admin.server.connect() as connection:
        text = comment.format(f"{key.namespace}/{key.name}")
        connection.execute(f'COMMENT ON ROLE "{world.login()}" IS {text}'.encode())
    await world.settle()
    statement = f"""COMMENT ON ROLE "{world.login()}" IS 'dbtether:{key.namespace}/{key.name}@test'"""
    assert statement in (await world.status(key))["message"]
    await world.delete(key)
    await world.settle()
    user = await world.get(key)
    assert (phase(user), await world.reason(key)) == ("Failed", "RoleNotOurs")
    assert statement in user.status["message"]
    assert "dbtether.io/force-delete=true" in user.status["message"]
    assert await world.login_works()
    with world.admin.server.connect() as connection:
        connection.execute(statement.encode())
    await world.settle()
    assert await world.is_gone(key)
    assert world.login() not in world.left()


@pytest.mark.parametrize("change", ["forced", "another's", "gone"])
@scenario
async def test_a_deletion_ends_without_the_login_when_it_is_given_up_or_no_longer_ours(
    world: World, change: str
) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    await world.settled_and_ready()
    if change == "forced":
        world.execute("COMMENT ON ROLE {} IS NULL", world.login())
        await world.annotate(world.user_key(), force_delete="true")
    elif change == "another's":
        world.execute("COMMENT ON ROLE {} IS 'dbtether:else/where@test'", world.login())
    else:
        world.execute("DROP ROLE {}", world.login())
    await world.delete(world.user_key())
    await world.settle()
    assert await world.is_gone(world.user_key())
    assert await world.store.get_secret(TEAM, f"{world.login()}-credentials") is None
    assert (world.login() in world.left()) is (change != "gone")
