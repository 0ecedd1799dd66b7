"""Passwords that are replaced: on schedule, on demand, in place and by turns, and what people make of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.controllers.world import TEAM, World, both_stores, scenario
from tests.controllers.wrappers import CountingStore

from dbtether.api.kinds import ROTATE
from dbtether.api.resource import Key
from dbtether.controllers.executor import Applying
from dbtether.controllers.rotation import GRACE
from dbtether.errors import Blocked
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement
from dbtether.runtime.outcomes import RotationOutcome

SOME = pytest.mark.majors(15, 18)

IN_PLACE = {"days": 30}
OVERLAP = {"days": 30, "strategy": "Overlap"}


async def apply(world: World, **user: Any) -> None:
    await world.cluster()
    await world.database()
    await world.user(**user)
    await world.settled_and_ready()


async def asked(world: World, value: str = "now") -> None:
    await world.annotate(world.user_key(), rotate=value)
    await world.settle()


async def in_secret(world: World, name: str | None = None) -> tuple[str, str]:
    """The login and the password that a Secret of the user has."""
    data = (await (world.credentials() if name is None else world.secret(name))).data
    return data["user"].decode(), data["password"].decode()


def events_of(world: World, key: Key) -> list[str]:
    return [event.reason for event in world.store.events(key)]


async def assert_only(world: World, *working: tuple[str, str], gone: Sequence[tuple[str, str]] = ()) -> None:
    """These log in, those do not."""
    for login, password in working:
        assert world.works(login, password, world.named()), login
    for login, password in gone:
        assert not world.works(login, password, world.named()), login


@SOME
@scenario
async def test_a_password_is_replaced_when_its_days_are_over(world: World) -> None:
    await apply(world, rotation=IN_PLACE)
    first, status = await in_secret(world), await world.status(world.user_key())
    await world.settle()
    assert await world.status(world.user_key()) == status
    world.ahead = timedelta(days=26)
    await world.settle()
    assert await in_secret(world) == first
    world.ahead = timedelta(days=30, minutes=1)
    await world.settle()
    world.ahead += timedelta(hours=2)
    await world.settled_and_ready()
    second, after = await in_secret(world), await world.status(world.user_key())
    assert second[0] == first[0]
    await assert_only(world, second, gone=[first])
    assert after["nextRotation"] > status["nextRotation"]
    assert after["passwordUpdatedAt"] > status["passwordUpdatedAt"]
    assert events_of(world, world.user_key()).count("PasswordRotated") == 1
    assert world.rotations == [RotationOutcome.ROTATED]
    assert await world.plan() == {}
    await world.settle()
    assert await in_secret(world) == second


@pytest.mark.majors(18)
@scenario
async def test_nothing_is_written_while_nothing_is_due(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    await asked(world)
    counting = CountingStore(world.store)
    for days in (0, 10, 20):
        world.ahead = timedelta(days=days)
        await world.settle(store=counting)
    assert counting.writes == []


@pytest.mark.majors(18)
@scenario
async def test_a_rotation_taken_out_of_the_spec_takes_its_time_along(world: World) -> None:
    await apply(world, rotation=IN_PLACE)
    first = await in_secret(world)
    await world.change(world.user_key(), rotation=None)
    await world.settled_and_ready()
    assert "nextRotation" not in await world.status(world.user_key())
    world.ahead = timedelta(days=400)
    await world.settle()
    assert await in_secret(world) == first


@pytest.mark.majors(18)
@scenario
async def test_what_is_overdue_when_rotation_is_switched_on_goes_within_the_hour(world: World) -> None:
    await apply(world)
    first = await in_secret(world)
    world.ahead = timedelta(days=100)
    await world.change(world.user_key(), rotation=IN_PLACE)
    await world.settle()
    announced = (await world.status(world.user_key()))["nextRotation"]
    assert await in_secret(world) == first
    assert f"{world.now():%Y-%m-%dT%H:%M:%SZ}" <= announced <= f"{world.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    world.ahead += timedelta(hours=1)
    await world.settle()
    assert await in_secret(world) != first


@SOME
@both_stores
@scenario
async def test_a_password_is_replaced_on_demand_and_the_word_is_taken_off(world: World) -> None:
    await apply(world, settings={"statement_timeout": "5s"}, connectionLimit=7)
    seen = [await in_secret(world)]
    for _ in range(2):
        await asked(world)
        seen.append(await in_secret(world))
        resource = await world.get(world.user_key())
        assert ROTATE not in resource.annotations
        assert "rotationRequest" not in resource.status
        assert "nextRotation" not in resource.status
    assert len(set(seen)) == 3
    await assert_only(world, seen[-1], gone=seen[:-1])
    query: Any = "SELECT rolconnlimit, rolconfig::text FROM pg_roles WHERE rolname = %s"
    assert world.rows(query, world.login()) == [(7, "{statement_timeout=5s}")]
    assert await world.plan() == {}


@pytest.mark.majors(18)
@scenario
async def test_each_new_value_rotates_once_and_stays(world: World) -> None:
    await apply(world)
    seen = [await in_secret(world)]
    for value, is_new in (("2026-01", True), ("2026-01", False), ("2026-02", True)):
        await asked(world, value)
        await world.settle()
        found = await in_secret(world)
        assert (found != seen[-1]) is is_new
        seen.append(found)
        assert (await world.get(world.user_key())).annotations[ROTATE] == value
        assert (await world.status(world.user_key()))["rotationRequest"] == value
    await world.user()
    await world.settle()
    assert "rotationRequest" not in await world.status(world.user_key())
    await asked(world, "2026-02")
    assert await in_secret(world) != seen[-1]


@pytest.mark.majors(18)
@scenario
async def test_a_new_user_does_not_rotate_the_password_it_was_just_given(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user(annotations={ROTATE: "now"})
    await world.settled_and_ready()
    assert world.rotations == []
    assert ROTATE not in (await world.get(world.user_key())).annotations


@pytest.mark.majors(18)
@scenario
async def test_a_password_of_ones_own_is_not_replaced(world: World) -> None:
    await world.store.apply_secret(TEAM, "own", {"password": b"my-very-own-password"})
    await apply(world, passwordSecretRef={"name": "own"})
    await asked(world)
    await world.assert_ready()
    assert (await in_secret(world))[1] == "my-very-own-password"
    assert events_of(world, world.user_key()).count("RotationRefused") == 1
    assert ROTATE not in (await world.get(world.user_key())).annotations


@SOME
@scenario
async def test_every_secret_of_a_user_of_many_databases_gets_the_new_password(world: World) -> None:
    await world.cluster()
    await world.database("app")
    await world.database("other")
    for strategy in (IN_PLACE, OVERLAP):
        await world.user(
            databases=[world.ref("app"), world.ref("other", privileges="admin")],
            secretGeneration="perDatabase",
            rotation=strategy,
        )
        await world.settled_and_ready()
        await asked(world)
        entries = (await world.status(world.user_key()))["databases"]
        found = {await in_secret(world, entry["secretName"]) for entry in entries}
        assert len(found) == 1
        for database in ("app", "other"):
            assert world.works(*next(iter(found)), world.named(database))


@scenario
async def test_two_logins_take_turns_and_the_old_one_works_until_the_next(world: World) -> None:
    await apply(world, privileges="admin", rotation=OVERLAP, settings={"statement_timeout": "5s"}, connectionLimit=7)
    seen = [await in_secret(world)]
    for _ in range(3):
        await asked(world)
        seen.append(await in_secret(world))
        await assert_only(world, seen[-1], seen[-2], gone=seen[:-2])
        assert await world.plan() == {}
    name = world.login()
    assert [login for login, _ in seen] == [name, f"{name}_b", name, f"{name}_b"]
    status = await world.status(world.user_key())
    assert (status["username"], status["activeLogin"], status["secondLogin"]) == (name, f"{name}_b", f"{name}_b")
    query: Any = (
        "SELECT count(DISTINCT (rolconnlimit, rolconfig, shobj_description(oid, 'pg_authid'), rolinherit)), count(*) "
        "FROM pg_roles WHERE rolname = ANY(%s)"
    )
    assert world.rows(query, [name, f"{name}_b"]) == [(1, 2)]
    # What one makes, the other changes: both work as the admins' group.
    with world.logged_in(*seen[-1], world.named()) as connection:
        connection.execute("CREATE TABLE public.made ()")
    assert world.works(*seen[-2], world.named(), "ALTER TABLE public.made ADD COLUMN a int")


@scenario
async def test_both_logins_follow_the_spec(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    await asked(world)
    await world.change(world.user_key(), connectionLimit=3, privileges="readwrite")
    await world.settled_and_ready()
    both = [world.login(), f"{world.login()}_b"]
    limits: Any = "SELECT rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)"
    assert world.rows(limits, both) == [(3,), (3,)]
    members: Any = (
        "SELECT DISTINCT m.rolname::text FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member "
        "JOIN pg_roles g ON g.oid = a.roleid WHERE g.rolname = %s AND m.rolname = ANY(%s) ORDER BY 1"
    )
    assert world.rows(members, f"dbtether_{world.named()}_readwrite", both) == [(login,) for login in both]
    assert world.rows(members, f"dbtether_{world.named()}_readonly", both) == []
    assert await world.plan() == {}


@SOME
@scenario
async def test_consent_that_is_withdrawn_is_withdrawn_from_both_logins(world: World) -> None:
    await world.cluster()
    await world.database(namespace="far", allowedNamespaces=[TEAM])
    await world.user(databaseRef={"name": world.database_key().name, "namespace": "far"}, rotation=OVERLAP)
    await world.settled_and_ready()
    first = await in_secret(world)
    await asked(world)
    second = await in_secret(world)
    await assert_only(world, first, second)
    await world.change(world.database_key(namespace="far"), allowedNamespaces=None)
    await world.settle()
    await assert_only(world, gone=[first, second])


@scenario
async def test_a_deletion_drops_both_logins_and_hands_over_what_they_own(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    await asked(world)
    for login in (world.login(), f"{world.login()}_b"):
        world.execute("CREATE TABLE public.{} ()", f"of_{login}", dbname=world.named())
        world.execute("ALTER TABLE public.{} OWNER TO {}", f"of_{login}", login, dbname=world.named())
    await world.delete(world.user_key())
    await world.settle()
    assert not [name for name in world.left() if name.startswith(world.login())]
    query: Any = "SELECT count(*) FROM pg_class WHERE relname LIKE 'of\\_%%' AND relowner = %s::regrole"
    assert world.rows(query, f'"dbtether_{world.named()}_admin"', dbname=world.named()) == [(2,)]


@SOME
@scenario
async def test_who_leaves_overlap_is_cut_only_after_two_graces(world: World) -> None:
    """First the Secret names the first login again, then the second one goes: each time after a grace."""
    await apply(world, rotation=OVERLAP)
    first = await in_secret(world)
    await asked(world)
    second = await in_secret(world)
    await world.change(world.user_key(), rotation=None)
    await world.settled_and_ready()
    world.ahead = GRACE - timedelta(minutes=1)
    await world.settle()
    assert await in_secret(world) == second
    await assert_only(world, first, second)
    world.ahead = GRACE
    await world.settle()
    third = await in_secret(world)
    assert third[0] == world.login()
    await assert_only(world, second, third, gone=[first])
    world.ahead = 2 * GRACE - timedelta(minutes=1)
    await world.settle()
    await assert_only(world, second, third)
    world.ahead = 2 * GRACE + timedelta(minutes=1)
    await world.settled_and_ready()
    assert f"{world.login()}_b" not in world.left()
    await assert_only(world, third)
    status = await world.status(world.user_key())
    assert not {"secondLogin", "secondLoginUntil", "activeLogin"} & set(status)
    told = events_of(world, world.user_key())
    assert told.count("SecondLoginDropped") == 1
    assert "SecondLoginRetiring" in told


@pytest.mark.majors(18)
@scenario
async def test_who_comes_back_to_overlap_keeps_both(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    first = await in_secret(world)
    await asked(world)
    await world.change(world.user_key(), rotation=IN_PLACE)
    await world.settle()
    await world.change(world.user_key(), rotation=OVERLAP)
    await world.settled_and_ready()
    world.ahead = GRACE + timedelta(days=1)
    await world.settle()
    await assert_only(world, first, await in_secret(world))
    assert "secondLoginUntil" not in await world.status(world.user_key())


@pytest.mark.majors(18)
@scenario
async def test_the_second_name_of_a_user_is_nobody_elses(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    await world.user("other", username=f"{world.login()}_b")
    await world.settle()
    assert await world.reason(world.user_key("other")) == "RoleConflict"
    await world.delete(world.user_key())
    await world.settle()
    await world.assert_ready(world.user_key("other"))


@pytest.mark.majors(18)
@scenario
async def test_a_second_name_that_is_somebody_elses_is_left_alone(world: World) -> None:
    taken = f"{world.login()}_b"
    await world.cluster()
    await world.database()
    await world.user("first", username=taken)
    await world.settled_and_ready()
    password = await world.password("first")
    world.execute("CREATE ROLE {}", f"{world.login('other')}_b")
    await world.user("reader", rotation=OVERLAP)
    await world.user("other", rotation=OVERLAP)
    await world.settle()
    assert await world.reason(world.user_key("reader")) == "RoleConflict"
    assert await world.reason(world.user_key("other")) == "RoleNotOurs"
    await world.delete(world.user_key("reader"), world.user_key("other"))
    await world.settle()
    await assert_only(world, (taken, password))
    assert f"{world.login('other')}_b" in world.left()


class Policy(Applying):
    """A server whose password policy refuses: an ALTER or CREATE ROLE with a password fails."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    async def run(
        self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
    ) -> None:
        self._refuse(statements)
        await super().run(key, cluster, server, statements, creates)

    async def rehearse(self, key: Key, server: Server, statements: Sequence[Statement]) -> None:
        self._refuse(statements)
        await super().rehearse(key, server, statements)

    def _refuse(self, statements: Sequence[Statement]) -> None:
        for item in statements:
            if item.holds_secret:
                self.refused.append(item.query.as_string(None))
                raise Blocked("StatementRefused", "Could not change login x: password is too short (SQLSTATE 22023)")


@pytest.mark.majors(18)
@pytest.mark.parametrize("rotation", [IN_PLACE, OVERLAP], ids=["in-place", "overlap"])
@scenario
async def test_a_password_that_the_policy_refuses_leaves_the_old_one_in_force(
    world: World, rotation: dict[str, Any]
) -> None:
    await apply(world, rotation=rotation)
    first = await in_secret(world)
    counting = CountingStore(world.store)
    await world.annotate(world.user_key(), rotate="now")
    await world.settle(executor=Policy(), store=counting)
    assert await world.reason(world.user_key()) == "PasswordRejected"
    assert "password is too short" in (await world.status(world.user_key()))["message"]
    assert not [what for what in counting.writes if what.startswith("Secret")]
    assert await in_secret(world) == first
    await assert_only(world, first)
    assert set(world.rotations) == {RotationOutcome.REJECTED}
    await world.settled_and_ready()
    second = await in_secret(world)
    assert second != first
    await assert_only(world, second)


@pytest.mark.majors(18)
@scenario
async def test_a_first_password_that_the_policy_refuses_is_not_tried_again(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    policy, counting = Policy(), CountingStore(world.store)
    for _ in range(2):
        await world.settle(executor=policy, store=counting)
        assert await world.reason(world.user_key()) == "PasswordRejected"
    message = (await world.status(world.user_key()))["message"]
    assert "password is too short" in message
    assert "no login was made" in message
    assert len(set(policy.refused)) >= 2
    assert not [what for what in counting.writes if what.startswith("Secret")], "nobody is shown a refused one"
    assert world.login() not in world.left()
    await world.settled_and_ready()
    assert await world.login_works()


@pytest.mark.majors(18)
@scenario
async def test_a_secret_lost_under_a_stricter_policy_does_not_come_back_with_a_password_that_does_not_work(
    world: World,
) -> None:
    await apply(world)
    first = await in_secret(world)
    await world.store.delete_secret(await world.credentials())
    await world.settle(executor=Policy())
    assert await world.reason(world.user_key()) == "PasswordRejected"
    assert "the old password stays in force" in (await world.status(world.user_key()))["message"]
    await assert_only(world, first)
    await world.settled_and_ready()
    await assert_only(world, await in_secret(world), gone=[first])


@pytest.mark.majors(18)
@scenario
async def test_a_rehearsal_leaves_the_server_as_it_is(world: World) -> None:
    await apply(world)
    first = await in_secret(world)

    class OnlyRehearses(Applying):
        async def run(
            self, key: Key, cluster: str, server: Server, statements: Sequence[Statement], creates: Sequence[str] = ()
        ) -> None:
            raise Blocked("StatementRefused", "not today")

    await world.annotate(world.user_key(), rotate="now")
    await world.settle(executor=OnlyRehearses())
    await assert_only(world, first)


@pytest.mark.majors(18)
@pytest.mark.parametrize("rotation", [IN_PLACE, OVERLAP], ids=["in-place", "overlap"])
@pytest.mark.parametrize("damage", ["edited", "emptied", "deleted"])
@scenario
async def test_a_secret_damaged_while_a_rotation_is_asked_for_ends_with_one_that_works(
    world: World, rotation: dict[str, Any], damage: str
) -> None:
    await apply(world, rotation=rotation)
    await asked(world)
    before = await in_secret(world)
    name = f"{world.login()}-credentials"
    secret = await world.credentials()
    if damage == "edited":
        await world.edit_secret(name, password=b"Edited-by-hand-1", user=b"somebody-else")
    elif damage == "emptied":
        await world.edit_secret(name, password=b"")
    else:
        await world.store.delete_secret(secret)
    await asked(world, "2026-06")
    await world.assert_ready()
    after = await in_secret(world)
    assert after != before
    assert after[1] != "Edited-by-hand-1"
    await assert_only(world, after)
    assert await world.plan() == {}


@pytest.mark.majors(18)
@scenario
async def test_a_change_of_the_spec_is_applied_although_the_rotation_is_refused(world: World) -> None:
    await apply(world, rotation=IN_PLACE, privileges="readwrite")
    await world.annotate(world.user_key(), rotate="now")
    await world.change(world.user_key(), connectionLimit=5)
    await world.settle(executor=Policy())
    assert await world.reason(world.user_key()) == "PasswordRejected"
    assert world.rows("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", world.login()) == [(5,)]


@pytest.mark.majors(18)
@scenario
async def test_a_login_that_lets_nobody_in_rotates_all_the_same(world: World) -> None:
    for rotation in (IN_PLACE, OVERLAP):
        await apply(world, rotation=rotation, connectionLimit=0)
        before = await in_secret(world)
        await asked(world)
        await world.assert_ready()
        after = await in_secret(world)
        assert after != before
        await world.user(rotation=rotation)
        await world.settled_and_ready()
        await assert_only(world, await in_secret(world))


@pytest.mark.majors(18)
@scenario
async def test_a_plan_shows_a_rotation_that_is_due_and_does_nothing(world: World) -> None:
    await apply(world, rotation=OVERLAP)
    first = await in_secret(world)
    await world.annotate(world.user_key(), rotate="now")
    planned = (await world.plan())[world.user_key()].statements
    assert any(f'CREATE ROLE "{world.login()}_b"' in item.text for item in planned)
    assert await in_secret(world) == first
    assert f"{world.login()}_b" not in world.left()
