"""The law of the core on real servers: after apply the plan is empty, and damage is named, mended, and gone.

Databases and logins are kept over a run's examples and changed from state to state, so that every transition
between two desired states is tried, not only the way from nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from tests.postgres.core import (
    additional,
    desired_database,
    desired_login,
    opened,
    plan_database,
    plan_login,
    settle_database,
    settle_login,
)
from tests.postgres.damage import DATABASE_DAMAGE, LOGIN_DAMAGE, hurt_database, hurt_login
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension, DesiredSchema
from dbtether.postgres.grants.groups import GrantGroup
from dbtether.postgres.roles.model import Access, DesiredLogin
from dbtether.postgres.roles.plan import inherits
from dbtether.postgres.server.access import Server

_EXTENSIONS = ("pg_trgm", "citext", "hstore")
_DATABASE_SETTINGS = {
    "work_mem": ("4MB", "8192kB"),
    "search_path": ('"$user", public', 'app, "Odd, ""one"""', "public"),
    "TimeZone": ("UTC", "Europe/Berlin"),
    "DateStyle": ("ISO, DMY", "German"),
    "statement_timeout": ("1min", "0"),
}
_LOGIN_SETTINGS = {
    "application_name": ("a=b c", "it's"),
    "search_path": ("public", "app,public"),
    "statement_timeout": ("90s", "60000"),
}
_TIMES = (
    datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
    datetime(2031, 5, 6, 12, 38, 9, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=-3))),
)
_GROUPS = (Group.READONLY, Group.READWRITE, Group.ADMIN)
_GRANTS = (
    (("public", "damaged", ("INSERT", "REFERENCES")), ("public", "missing", ("TRUNCATE",))),
    (("public", "*", ("DELETE", "TRIGGER")), ('Odd "one"', "*", ("TRUNCATE",))),
    (("public", "damaged", ("TRUNCATE",)), ("public", "*", ("REFERENCES",))),
)
_LEVELS = (Group.READONLY, Group.READWRITE)
_DATABASES = 3
T = TypeVar("T")


def _settings(known: Mapping[str, tuple[str, ...]]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    one = st.sampled_from(sorted(known)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(known[name])))
    return st.lists(one, unique_by=lambda pair: pair[0], max_size=3).map(lambda pairs: tuple(sorted(pairs)))


_database_states = st.fixed_dictionaries(
    {
        "extensions": st.lists(st.sampled_from(_EXTENSIONS), unique=True, max_size=2).map(
            lambda names: tuple(DesiredExtension(name) for name in names)
        ),
        "schemas": st.lists(st.sampled_from(("app", 'Odd "one"')), unique=True).map(
            lambda names: tuple(DesiredSchema(name) for name in names)
        ),
        "settings": _settings(_DATABASE_SETTINGS),
        "connection_limit": st.sampled_from((-1, 5, 50)),
        "revoke_public_connect": st.booleans(),
        "owner": st.sampled_from((None, 0, 1)),
        "grants": st.lists(
            st.tuples(st.sampled_from(_LEVELS), st.integers(0, len(_GRANTS) - 1)), unique=True, max_size=3
        ),
    }
)
_access = st.lists(
    st.tuples(st.integers(0, _DATABASES - 1), st.sampled_from(_GROUPS), st.none() | st.integers(0, len(_GRANTS) - 1)),
    unique_by=lambda pair: pair[0],
    min_size=1,
    max_size=_DATABASES,
)
_login_states = st.fixed_dictionaries(
    {
        "connection_limit": st.sampled_from((-1, 0, 5)),
        "valid_until": st.none() | st.sampled_from(_TIMES),
        "settings": _settings(_LOGIN_SETTINGS),
    }
)
_steps = st.one_of(
    st.tuples(st.just("database"), st.integers(0, _DATABASES - 1), _database_states),
    st.tuples(st.just("login"), st.integers(0, 1), _access, _login_states),
    st.tuples(st.just("hurt database"), st.integers(0, _DATABASES - 1), st.sampled_from(DATABASE_DAMAGE)),
    st.tuples(st.just("hurt login"), st.integers(0, 1), st.integers(0, 2), st.sampled_from(LOGIN_DAMAGE)),
)


class World:
    """The databases and logins of one run, as they were last desired."""

    def __init__(self, server: Server, admin: Admin, unique: str) -> None:
        self.server, self.admin = server, admin
        self.history: list[object] = []
        everything = tuple(_EXTENSIONS)
        self.databases = [
            desired_database(
                f"{unique}_{number}",
                drop_extensions=True,
                previous_extensions=everything,
                previous_settings=frozenset(name.lower() for name in _DATABASE_SETTINGS),
            )
            for number in range(_DATABASES)
        ]
        self.logins = [
            desired_login(f"{unique}-{name}", (self.databases[0].name, Group.READONLY)) for name in ("one", "Two ü;\"'")
        ]

    async def begin(self) -> None:
        for database in self.databases:
            await self._reach_database(database)
        for login in self.logins:
            await self._reach_login(login)

    async def step(self, step: tuple[object, ...]) -> None:
        self.history.append(step)
        match step:
            case ("database", int(number), dict(state)):
                state = dict(state)
                chosen = [self._grants(number, *grants) for grants in state.pop("grants")]
                state["grant_groups"] = tuple(sorted(chosen))
                owner = state.pop("owner", None)
                state["owner"] = None if owner is None else self.logins[owner].name
                state["known_owners"] = frozenset(login.name for login in self.logins)
                self.databases[number] = replace(self.databases[number], **state)
                await self._reach_database(self.databases[number])
            case ("login", int(number), list(access), dict(state)):
                places = tuple([await self._access(*one) for one in access])
                previous = frozenset(_LOGIN_SETTINGS)
                self.logins[number] = replace(self.logins[number], access=places, previous_settings=previous, **state)
                await self._reach_login(self.logins[number])
            case ("hurt database", int(number), damage):
                await self._hurt_database(self.databases[number], damage)
            case ("hurt login", int(number), int(place), damage):
                await self._hurt_login(self.logins[number], place, damage)

    def _grants(self, number: int, level: Group, which: int) -> GrantGroup:
        return additional(self.databases[number], level, *_GRANTS[which])

    async def _access(self, number: int, group: Group, which: int | None) -> Access:
        """The database makes the role for the grants before a login can come into it."""
        database = self.databases[number]
        if which is None or group is Group.ADMIN:
            return Access(database.name, group)
        wanted = self._grants(number, group, which)
        if wanted not in database.grant_groups:
            self.databases[number] = replace(database, grant_groups=(*database.grant_groups, wanted))
            await self._reach_database(self.databases[number])
        return Access(database.name, group, wanted.name)

    async def _reach_database(self, desired: DesiredDatabase) -> None:
        await settle_database(self.server, desired)

    async def _reach_login(self, desired: DesiredLogin) -> None:
        await settle_login(self.server, desired)

    async def _hurt_database(self, desired: DesiredDatabase, damage: object) -> None:
        assert damage in DATABASE_DAMAGE
        chosen = next(one for one in DATABASE_DAMAGE if one is damage)
        facts = self.server.facts
        on_public = "SCHEMA public" in chosen.sql and facts.major < 15 and not facts.is_superuser
        if not chosen.applies(desired) or on_public:
            return
        hurt_database(self.admin.server, desired, chosen, acts_as_owner=facts.acts_as_owner)
        planned = await plan_database(self.server, desired)
        assert any(chosen.says in item.purpose for item in planned), [item.purpose for item in planned]
        await settle_database(self.server, desired)

    async def _hurt_login(self, desired: DesiredLogin, place: int, damage: object) -> None:
        chosen = next(one for one in LOGIN_DAMAGE if one is damage)
        place %= len(desired.access)
        if not chosen.applies(desired, desired.access[place].group):
            return
        facts = self.server.facts
        if "CREATEDB" in chosen.sql and facts.acts_as_owner:
            return
        try:
            hurt_login(
                self.admin.server,
                desired,
                chosen,
                place,
                acts_as_owner=facts.acts_as_owner,
                inherits=inherits(desired, facts),
            )
        except psycopg.errors.InvalidGrantOperation:
            # On 16+ an owner role administers its logins: PostgreSQL itself refuses the circle.
            return
        planned = await plan_login(self.server, replace(desired, verifier=None))
        assert any(chosen.says in item.purpose for item in planned), [item.purpose for item in planned]
        await settle_login(self.server, desired)


def in_world(admin: Admin, unique: str, body: Callable[[World, asyncio.Runner], None]) -> None:
    """Run the body beside one open server; the loop lives as long as the examples."""
    with asyncio.Runner() as runner:
        manager = opened(admin)
        world = World(runner.run(_entered(manager.__aenter__())), admin, unique)
        try:
            runner.run(world.begin())
            body(world, runner)
        finally:
            runner.run(_entered(manager.__aexit__(None, None, None)))


async def _entered(step: Awaitable[T]) -> T:
    return await step


@pytest.mark.majors(15, 16, 18)
def test_any_state_is_reached_from_any_other_and_needs_nothing_more(admin: Admin, unique: str) -> None:
    def body(world: World, runner: asyncio.Runner) -> None:
        # What happened before cannot be undone, so a failure is not shrunk: the note tells all steps.
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(_steps, min_size=2, max_size=4))
        def run(steps: list[tuple[object, ...]]) -> None:
            for step in steps:
                note(f"{world.history}")
                runner.run(world.step(step))

        run()

    in_world(admin, unique, body)


def test_each_damage_is_named_and_mended(admin: Admin, unique: str) -> None:
    def body(world: World, runner: asyncio.Runner) -> None:
        database = {
            "settings": (("work_mem", "8MB"),),
            "revoke_public_connect": True,
            "grants": [(Group.READONLY, 0), (Group.READWRITE, 1)],
        }
        runner.run(world.step(("database", 0, database)))
        for damage in DATABASE_DAMAGE:
            runner.run(world.step(("hurt database", 0, damage)))
        for group in _GROUPS:
            access = [(1, group, 0), (0, group, None)]
            runner.run(world.step(("login", 0, access, {"settings": (("application_name", "x y=z"),)})))
            for hurt in LOGIN_DAMAGE:
                runner.run(world.step(("hurt login", 0, 0, hurt)))

    in_world(admin, unique, body)
