"""Rights after a restore: the Database and its users are looked at anew, and every user logs in, before it is done."""

from collections.abc import Iterable
from dataclasses import dataclass

from dbtether.api.resource import Key, Resource
from dbtether.controllers.base import World
from dbtether.controllers.directory import database_keys
from dbtether.controllers.passes import PassEnd


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the rights of a restored database are proven."""

    awaited: tuple[Key, ...]
    """What is still to be looked at."""
    failing: tuple[Key, ...] = ()
    """Users that were looked at, and cannot be as their spec wants them: a person must act."""

    @property
    def is_complete(self) -> bool:
        """Whether everything was looked at."""
        return not self.awaited


class Rights:
    """Has everything of a database looked at anew, in this process; another process begins again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._begun: dict[Key, int] = {}
        """By Restore: the number of the pass before the Database's own."""
        self._users_begun: dict[Key, int] = {}
        """By Restore: the number of the pass before those of the users."""

    async def prove(self, restore: Key, database: Key) -> Proof:
        """Wake what is to be looked at, once, and say how far it is; each end of a look wakes the Restore."""
        passes = self._world.passes
        if restore not in self._begun:
            self._begun[restore] = passes.begin()
            self._ask(restore, [database])
        if passes.since(database, self._begun[restore]) is not PassEnd.WELL:
            passes.awaited(database, restore)
            return Proof((database,))
        users = await users_of(self._world, database)
        if restore not in self._users_begun:
            self._users_begun[restore] = passes.begin()
            for user in users:
                self._world.verified_logins.forget(user.key)
                self._world.unproven_logins.add(user.key)
            self._ask(restore, [user.key for user in users])
        ends = {user.key: passes.since(user.key, self._users_begun[restore]) for user in users}
        awaited = tuple(key for key, end in ends.items() if end is None)
        for key in awaited:
            passes.awaited(key, restore)
        return Proof(awaited, tuple(key for key, end in ends.items() if end is PassEnd.BLOCKED))

    def forget(self, restore: Key) -> None:
        """The Restore is done."""
        self._begun.pop(restore, None)
        self._users_begun.pop(restore, None)

    def _ask(self, restore: Key, keys: Iterable[Key]) -> None:
        for key in keys:
            self._world.passes.awaited(key, restore)
            self._world.wake(key)


async def users_of(world: World, database: Key) -> tuple[Resource, ...]:
    """The DatabaseUsers that refer to a Database, those aside that are going."""
    found = await world.store.list("DatabaseUser")
    return tuple(user for user in found if user.deleted is None and database in database_keys(user))
