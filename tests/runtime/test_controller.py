"""The control loop: what each outcome leads to, and how runs begin and end."""

import asyncio
from typing import Any

import pytest
from tests.runtime.scripted import DATABASE, FAST, USER, Scripted, counted, in_turn, loop_over, run

from dbtether.api.resource import Key
from dbtether.errors import Blocked, InvalidSpec, Retryable, StateError
from dbtether.runtime.controller import ControlLoop, LoopSettings, Registration
from dbtether.runtime.outcomes import OutcomeLabel
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.queue import Backoff
from dbtether.runtime.reconcile import Again, Done, Outcome

# -- outcomes -----------------------------------------------------------------------------------------


def test_every_outcome_of_every_kind_is_counted_from_zero() -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(Done())))
        assert loop.statistics["Database"].outcomes == dict.fromkeys(OutcomeLabel, 0)

    run(main)


def test_a_done_key_is_reconciled_once() -> None:
    async def main() -> None:
        reconciler = Scripted(in_turn(Done()))
        loop = await loop_over(reconciler)
        assert (await loop.run_until_settled(10)).is_settled
        assert reconciler.calls == [DATABASE]
        assert counted(loop) == {"done": 1}

    run(main)


def test_again_comes_back_after_its_time_and_settles_beyond_the_horizon() -> None:
    async def main() -> None:
        reconciler = Scripted(in_turn(Again(0.01), Again(60)))
        loop = await loop_over(reconciler)
        assert (await loop.run_until_settled(10)).is_settled
        assert counted(loop) == {"again": 2}

    run(main)


@pytest.mark.parametrize(
    "error", [Retryable("ServerAway", "the server is away"), StateError("changed meanwhile")], ids=repr
)
def test_a_retryable_error_is_retried_until_it_passes(error: Exception) -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(error, error, Done())))
        assert (await loop.run_until_settled(10)).is_settled
        assert counted(loop) == {"retryable": 2, "done": 1}

    run(main)


def test_what_the_store_refuses_again_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        conflict, refused = StateError("changed meanwhile"), StateError("POST secrets: 403 Forbidden")
        loop = await loop_over(Scripted(in_turn(conflict, refused, refused, refused, conflict, Done())))
        assert (await loop.run_until_settled(10)).is_settled
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == [f"{DATABASE}: tried again and again: POST secrets: 403 Forbidden"]

    run(main)


def test_success_resets_the_back_off() -> None:
    async def main() -> None:
        away = Retryable("ServerAway", "the server is away")
        loop = await loop_over(Scripted(in_turn(away, away, Again(60))))
        settlement = await loop.run_until_settled(10)
        assert settlement.failing == ()
        assert loop.queue_statistics.failing == 0

    run(main)


@pytest.mark.parametrize("error", [Blocked("NotOurs", "it is not ours"), InvalidSpec("spec.port")], ids=repr)
def test_a_blocked_key_is_not_retried(error: Exception) -> None:
    async def main() -> None:
        reconciler = Scripted(in_turn(error))
        loop = await loop_over(reconciler)
        settlement = await loop.run_until_settled(10)
        assert settlement.is_settled
        assert reconciler.calls == [DATABASE]
        assert counted(loop) == {"blocked": 1}
        assert loop.queue_statistics.delayed == 1

    run(main)


def test_a_blocked_key_is_never_looked_at_again_when_so_set() -> None:
    async def main() -> None:
        settings = LoopSettings(workers=1, blocked_again_seconds=None)
        loop = await loop_over(Scripted(in_turn(Blocked("NotOurs", "it is not ours"))), settings)
        await loop.run_until_settled(10)
        assert loop.queue_statistics.delayed == 0

    run(main)


def test_a_bug_is_logged_with_its_traceback_once_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        bug = ZeroDivisionError("by zero")
        loop = await loop_over(Scripted(in_turn(bug, bug, bug, Done())))
        assert (await loop.run_until_settled(10)).is_settled
        assert counted(loop) == {"bug": 3, "done": 1}
        assert len([record for record in caplog.records if record.exc_info]) == 1
        assert all("Database default/db" in record.getMessage() for record in caplog.records)

    run(main)


@pytest.mark.usefixtures("caplog")
def test_an_outcome_that_is_none_of_the_four_is_a_bug() -> None:
    async def main() -> None:
        nothing: Any = None
        loop = await loop_over(Scripted(in_turn(nothing, Done())))
        await loop.run_until_settled(10)
        assert counted(loop) == {"bug": 1, "done": 1}

    run(main)


def test_a_reconcile_that_takes_too_long_is_cancelled_and_retried() -> None:
    async def main() -> None:
        attempts: list[str] = []

        async def act(_: Key) -> Outcome:
            attempts.append("begun")
            if len(attempts) == 1:
                await asyncio.sleep(60)
            return Done()

        settings = LoopSettings(workers=1, reconcile_timeout_seconds=0.02, backoff=FAST.backoff)
        loop = await loop_over(Scripted(act), settings)
        assert (await loop.run_until_settled(10)).is_settled
        assert counted(loop) == {"timeout": 1, "done": 1}

    run(main)


def test_a_time_out_within_the_reconciler_is_not_taken_for_ours() -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(TimeoutError("of its own"), Done())))
        await loop.run_until_settled(10)
        assert counted(loop) == {"bug": 1, "done": 1}

    run(main)


def test_a_cancellation_that_leaks_out_of_a_reconciler_does_not_end_the_worker() -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(asyncio.CancelledError(), Done())))
        assert (await loop.run_until_settled(10)).is_settled
        assert counted(loop) == {"bug": 1, "done": 1}

    run(main)


def test_the_hook_sees_each_outcome_with_its_error() -> None:
    async def main() -> None:
        seen: list[tuple[Key, OutcomeLabel, str]] = []
        away = Retryable("ServerAway", "the server is away")
        loop = await loop_over(
            Scripted(in_turn(away, Done())),
            on_outcome=lambda key, label, error, _: seen.append((key, label, str(error))),
        )
        await loop.run_until_settled(10)
        assert seen == [
            (DATABASE, OutcomeLabel.RETRYABLE, "the server is away"),
            (DATABASE, OutcomeLabel.DONE, "None"),
        ]

    run(main)


# -- runs ---------------------------------------------------------------------------------------------


def test_a_time_out_of_the_run_tells_what_is_unsettled_and_cancels_it() -> None:
    async def main() -> None:
        cancelled: list[Key] = []

        async def act(key: Key) -> Outcome:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(key)
                raise
            return Done()

        loop = await loop_over(Scripted(act))
        settlement = await loop.run_until_settled(0.3)
        assert settlement.unsettled == (DATABASE,)
        assert not settlement.is_settled
        assert cancelled == [DATABASE]

    run(main)


def test_a_failing_key_whose_next_attempt_is_far_ends_the_run_and_is_told() -> None:
    async def main() -> None:
        settings = LoopSettings(workers=1, backoff=Backoff(first_seconds=0.5, limit_seconds=60, jitter=0))
        loop = await loop_over(Scripted(in_turn(Retryable("ServerAway", "away"))), settings)
        settlement = await loop.run_until_settled(10, retry_horizon_seconds=0.1)
        assert settlement.unsettled == ()
        assert settlement.failing == (DATABASE,)
        assert not settlement.is_settled

    run(main)


def test_a_second_run_takes_up_what_the_first_one_left_and_what_changed_between() -> None:
    async def main() -> None:
        store = MemoryStore(installation="test")
        await store.apply_resource(DATABASE, {})
        delays = iter([60.0])

        async def act(_: Key) -> Outcome:
            await asyncio.sleep(next(delays, 0.0))
            return Done()

        reconciler = Scripted(act)
        loop = ControlLoop(store, [Registration("Database", reconciler)], FAST)
        assert not (await loop.run_until_settled(0.3)).is_settled
        other = Key("Database", "default", "other")
        await store.apply_resource(other, {})
        assert (await loop.run_until_settled(10)).is_settled
        assert sorted(reconciler.calls) == [DATABASE, DATABASE, other]

    run(main)


def test_cancelling_a_run_cancels_its_reconciles_and_waits_for_their_cleaning_up() -> None:
    async def main() -> None:
        steps: list[str] = []

        async def act(_: Key) -> Outcome:
            steps.append("begun")
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.02)
                steps.append("cleaned up")
            return Done()

        loop = await loop_over(Scripted(act))
        running = asyncio.create_task(loop.run_forever())
        while not steps:
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert steps == ["begun", "cleaned up"]

    run(main)


def test_a_reconcile_that_ignores_its_cancellation_is_left_after_the_grace_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def act(_: Key) -> Outcome:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return Done()

        loop = await loop_over(Scripted(act), LoopSettings(workers=1, grace_seconds=0.05))
        assert (await loop.run_until_settled(0.3)).unsettled == (DATABASE,)
        assert "did not end within the grace period" in caplog.text
        release.set()
        await asyncio.sleep(0.01)

    run(main)


def test_a_worker_that_dies_ends_the_run_with_its_error() -> None:
    async def main() -> None:
        def broken_hook(*_: object) -> None:
            raise OSError("the terminal is gone")

        for kind_of_run in ("settled", "forever"):
            loop = await loop_over(Scripted(in_turn(Done())), on_outcome=broken_hook)
            with pytest.raises(OSError, match="the terminal is gone"):
                await (loop.run_until_settled(10) if kind_of_run == "settled" else loop.run_forever())

    run(main)


def test_a_dead_server_does_not_hold_up_the_others() -> None:
    async def main() -> None:
        store = MemoryStore(installation="test")
        for number in range(50):
            await store.apply_resource(Key("Database", "dead", f"db{number}"), {})
            await store.apply_resource(Key("Database", "alive", f"db{number}"), {})
        finished: list[Key] = []

        class ByNamespace(Scripted):
            def group(self, key: Key) -> str:
                return key.namespace

        async def act(key: Key) -> Outcome:
            if key.namespace == "dead":
                await asyncio.sleep(60)
            finished.append(key)
            return Done()

        loop = ControlLoop(store, [Registration("Database", ByNamespace(act))], FAST)
        running = asyncio.create_task(loop.run_until_settled())
        while len(finished) < 50:
            await asyncio.sleep(0.001)
        assert loop.queue_statistics.in_work == FAST.group_limit
        running.cancel()
        await asyncio.wait({running})

    run(main)


def test_the_daemon_looks_at_everything_again_at_each_resync() -> None:
    async def main() -> None:
        reconciler = Scripted(in_turn(Done()))
        loop = await loop_over(reconciler, LoopSettings(workers=1, resync_seconds=0.02))
        running = asyncio.create_task(loop.run_forever())
        while len(reconciler.calls) < 4:
            await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.wait({running})

    run(main)


def test_a_group_that_cannot_be_told_does_not_fail_the_write_that_woke_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class WithoutGroup(Scripted):
        def group(self, key: Key) -> str:
            raise KeyError(key.name)

    async def main() -> None:
        store = MemoryStore(installation="test")
        reconciler = WithoutGroup(in_turn(Done()))
        loop = ControlLoop(store, [Registration("Database", reconciler)], FAST)
        await loop.run_until_settled(10)
        await store.apply_resource(DATABASE, {})
        assert (await loop.run_until_settled(10)).is_settled
        assert reconciler.calls == [DATABASE]
        assert "the group of Database default/db" in caplog.text

    run(main)


def test_waking_an_unknown_kind_is_refused() -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(Done())))
        with pytest.raises(ValueError, match="no reconciler is registered"):
            loop.wake(USER)

    run(main)
