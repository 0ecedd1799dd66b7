"""The work queue against a model of it, through sequences that hypothesis finds."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.runtime.fake_clock import FakeClock

from dbtether.api.resource import Key
from dbtether.runtime.queue import Backoff, WorkQueue

LIMIT = 2
KEYS = [Key("Database", group, name) for group in ("", "one", "two") for name in "abc"]
keys = st.sampled_from(KEYS)


class QueueModel(RuleBasedStateMachine):
    """The model knows when each key is next due, which are held, and which were added while held."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.queue = WorkQueue(
            lambda key: key.namespace,
            group_limit=LIMIT,
            backoff=Backoff(first_seconds=1.0, limit_seconds=16.0, jitter=0.0),
            clock=self.clock,
        )
        self.due: dict[Key, float] = {}
        self.held: set[Key] = set()
        self.failures: dict[Key, int] = {}

    def teardown(self) -> None:
        self.loop.close()

    def expect(self, key: Key, when: float) -> None:
        self.due[key] = min(when, self.due.get(key, when))

    def now(self) -> float:
        return self.clock.time()

    @rule(key=keys)
    def add(self, key: Key) -> None:
        self.queue.add(key)
        self.expect(key, self.now())

    @rule(key=keys, seconds=st.integers(0, 20))
    def add_after(self, key: Key, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self.expect(key, self.now() + seconds)

    @rule(key=keys)
    def add_backoff(self, key: Key) -> None:
        self.failures[key] = self.failures.get(key, 0) + 1
        self.queue.add_backoff(key)
        self.expect(key, self.now() + min(2 ** (self.failures[key] - 1), 16))

    @rule(key=keys)
    def forget(self, key: Key) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def takeable(self) -> set[Key]:
        in_work = [key.namespace for key in self.held]
        return {
            key
            for key, when in self.due.items()
            if when <= self.now()
            and key not in self.held
            and (not key.namespace or in_work.count(key.namespace) < LIMIT)
        }

    @precondition(lambda self: self.takeable())
    @rule()
    def get(self) -> None:
        key = self.loop.run_until_complete(asyncio.wait_for(self.queue.get(), 1))
        assert key in self.takeable()
        del self.due[key]
        self.held.add(key)

    @precondition(lambda self: not self.takeable())
    @rule()
    def get_waits_when_nothing_can_be_taken(self) -> None:
        async def attempt() -> bool:
            getter = asyncio.create_task(self.queue.get())
            await asyncio.sleep(0)
            is_done = getter.done()
            getter.cancel()
            await asyncio.wait({getter})
            return is_done

        assert not self.loop.run_until_complete(attempt())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.queue.done(key)
        self.held.discard(key)

    @invariant()
    def nothing_is_lost_and_nothing_invented(self) -> None:
        assert set(self.queue.unsettled(1e9, 1e9)) == self.due.keys() | self.held

    @invariant()
    def failures_are_counted(self) -> None:
        assert set(self.queue.failing()) == self.failures.keys()


TestQueueModel = QueueModel.TestCase
TestQueueModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
