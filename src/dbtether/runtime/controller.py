"""The control loop: takes keys from the queue, reconciles them, and acts on the outcome in one place.

Glossary, in reading order: a *key* names a resource; a *reconciler* brings it to its desired state; the
*queue* says which key is next; *wake-ups* turn changes of the store into keys; a *run* is a set of workers
that live until everything is settled (command line) or for ever (daemon).
"""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Never

from dbtether.api.resource import Key, Resource
from dbtether.errors import Blocked, Retryable, StateError
from dbtether.runtime.logs import reconcile_id
from dbtether.runtime.outcomes import KindStatistics, OutcomeLabel, Settlement, statistics_of_kinds
from dbtether.runtime.queue import Backoff, Clock, QueueClosed, QueueStatistics, WorkQueue
from dbtether.runtime.reconcile import Again, Done, Outcome, Reconciler, resync_seconds
from dbtether.runtime.store import Change, Store
from dbtether.runtime.wakeups import References, Wakes, WakeUps, reconciling

logger = logging.getLogger(__name__)

OutcomeHook = Callable[[Key, OutcomeLabel, BaseException | None, float], None]
"""Called after each reconcile with its key, outcome, error if any, and duration in seconds."""


def no_references(_: Resource) -> Iterable[Key]:
    """For kinds whose resources reference nothing."""
    return ()


def wakes_nobody(_: Change) -> Iterable[Key]:
    """For kinds whose resources belong to no other."""
    return ()


@dataclass(frozen=True, slots=True)
class Registration:
    """A kind with its reconciler, what its resources reference, and whom they wake that does not reference them."""

    kind: str
    reconciler: Reconciler
    references: References = no_references
    wakes: Wakes = wakes_nobody


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """The numbers of a control loop."""

    workers: int = 64
    group_limit: int = 24
    reconcile_timeout_seconds: float = 300.0
    backoff: Backoff = field(default_factory=Backoff)
    bug_backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=5.0, limit_seconds=300.0))
    blocked_again_seconds: float | None = 600.0
    """How long until a Blocked resource is looked at again although nothing changed; None for never."""
    resync_seconds: float = 600.0
    resync_jitter: float = 0.2
    """The part of the interval over which a resync's keys are spread by chance."""
    grace_seconds: float = 10.0
    """How long cancelled reconciles may take to clean up."""


_FEW = 16


class ControlLoop:
    """Runs the reconcilers of the registered kinds over a store. Make it inside a running event loop."""

    def __init__(
        self,
        store: Store,
        registrations: Iterable[Registration],
        settings: LoopSettings | None = None,
        *,
        on_outcome: OutcomeHook | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._registrations = {registration.kind: registration for registration in registrations}
        self._settings = settings or LoopSettings()
        self._on_outcome = on_outcome
        self._clock: Clock = clock or asyncio.get_running_loop()
        self._chance = chance
        self._wake_ups = WakeUps(
            {kind: known.references for kind, known in self._registrations.items()},
            {kind: known.wakes for kind, known in self._registrations.items()},
        )
        self._queue = WorkQueue(
            self._group,
            group_limit=self._settings.group_limit,
            backoff=self._settings.backoff,
            clock=self._clock,
            chance=chance,
        )
        self._statistics = statistics_of_kinds(self._registrations)
        self._bugs_logged: dict[Key, str] = {}
        self._store_refusals: dict[Key, tuple[str, int]] = {}
        self._resynced: set[Key] = set()
        """Keys that nothing but a resync has asked for since they were last looked at."""
        self._has_started = False

    # -- runs -----------------------------------------------------------------------------------------

    async def run_until_settled(
        self,
        timeout_seconds: float | None = None,
        *,
        horizon_seconds: float = 5.0,
        retry_horizon_seconds: float = 10.0,
    ) -> Settlement:
        """Reconcile everything until nothing is due, or until the time-out; may be called again.

        A key that asked to be looked at again counts as settled when that is further away than
        `horizon_seconds`; one that failed does not wait on when its next attempt is further away than
        `retry_horizon_seconds`, and is told in `failing`. Raises what a worker died of.
        """
        async with self._workers() as workers:
            settled = asyncio.create_task(self._queue.settled(horizon_seconds, retry_horizon_seconds), name="settled")
            try:
                await asyncio.wait({settled, *workers}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
                _raise_what_a_worker_died_of(workers)
            finally:
                settled.cancel()
            unsettled = self._queue.unsettled(horizon_seconds, retry_horizon_seconds)
            return Settlement(unsettled, self._queue.failing())

    async def run_forever(self) -> Never:
        """Reconcile until cancelled, everything anew at each resync. Raises what a worker died of."""
        async with self._workers() as workers:
            resync = asyncio.create_task(self._resync_forever(), name="resync")
            try:
                await asyncio.wait({resync, *workers}, return_when=asyncio.FIRST_COMPLETED)
                _raise_what_a_worker_died_of([resync, *workers])
                raise AssertionError("a worker ended without an error")
            finally:
                resync.cancel()

    def wake(self, key: Key) -> None:
        """Look at the resource now. Raises ValueError when its kind is not registered."""
        if key.kind not in self._registrations:
            raise ValueError(f"no reconciler is registered for {key}")
        self._add(key)

    async def resync(self, spread_seconds: float = 0.0) -> None:
        """Look at everything again, spread by chance over so many seconds, although nothing told of a change."""
        for kind in self._registrations:
            for resource in await self._store.list(kind):
                if not self._queue.is_ready(resource.key):
                    self._resynced.add(resource.key)
                    self._queue.add_after(resource.key, spread_seconds * self._chance())

    @property
    def statistics(self) -> dict[str, KindStatistics]:
        """Counters by kind."""
        return self._statistics

    @property
    def queue_statistics(self) -> QueueStatistics:
        """Depth and latency of the queue now."""
        return self._queue.statistics()

    # -- start, stop, resync --------------------------------------------------------------------------

    @asynccontextmanager
    async def _workers(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        await self._start_once()
        workers = [
            asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(self._settings.workers)
        ]
        try:
            yield workers
        finally:
            await self._stop(workers)

    async def _start_once(self) -> None:
        if self._has_started:
            return
        self._has_started = True
        # Before the lists, so that no change falls between a list and the subscription.
        self._store.subscribe(self._take_in)
        for kind in self._registrations:
            for resource in await self._store.list(kind):
                self._wake_ups.learn(resource)
                self._queue.add(resource.key)

    async def _stop(self, workers: list[asyncio.Task[None]]) -> None:
        """Cancel the workers and wait for what their reconciles do about it."""
        for worker in workers:
            worker.cancel()
        _, hanging = await asyncio.wait(workers, timeout=self._settings.grace_seconds)
        for worker in hanging:
            logger.error("%s did not end within the grace period", worker.get_name())

    async def _resync_forever(self) -> Never:
        """Add every key at each interval, spread by chance, to find what no change told."""
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            await self.resync(self._settings.resync_seconds * self._settings.resync_jitter)

    def _take_in(self, change: Change) -> None:
        keys = self._wake_ups.after(change)
        for key in keys:
            # Whoever waited for this goes ahead of a long line; a wake-up of very many is a long line itself.
            self._add(key, first=key != change.key and len(keys) <= _FEW)

    def _add(self, key: Key, *, first: bool = False) -> None:
        self._resynced.discard(key)
        self._queue.add(key, first=first)

    def _group(self, key: Key) -> str:
        try:
            return self._registrations[key.kind].reconciler.group(key)
        except Exception:
            # Asked for in the middle of somebody's write to the store, which must not fail over it.
            logger.exception("the group of %s cannot be told", key)
            return ""

    # -- one reconcile --------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._process(key)
            except asyncio.CancelledError:
                # Nobody knows how far it came: the next run looks at it first.
                self._add(key)
                raise
            finally:
                self._queue.done(key)

    async def _process(self, key: Key) -> None:
        started = self._clock.time()
        outcome: Outcome | None = None
        error: Exception | None = None
        token, run = reconciling.set(key), reconcile_id.set(secrets.token_hex(4))
        resync = resync_seconds.set(self._settings.resync_seconds if key in self._resynced else None)
        try:
            outcome = await self._reconcile(key)
        except Exception as raised:
            error = raised
        finally:
            resync_seconds.reset(resync)
            self._resynced.discard(key)
            reconcile_id.reset(run)
            reconciling.reset(token)
        duration_seconds = self._clock.time() - started
        label = self._act_on(key, outcome, error)
        self._statistics[key.kind].count(label, duration_seconds)
        if self._on_outcome:
            self._on_outcome(key, label, error, duration_seconds)

    async def _reconcile(self, key: Key) -> Outcome:
        """The reconciler's outcome. Raises ReconcileTimeout when it takes too long."""
        timeout_seconds = self._settings.reconcile_timeout_seconds
        limit = asyncio.timeout(timeout_seconds)
        try:
            async with limit:
                return await self._registrations[key.kind].reconciler.reconcile(key)
        except TimeoutError as error:
            # One that comes from within the reconciler is its own affair, and a bug if it leaks out.
            if limit.expired():
                raise ReconcileTimeout(timeout_seconds) from error
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # Nobody cancelled this worker: the reconciler let the end of a task of its own leak out.
            raise LeakedCancellation from error

    def _act_on(self, key: Key, outcome: Outcome | None, error: Exception | None) -> OutcomeLabel:
        """Decide when the key is looked at again: the one place that tells the outcomes apart."""
        match error, outcome:
            case None, Done():
                self._forget(key)
                return OutcomeLabel.DONE
            case None, Again(after_seconds=seconds):
                self._forget(key)
                self._queue.add_after(key, seconds)
                return OutcomeLabel.AGAIN
            case Blocked(), _:
                self._forget(key)
                if self._settings.blocked_again_seconds is not None:
                    self._queue.add_after(key, self._settings.blocked_again_seconds)
                return OutcomeLabel.BLOCKED
            case Retryable(), _:
                self._queue.add_backoff(key)
                return OutcomeLabel.RETRYABLE
            case StateError(), _:
                self._log_refusal(key, str(error))
                self._queue.add_backoff(key)
                return OutcomeLabel.RETRYABLE
            case ReconcileTimeout(), _:
                logger.warning("%s: %s", key, error)
                self._queue.add_backoff(key)
                return OutcomeLabel.TIMEOUT
        self._log_bug(key, error or TypeError(f"reconcile returned {type(outcome).__name__}, not an outcome"))
        self._queue.add_backoff(key, self._settings.bug_backoff)
        return OutcomeLabel.BUG

    def _forget(self, key: Key) -> None:
        self._queue.forget(key)
        self._bugs_logged.pop(key, None)
        self._store_refusals.pop(key, None)

    def _log_refusal(self, key: Key, message: str) -> None:
        """Log what the store says a second time, once; no status tells it, which is written to the same store.

        The first time is mostly a conflict: somebody wrote the resource between read and write.
        """
        known, times = self._store_refusals.get(key, ("", 0))
        times = times + 1 if known == message else 1
        self._store_refusals[key] = (message, times)
        if times == 2:
            logger.warning("%s: tried again and again: %s", key, message)

    def _log_bug(self, key: Key, error: Exception) -> None:
        """Log the traceback the first time; the same bug met again is one line."""
        signature = f"{type(error).__qualname__}: {error}"
        if self._bugs_logged.get(key) == signature:
            logger.error("%s: the same error again (%s)", key, type(error).__qualname__)
            return
        self._bugs_logged[key] = signature
        logger.error("%s: a bug in its reconcile", key, exc_info=error)


class ReconcileTimeout(Exception):
    """A reconcile took longer than it may."""

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(f"the reconcile did not end within {timeout_seconds:g} s")
        self.timeout_seconds = timeout_seconds


class LeakedCancellation(Exception):
    """A reconcile raised CancelledError although nobody had cancelled it."""


def _raise_what_a_worker_died_of(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
