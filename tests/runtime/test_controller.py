"""The control loop, with small reconcilers over a store in memory."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dbtether.api.resource import Key, Resource, Secret
from dbtether.errors import Blocked, InvalidSpec, Retryable, StateError
from dbtether.runtime.controller import ControlLoop, LoopSettings, Registration
from dbtether.runtime.outcomes import OutcomeLabel
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.queue import Backoff
from dbtether.runtime.reconcile import Again, Done, Outcome

Act = Callable[[Key], Awaitable[Any]]

DATABASE = Key("Database", "default", "db")
USER = Key("DatabaseUser", "default", "user")
CREDENTIALS = Key("Secret", "default", "user-credentials")

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


def test_success_resets_the_back_off() -> None:
    async def main() -> None:
        away = Retryable("ServerAway", "the server is away")
        loop = await loop_over(Scripted(in_turn(away, Again(0.001), Done())))
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
        settlement = await loop.run_until_settled(0.05)
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
        assert not (await loop.run_until_settled(0.05)).is_settled
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
        assert (await loop.run_until_settled(0.05)).unsettled == (DATABASE,)
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
        settlement = await loop.run_until_settled(0.3)
        assert len(finished) == 50
        assert len(settlement.unsettled) == 50

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


def test_waking_an_unknown_kind_is_refused() -> None:
    async def main() -> None:
        loop = await loop_over(Scripted(in_turn(Done())))
        with pytest.raises(ValueError, match="no reconciler is registered"):
            loop.wake(USER)

    run(main)


# -- wake-ups -----------------------------------------------------------------------------------------


def references_of_user(user: Resource) -> Iterable[Key]:
    yield Key("Database", user.key.namespace, user.spec["databaseRef"])
    yield CREDENTIALS


@dataclass
class Pair:
    """A database and a user that references it and a Secret, all settled."""

    store: MemoryStore
    database: Scripted
    user: Scripted
    loop: ControlLoop

    @classmethod
    async def settled(cls, act_on_user: Act | None = None) -> "Pair":
        store = MemoryStore(installation="test")
        database = Scripted(in_turn(Done()))
        user = Scripted(act_on_user or in_turn(Done()))
        registrations = [
            Registration("Database", database),
            Registration("DatabaseUser", user, references_of_user),
        ]
        pair = cls(store, database, user, ControlLoop(store, registrations, FAST))
        await store.apply_resource(USER, {"databaseRef": "db"})
        await pair.woken()
        return pair

    async def woken(self) -> list[Key]:
        """Settle, and tell what was reconciled meanwhile."""
        await self.loop.run_until_settled(10)
        calls = self.database.calls + self.user.calls
        self.database.calls.clear()
        self.user.calls.clear()
        return calls


def test_a_resource_that_appears_wakes_those_that_waited_for_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(DATABASE, {})
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_a_status_wakes_those_that_reference_the_resource_and_not_itself() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.write_status(database, {"phase": "Ready"})
        assert await pair.woken() == [USER]

    run(main)


def test_finalizers_wake_the_resource_itself_alone() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.write_finalizers(database, ("one",))
        assert await pair.woken() == [DATABASE]

    run(main)


def test_spec_annotations_labels_and_deletion_wake_the_resource_itself() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        for change in (
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}),
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}, {"team": "x"}),
            pair.store.apply_resource(USER, {"databaseRef": "db", "x": 1}, {}, {"note": "x"}),
            pair.store.request_deletion(USER),
        ):
            await change
            assert await pair.woken() == [USER]

    run(main)


def test_a_secret_that_comes_changes_or_goes_wakes_those_that_reference_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        secret = await pair.store.write_secret(Secret(CREDENTIALS.namespace, CREDENTIALS.name, {"a": b"1"}))
        assert await pair.woken() == [USER]
        secret = await pair.store.write_secret(replace(secret, data={"a": b"2"}))
        assert await pair.woken() == [USER]
        await pair.store.delete_secret(secret)
        assert await pair.woken() == [USER]

    run(main)


def test_a_removed_resource_wakes_those_that_reference_it() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(DATABASE, {})
        await pair.woken()
        await pair.store.request_deletion(DATABASE)
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_what_waits_for_its_deletion_is_woken_when_its_last_user_is_gone() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        database = await pair.store.apply_resource(DATABASE, {})
        await pair.store.write_finalizers(database, ("dbtether.io/finalizer",))
        await pair.woken()
        await pair.store.request_deletion(USER)
        assert await pair.woken() == [USER]
        await pair.store.apply_resource(USER, {"databaseRef": "db"})
        await pair.store.request_deletion(DATABASE)
        await pair.woken()
        await pair.store.request_deletion(USER)
        assert await pair.woken() == [DATABASE, USER]

    run(main)


def test_a_changed_reference_is_followed() -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(USER, {"databaseRef": "other"})
        await pair.woken()
        await pair.store.apply_resource(DATABASE, {})
        assert await pair.woken() == [DATABASE]
        other = Key("Database", "default", "other")
        await pair.store.apply_resource(other, {})
        assert await pair.woken() == [other, USER]

    run(main)


def test_what_a_reconcile_writes_does_not_wake_its_own_key() -> None:
    async def main() -> None:
        stores: list[MemoryStore] = []

        async def act(key: Key) -> Outcome:
            if stores:
                user = await stores[0].get(key)
                assert user
                held = await stores[0].write_finalizers(user, ("dbtether.io/finalizer",))
                assert held
                await stores[0].write_secret(Secret(CREDENTIALS.namespace, CREDENTIALS.name, {"a": b"1"}))
                await stores[0].write_status(held, {"phase": "Ready"})
            return Done()

        pair = await Pair.settled(act)
        stores.append(pair.store)
        pair.loop.wake(USER)
        assert await pair.woken() == [USER]

    run(main)


def test_a_change_by_somebody_else_during_a_reconcile_is_looked_at_afterwards() -> None:
    async def main() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act(_: Key) -> Outcome:
            begun.set()
            await go_on.wait()
            return Done()

        store = MemoryStore(installation="test")
        await store.apply_resource(DATABASE, {})
        reconciler = Scripted(act)
        loop = ControlLoop(store, [Registration("Database", reconciler)], FAST)
        running = asyncio.create_task(loop.run_until_settled(10))
        await begun.wait()
        await store.apply_resource(DATABASE, {"changed": True})
        go_on.set()
        await running
        assert reconciler.calls == [DATABASE, DATABASE]

    run(main)


def test_a_spec_whose_references_cannot_be_read_is_still_stored_and_reconciled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        pair = await Pair.settled()
        await pair.store.apply_resource(USER, {"nonsense": 1})
        assert await pair.woken() == [USER]
        assert "references of DatabaseUser default/user" in caplog.text

    with caplog.at_level(logging.ERROR):
        run(main)
