"""The work queue, on a clock that the tests move."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.runtime.fake_clock import FakeClock

from dbtether.api.resource import Key
from dbtether.runtime.queue import Backoff, QueueClosed, WorkQueue

Body = Callable[[WorkQueue, FakeClock], Coroutine[Any, Any, None]]


def database(name: str, cluster: str = "main") -> Key:
    """A key whose namespace is the name of its group."""
    return Key("Database", cluster, name)


def run(body: Body, *, group_limit: int = 10, chance: float = 0.0) -> None:
    """Run the body with a queue that groups keys by namespace."""

    async def main() -> None:
        clock = FakeClock()
        queue = WorkQueue(
            lambda key: key.namespace,
            group_limit=group_limit,
            backoff=Backoff(first_seconds=1.0, limit_seconds=8.0, jitter=0.5),
            clock=clock,
            chance=lambda: chance,
        )
        await body(queue, clock)

    asyncio.run(asyncio.wait_for(main(), 10))


async def all_ready(queue: WorkQueue) -> list[Key]:
    """Take every key that can be had without waiting."""
    taken: list[Key] = []
    while True:
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if not getter.done():
            getter.cancel()
            await asyncio.wait({getter})
            return taken
        taken.append(getter.result())


def test_a_key_added_twice_is_processed_once() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        queue.add(database("a"))
        queue.add(database("a"))
        assert await all_ready(queue) == [database("a")]

    run(body)


def test_a_key_added_while_in_work_is_processed_once_more_afterwards_and_never_twice_at_once() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        queue.add(database("a"))
        await queue.get()
        queue.add(database("a"))
        queue.add(database("a"))
        assert await all_ready(queue) == []
        queue.done(database("a"))
        assert await all_ready(queue) == [database("a")]
        queue.done(database("a"))
        assert await all_ready(queue) == []

    run(body)


def test_a_delayed_key_becomes_ready_at_its_time() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_after(database("a"), 5)
        clock.advance(4.9)
        assert await all_ready(queue) == []
        clock.advance(0.2)
        assert await all_ready(queue) == [database("a")]

    run(body)


@pytest.mark.parametrize("delays", [(5, 2), (2, 5)], ids=["earlier last", "earlier first"])
def test_the_earlier_of_two_delays_wins_and_the_key_comes_once(delays: tuple[int, int]) -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        for delay in delays:
            queue.add_after(database("a"), delay)
        clock.advance(2)
        assert await all_ready(queue) == [database("a")]
        queue.done(database("a"))
        clock.advance(10)
        assert await all_ready(queue) == []

    run(body)


def test_an_immediate_add_takes_the_place_of_a_delayed_one() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_after(database("a"), 5)
        queue.add(database("a"))
        assert await all_ready(queue) == [database("a")]
        queue.done(database("a"))
        clock.advance(10)
        assert await all_ready(queue) == []

    run(body)


def test_a_key_that_becomes_due_while_in_work_is_processed_once_more() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add(database("a"))
        await queue.get()
        queue.add_after(database("a"), 1)
        clock.advance(2)
        assert await all_ready(queue) == []
        queue.done(database("a"))
        assert await all_ready(queue) == [database("a")]

    run(body)


def test_back_off_doubles_up_to_the_limit_and_forget_starts_it_anew() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        for expected in (1, 2, 4, 8, 8):
            queue.add_backoff(database("a"))
            clock.advance(expected - 0.01)
            assert await all_ready(queue) == []
            clock.advance(0.01)
            assert await all_ready(queue) == [database("a")]
            queue.done(database("a"))
        assert queue.failures(database("a")) == 5
        queue.forget(database("a"))
        queue.add_backoff(database("a"))
        clock.advance(1)
        assert await all_ready(queue) == [database("a")]

    run(body)


def test_back_off_is_counted_for_each_key_alone() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_backoff(database("a"))
        clock.advance(1)
        await all_ready(queue)
        queue.add_backoff(database("a"))
        queue.add_backoff(database("b"))
        clock.advance(1)
        assert await all_ready(queue) == [database("b")]

    run(body)


def test_jitter_shortens_a_delay_and_never_lengthens_it() -> None:
    backoff = Backoff(first_seconds=1.0, limit_seconds=60.0, jitter=0.25)
    assert backoff.delay_seconds(1, 0.0) == 1.0
    assert backoff.delay_seconds(1, 0.999) == pytest.approx(0.75, abs=0.01)
    assert backoff.delay_seconds(10_000, 0.0) == 60.0


def test_no_more_keys_of_one_group_are_in_work_than_the_limit() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        for name in "abcd":
            queue.add(database(name, "dead"))
        queue.add(database("x", "alive"))
        assert set(await all_ready(queue)) == {
            database("a", "dead"),
            database("b", "dead"),
            database("x", "alive"),
        }
        queue.done(database("a", "dead"))
        assert await all_ready(queue) == [database("c", "dead")]

    run(body, group_limit=2)


def test_keys_without_a_group_have_no_limit() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        for name in "abcd":
            queue.add(Key("DBCluster", "", name))
        assert len(await all_ready(queue)) == 4

    run(body, group_limit=1)


def test_groups_take_turns() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        for name in "abc":
            queue.add(database(name, "large"))
        queue.add(database("x", "small"))
        queue.add(database("y", "small"))
        assert [key.name for key in await all_ready(queue)] == ["a", "x", "b", "y", "c"]

    run(body)


def test_a_waiting_worker_gets_a_key_as_soon_as_the_group_has_room() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        queue.add(database("a"))
        queue.add(database("b"))
        await queue.get()
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not getter.done()
        queue.done(database("a"))
        assert await getter == database("b")

    run(body, group_limit=1)


def test_every_waiting_worker_is_woken_for_a_key_of_its_own() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        getters = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        for name in "abc":
            queue.add(database(name))
        assert {key.name for key in await asyncio.gather(*getters)} == set("abc")

    run(body)


def test_a_worker_cancelled_as_it_is_woken_leaves_its_key_to_another() -> None:
    async def body(queue: WorkQueue, _: FakeClock) -> None:
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(database("a"))
        first.cancel()
        assert await second == database("a")
        assert first.cancelled()

    run(body)


def test_shutdown_ends_every_get_and_takes_nothing_more() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add_after(database("a"), 1)
        queue.shutdown()
        with pytest.raises(QueueClosed):
            await getter
        queue.add(database("b"))
        queue.add_after(database("c"), 1)
        clock.advance(5)
        with pytest.raises(QueueClosed):
            await queue.get()

    run(body)


def test_settled_waits_for_what_is_ready_in_work_or_due_within_the_horizon() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add(database("a"))
        settled = asyncio.create_task(queue.settled(5, 5))
        await all_ready(queue)
        assert not settled.done()
        assert queue.unsettled(5, 5) == (database("a"),)
        queue.add_after(database("a"), 3)
        queue.done(database("a"))
        await asyncio.sleep(0)
        assert not settled.done()
        assert queue.idle()
        clock.advance(3)
        assert await all_ready(queue) == [database("a")]
        queue.add_after(database("a"), 30)
        queue.done(database("a"))
        await settled
        assert queue.unsettled(5, 5) == ()

    run(body)


def test_a_retry_has_a_horizon_of_its_own() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_backoff(database("a"))
        assert queue.unsettled(0.5, 0.5) == ()
        assert queue.unsettled(0.5, 1.0) == (database("a"),)
        assert queue.failing() == (database("a"),)

    run(body)


def test_depth_and_latency_can_be_read() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add(database("a"))
        queue.add(database("b"))
        queue.add_after(database("c"), 60)
        clock.advance(2)
        await queue.get()
        found = queue.statistics()
        assert (found.ready, found.in_work, found.delayed, found.taken_total) == (1, 1, 1, 1)
        assert found.waited_seconds_total == found.waited_seconds_longest == 2.0

    run(body)


def test_superseded_delays_do_not_pile_up() -> None:
    async def body(queue: WorkQueue, clock: FakeClock) -> None:
        for seconds in range(5_000, 0, -1):
            queue.add_after(database("a"), seconds)
        assert len(queue._heap) < 200  # noqa: SLF001 - memory is the behaviour under test
        clock.advance(1)
        assert await all_ready(queue) == [database("a")]

    run(body)
