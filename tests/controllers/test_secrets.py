"""The Secret is the truth: what stands in it is what the role gets, and nobody else's is ever taken."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.controllers.world import PLATFORM, SETTINGS, TEAM, World, both_stores, phase, scenario

from dbtether.api.resource import Owner, Secret
from dbtether.controllers.engine import opened_engine

pytestmark = pytest.mark.majors(18)

CUSTOM = {"host": "H", "port": "P", "database": "D", "user": "U", "password": "W"}


async def with_user(world: World, **changes: Any) -> None:
    await world.cluster()
    await world.database()
    await world.user(**changes)
    await world.settle()


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        ({"template": "raw"}, ["host", "port", "database", "user", "password"]),
        ({"template": "DB"}, ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"]),
        (
            {"template": "DATABASE"},
            ["DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER", "DATABASE_PASSWORD"],
        ),
        (
            {"template": "POSTGRES"},
            ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DATABASE", "POSTGRES_USER", "POSTGRES_PASSWORD"],
        ),
        ({"template": "custom", "keys": CUSTOM}, list(CUSTOM.values())),
    ],
    ids=lambda value: value["template"] if isinstance(value, dict) else "",
)
@scenario
async def test_each_template_names_the_five_values(world: World, secret: dict[str, object], keys: list[str]) -> None:
    await with_user(world, secret=secret)
    data = (await world.credentials()).data
    assert sorted(data) == sorted(keys)
    host, port, database, user, password = (data[key].decode() for key in keys)
    assert (host, port) == (world.admin.server.host, str(world.admin.server.port))
    assert (database, user) == (world.named(), world.login())
    assert world.works(user, password, database)


@scenario
async def test_a_changed_template_keeps_the_password_and_leaves_no_old_key(world: World) -> None:
    await with_user(world)
    password = await world.password()
    await world.change(world.user_key(), secret={"template": "DB"})
    await world.settled_and_ready()
    data = (await world.credentials()).data
    assert data["DB_PASSWORD"].decode() == password
    assert "password" not in data


@both_stores
@scenario
async def test_a_changed_name_keeps_the_password_and_removes_the_old_secret(world: World) -> None:
    await with_user(world)
    password = await world.password()
    await world.change(world.user_key(), secret={"name": "other-name"})
    await world.settled_and_ready()
    assert (await world.secret("other-name")).data["password"].decode() == password
    assert await world.store.get_secret(TEAM, f"{world.login()}-credentials") is None


@scenario
async def test_keys_labels_and_annotations_of_others_survive_in_a_secret_of_ours(world: World) -> None:
    await with_user(world)
    secret = await world.credentials()
    await world.store.write_secret(
        Secret(
            secret.namespace,
            secret.name,
            {**secret.data, "extra": b"theirs"},
            labels={**secret.labels, "tool": "x"},
            annotations={**secret.annotations, "tool": "y"},
            owner=secret.owner,
            uid=secret.uid,
            resource_version=secret.resource_version,
        )
    )
    await world.change(world.user_key(), secret={"template": "DB"})
    await world.settled_and_ready()
    after = await world.credentials()
    assert after.data["extra"] == b"theirs"
    assert (after.labels["tool"], after.annotations["tool"]) == ("x", "y")
    assert "password" not in after.data


# ---- somebody else's Secret of the wanted name


FOREIGN = {"token": b"foreign", "password": b"foreign password"}
NO_PASSWORD = {"token": b"foreign"}


async def with_foreign(world: World, policy: str, data: Mapping[str, bytes] | None = None, **fields: object) -> None:
    foreign = {"labels": {"app": "theirs"}, "annotations": {"note": "theirs"}, **fields}
    await world.store.write_secret(Secret(TEAM, "taken", data or FOREIGN, **foreign))  # type: ignore[arg-type]
    await with_user(world, secret={"name": "taken", "onConflict": policy})


@scenario
async def test_a_foreign_secret_is_refused_and_nothing_is_made(world: World) -> None:
    await with_foreign(world, "Fail")
    assert await world.reason(world.user_key()) == "SecretConflict"
    assert (await world.secret("taken")).data == {"token": b"foreign", "password": b"foreign password"}
    assert world.login() not in world.left()


@scenario
async def test_merge_adds_our_keys_and_takes_only_them_away_again(world: World) -> None:
    await with_foreign(world, "Merge", NO_PASSWORD)
    await world.assert_ready()
    merged = await world.secret("taken")
    assert merged.data["token"] == b"foreign"
    assert merged.owner is None
    assert world.works(world.login(), merged.data["password"].decode(), world.named())
    await world.delete(world.user_key())
    await world.settle()
    rest = await world.secret("taken")
    assert dict(rest.data) == {"token": b"foreign"}
    assert (dict(rest.labels), dict(rest.annotations)) == ({"app": "theirs"}, {"note": "theirs"})


@scenario
async def test_a_changed_template_leaves_none_of_our_old_keys_in_a_merged_secret(world: World) -> None:
    await with_foreign(world, "Merge", NO_PASSWORD)
    await world.change(world.user_key(), secret={"name": "taken", "onConflict": "Merge", "template": "DB"})
    await world.settled_and_ready()
    assert sorted((await world.secret("taken")).data) == [
        "DB_HOST", "DB_NAME", "DB_PASSWORD", "DB_PORT", "DB_USER", "token",
    ]  # fmt: skip


@scenario
async def test_merge_never_overwrites_somebody_elses_key(world: World) -> None:
    await with_foreign(world, "Merge")
    before = await world.secret("taken")
    user = await world.get(world.user_key())
    assert (phase(user), await world.reason(user.key)) == ("Failed", "SecretConflict")
    assert "key password already" in user.status["message"]
    await world.delete(world.user_key())
    await world.settle()
    assert await world.secret("taken") == before
    assert world.login() not in world.left()


@scenario
async def test_a_changed_template_overwrites_nothing_in_a_merged_secret(world: World) -> None:
    await with_foreign(world, "Merge", {"DB_HOST": b"theirs"})
    await world.assert_ready()
    before = await world.secret("taken")
    await world.change(world.user_key(), secret={"name": "taken", "onConflict": "Merge", "template": "DB"})
    await world.settle()
    assert await world.reason(world.user_key()) == "SecretConflict"
    assert await world.secret("taken") == before
    await world.change(world.user_key(), secret={"name": "taken", "onConflict": "Merge", "template": "POSTGRES"})
    await world.settled_and_ready()
    await world.edit_secret("taken", POSTGRES_PASSWORD=b"edited-by-hand-1")
    await world.settled_and_ready()
    await world.delete(world.user_key())
    await world.settle()
    assert dict((await world.secret("taken")).data) == {"DB_HOST": b"theirs"}


@scenario
async def test_adopt_takes_the_secret_over_with_what_is_in_it(world: World) -> None:
    await with_foreign(world, "Adopt")
    await world.assert_ready()
    adopted = await world.secret("taken")
    assert adopted.owner is not None
    assert adopted.owner.name == world.user_key().name
    assert adopted.data["token"] == b"foreign"
    assert adopted.labels["app"] == "theirs"
    assert world.works(world.login(), adopted.data["password"].decode(), world.named())
    await world.delete(world.user_key())
    await world.settle()
    assert await world.store.get_secret(TEAM, "taken") is None


@pytest.mark.parametrize("policy", ["Adopt", "Merge"])
@pytest.mark.parametrize(
    "fields",
    [{"owner": Owner("Deployment", "web", "u-1")}, {"type": "kubernetes.io/tls"}],
    ids=["owned", "of another type"],
)
@scenario
async def test_a_secret_of_another_controller_is_never_taken(world: World, policy: str, fields: dict[str, Any]) -> None:
    await with_foreign(world, policy, **fields)
    assert await world.reason(world.user_key()) == "SecretConflict"
    assert (await world.secret("taken")).data["password"] == b"foreign password"


@pytest.mark.parametrize("policy", ["Fail", "Adopt", "Merge"])
@scenario
async def test_a_secret_of_another_user_of_ours_is_never_taken(world: World, policy: str) -> None:
    await with_user(world)
    before = await world.credentials()
    await world.user("thief", secret={"name": before.name, "onConflict": policy})
    await world.settle()
    assert await world.reason(world.user_key("thief")) == "SecretConflict"
    assert await world.credentials() == before
    await world.assert_ready(world.user_key())


@pytest.mark.parametrize("policy", ["Adopt", "Merge"])
@scenario
async def test_two_users_do_not_fight_over_one_secret_that_both_merge_into(world: World, policy: str) -> None:
    await with_foreign(world, "Merge", NO_PASSWORD)
    await world.assert_ready()
    await world.user("second", secret={"name": "taken", "onConflict": policy})
    settlement = await world.settle(8)
    assert settlement.unsettled == ()
    assert await world.reason(world.user_key("second")) == "SecretConflict"
    await world.assert_ready(world.user_key())


@scenario
async def test_a_user_with_a_very_long_name_gets_a_label_that_kubernetes_takes(world: World) -> None:
    await world.cluster()
    await world.database()
    name = "n" * 70
    await world.user(name, username=world.login("long"))
    await world.settled_and_ready()
    secret = await world.secret(f"{world.login(name)}-credentials")
    assert all(len(value) <= 63 for value in secret.labels.values())
    await world.delete(world.user_key(name))
    await world.settle()
    assert await world.is_gone(world.user_key(name))


# ---- people at the Secret and at the server


@both_stores
@scenario
async def test_a_password_edited_in_the_secret_becomes_the_roles(world: World) -> None:
    await with_user(world)
    old = await world.password()
    await world.edit_secret(f"{world.login()}-credentials", password=b"Edited-by-hand-1")
    await world.settled_and_ready()
    assert world.works(world.login(), "Edited-by-hand-1", world.named())
    assert not world.works(world.login(), old, world.named())
    assert await world.password() == "Edited-by-hand-1"


@scenario
async def test_an_edit_is_picked_up_by_an_engine_that_is_running(world: World) -> None:
    await with_user(world)
    async with world.running() as engine:
        await world.edit_secret(f"{world.login()}-credentials", password=b"Edited-by-hand-1")
        await engine.loop.run_until_settled(20)
    assert world.works(world.login(), "Edited-by-hand-1", world.named())


@scenario
async def test_a_password_that_is_not_ascii_is_set_once(world: World) -> None:
    await with_user(world)
    await world.edit_secret(f"{world.login()}-credentials", password="Grüße-und-mehr-42".encode())
    await world.settled_and_ready()
    assert world.works(world.login(), "Grüße-und-mehr-42", world.named())
    assert await world.plan() == {}


@pytest.mark.parametrize("value", [b"\xff\xfe", b"nul\0inside", b"x" * 2000], ids=["bytes", "nul", "long"])
@scenario
async def test_what_cannot_be_a_password_is_refused_without_showing_it(world: World, value: bytes) -> None:
    await with_user(world)
    await world.edit_secret(f"{world.login()}-credentials", password=value)
    await world.settle()
    assert await world.reason(world.user_key()) == "SecretInvalid"
    assert "inside" not in str((await world.status(world.user_key()))["message"])


@both_stores
@scenario
async def test_a_deleted_secret_comes_back_with_a_password_that_works(world: World) -> None:
    await with_user(world)
    old = await world.password()
    await world.store.delete_secret(await world.credentials())
    await world.settled_and_ready()
    assert await world.password() != old
    assert await world.login_works()


@scenario
async def test_an_emptied_secret_is_filled_with_a_password_that_works(world: World) -> None:
    await with_user(world)
    secret = await world.credentials()
    await world.store.write_secret(
        Secret(
            secret.namespace,
            secret.name,
            {},
            labels=secret.labels,
            owner=secret.owner,
            uid=secret.uid,
            resource_version=secret.resource_version,
        )
    )
    await world.settled_and_ready()
    assert await world.login_works()


@scenario
async def test_a_password_changed_on_the_server_is_set_back(world: World) -> None:
    await with_user(world)
    world.execute("ALTER ROLE {} PASSWORD 'by-hand'", world.login())
    await world.settled_and_ready()
    assert await world.login_works()
    assert not world.works(world.login(), "by-hand", world.named())


@scenario
async def test_one_secret_for_each_database_holds_the_same_password(world: World) -> None:
    await world.cluster()
    await world.database("one")
    await world.database("two")
    await world.user(databases=[world.ref("one"), world.ref("two")], secretGeneration="perDatabase")
    await world.settled_and_ready()
    names = [f"{world.login()}-{world.database_key(name).name}-credentials" for name in ("one", "two")]
    for name, database in zip(names, ("one", "two"), strict=True):
        data = (await world.secret(name)).data
        assert data["database"].decode() == world.named(database)
        assert world.works(world.login(), data["password"].decode(), world.named(database))
    assert (await world.secret(names[0])).data["password"] == (await world.secret(names[1])).data["password"]


@scenario
async def test_an_edit_of_any_of_several_secrets_counts(world: World) -> None:
    await world.cluster()
    await world.database("one")
    await world.database("two")
    await world.user(databases=[world.ref("one"), world.ref("two")], secretGeneration="perDatabase")
    await world.settle()
    names = [f"{world.login()}-{world.database_key(name).name}-credentials" for name in ("one", "two")]
    await world.edit_secret(names[1], password=b"Edited-by-hand-1")
    await world.settled_and_ready()
    assert (await world.secret(names[0])).data["password"] == b"Edited-by-hand-1"
    assert world.works(world.login(), "Edited-by-hand-1", world.named("one"))


@scenario
async def test_a_secret_of_a_database_that_left_the_list_goes(world: World) -> None:
    await world.cluster()
    await world.database("one")
    await world.database("two")
    await world.user(databases=[world.ref("one"), world.ref("two")], secretGeneration="perDatabase")
    await world.settle()
    await world.change(world.user_key(), databases=[world.ref("one")])
    await world.settled_and_ready()
    ours = [s.name for s in await world.store.list_secrets() if s.namespace != PLATFORM]
    assert ours == [f"{world.login()}-{world.database_key('one').name}-credentials"]


@scenario
async def test_a_password_of_ones_own_is_awaited_taken_and_followed(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(passwordSecretRef={"name": "mine", "key": "word"})
    await world.settle()
    assert phase(await world.get(world.user_key())) == "Waiting"
    assert world.login() not in world.left()
    async with world.running() as engine:
        await engine.loop.run_until_settled(20)
        await world.store.apply_secret(TEAM, "mine", {"word": b"My-own-password-1"})
        await engine.loop.run_until_settled(20)
        await world.assert_ready()
        assert await world.password() == "My-own-password-1"
        await world.store.apply_secret(TEAM, "mine", {"word": b"My-own-password-2"})
        await engine.loop.run_until_settled(20)
    assert world.works(world.login(), "My-own-password-2", world.named())


@scenario
async def test_extended_keys_hold_addresses_that_work(world: World) -> None:
    await with_user(world, secret={"extended": True})
    data = (await world.credentials()).data
    assert data["sslmode"] == b"disable"
    assert data["jdbcUri"].startswith(b"jdbc:postgresql://")
    with psycopg.connect(data["uri"].decode()) as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == (world.login(),)


@scenario
async def test_a_retained_login_keeps_its_secret_and_comes_back_with_it(world: World) -> None:
    await with_user(world, deletionPolicy="Retain")
    password = await world.password()
    await world.delete(world.user_key())
    await world.settle()
    kept = await world.credentials()
    assert kept.owner is None
    assert world.works(world.login(), password, world.named())
    await world.user(deletionPolicy="Delete")
    await world.settled_and_ready()
    assert await world.password() == password
    assert (await world.credentials()).owner is not None


@pytest.mark.parametrize("world", ["local"], indirect=True)
@scenario
async def test_no_secret_stays_of_more_databases_than_a_status_lists(world: World) -> None:
    """The status has room for fifty entries; what was written for the others is found again all the same."""
    await world.cluster()
    names = [f"d{number}" for number in range(60)]
    for name in names:
        await world.database(name)
    await world.user(databases=[world.ref(name) for name in names], secretGeneration="perDatabase")
    await world.settle(120)
    await world.assert_ready(world.user_key())

    async def secrets() -> list[str]:
        return [secret.name for secret in await world.store.list_secrets() if secret.namespace != PLATFORM]

    status = await world.status(world.user_key())
    assert (len(status["databases"]), len(status["moreSecrets"]), len(await secrets())) == (50, 10, 60)
    await world.change(world.user_key(), databases=[world.ref(name) for name in names[:55]])
    await world.settle(120)
    assert len(await secrets()) == 55
    await world.change(world.user_key(), secretGeneration="primary")
    await world.settle(120)
    assert await secrets() == [f"{world.login()}-credentials"]
    assert "moreSecrets" not in await world.status(world.user_key())
    await world.change(world.user_key(), secretGeneration="perDatabase")
    await world.settle(120)
    await world.delete(world.user_key())
    await world.settle(120)
    assert await secrets() == []


@pytest.mark.majors(15, 18)
@scenario
async def test_a_password_changed_on_the_server_is_found_by_an_engine_that_runs_on(world: World) -> None:
    """A superuser sees it at once; another admin must log in to know, and does so every hour or two."""
    hours = 0.0
    await world.cluster()
    await world.database()
    await world.user()
    started = datetime.now(UTC)
    async with opened_engine(world.store, settings=SETTINGS, now=lambda: started + timedelta(hours=hours)) as engine:
        await engine.loop.run_until_settled(20)
        await world.assert_ready()
        found = []
        for number, passed in enumerate((0.5, 2.1)):
            world.execute("ALTER ROLE {} PASSWORD 'by-hand'", world.login())
            hours += passed
            await world.annotate(world.user_key(), reconcile=str(number))
            await engine.loop.run_until_settled(20)
            found.append(await world.login_works())
        assert found == [world.admin.is_superuser, True]
