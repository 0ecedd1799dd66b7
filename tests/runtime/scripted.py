"""A reconciler that does what a test says, and the loop over it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from dbtether.api.resource import Key
from dbtether.runtime.controller import ControlLoop, LoopSettings, Registration
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.queue import Backoff
from dbtether.runtime.reconcile import Outcome

Act = Callable[[Key], Awaitable[Any]]

DATABASE = Key("Database", "default", "db")
USER = Key("DatabaseUser", "default", "user")

FAST = LoopSettings(
    workers=8,
    group_limit=4,
    reconcile_timeout_seconds=5,
    backoff=Backoff(first_seconds=0.001, limit_seconds=0.01),
    bug_backoff=Backoff(first_seconds=0.001, limit_seconds=0.01),
    grace_seconds=1,
)


@dataclass
class Scripted:
    """A reconciler that remembers its calls and does what the test says."""

    act: Act
    group_name: str = "main"
    calls: list[Key] = field(default_factory=list)

    async def reconcile(self, key: Key) -> Outcome:
        self.calls.append(key)
        outcome: Outcome = await self.act(key)
        return outcome

    def group(self, key: Key) -> str:
        return self.group_name


def in_turn(*outcomes: Outcome | BaseException) -> Act:
    """Give one outcome after the other, and the last one for ever."""
    left = list(outcomes)

    async def act(_: Key) -> Outcome:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return act


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


async def loop_over(reconciler: Scripted, settings: LoopSettings = FAST, **options: Any) -> ControlLoop:
    """A loop with one database in its store."""
    store = MemoryStore(installation="test")
    await store.apply_resource(DATABASE, {})
    return ControlLoop(store, [Registration("Database", reconciler)], settings, **options)


def counted(loop: ControlLoop, kind: str = "Database") -> dict[str, int]:
    """The outcomes that occurred."""
    return {label.value: n for label, n in loop.statistics[kind].outcomes.items() if n}
