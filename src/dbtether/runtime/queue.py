"""The work queue: which key is reconciled next. Semantics of client-go's workqueue, plus groups.

A key is in one of four states, and in no two of them:

    ready      waits for a worker, in the line of its group
    delayed    becomes ready at a known time; an earlier add wins over a later one
    in work    held by one worker; added meanwhile it is marked, and becomes ready again at `done`
    absent     nothing known but its count of failures

The queue never looks at what a key names, holds no lock and starts no task: it belongs to one event loop.
"""

import asyncio
import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dbtether.api.resource import Key

_STALE_ENTRIES_KEPT = 64
_LARGEST_EXPONENT = 64


class TimerHandle(Protocol):
    """A call that will happen later unless it is cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as the queue needs it; every asyncio event loop is one."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], None], /) -> TimerHandle: ...


class QueueClosed(Exception):
    """The queue was shut down: there is no further key to get."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from the first to the limit; `jitter` is the part that chance may take off."""

    first_seconds: float = 0.2
    limit_seconds: float = 60.0
    jitter: float = 0.25

    def delay_seconds(self, failures: int, chance: float) -> float:
        """The delay after so many failures in a row (1 for the first); `chance` is in [0, 1)."""
        doubled = self.first_seconds * 2.0 ** min(failures - 1, _LARGEST_EXPONENT)
        return min(doubled, self.limit_seconds) * (1.0 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What metrics and progress displays read; `waited` is the time from ready to in work."""

    ready: int
    in_work: int
    delayed: int
    failing: int
    taken_total: int
    waited_seconds_total: float
    waited_seconds_longest: float


@dataclass(frozen=True, slots=True)
class _Delayed:
    when: float
    is_retry: bool


class WorkQueue:
    """A deduplicated queue of keys with delays, back-off and a fair share of work for each group."""

    def __init__(
        self,
        group: Callable[[Key], str],
        *,
        group_limit: int = 10,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Without a clock the running event loop's is taken. The group `""` has no limit."""
        self._group = group
        self._group_limit = group_limit
        self._backoff = backoff or Backoff()
        self._clock: Clock = clock or asyncio.get_running_loop()
        self._chance = chance
        # The lines of ready keys with the time each became ready, by group.
        self._lines: dict[str, OrderedDict[Key, float]] = {}
        self._group_of_ready: dict[Key, str] = {}
        # The groups with a ready key and room under the limit: the next turn is the leftmost's.
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._in_work: dict[Key, str] = {}
        self._in_work_of_group: Counter[str] = Counter()
        self._again_at_done: set[Key] = set()
        self._delayed: dict[Key, _Delayed] = {}
        self._heap: list[tuple[float, Key]] = []
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._failures: dict[Key, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._watchers: list[asyncio.Future[None]] = []
        self._closed = False
        self._taken_total = 0
        self._waited_seconds_total = 0.0
        self._waited_seconds_longest = 0.0

    # -- putting keys in ------------------------------------------------------------------------------

    def add(self, key: Key, *, first: bool = False) -> None:
        """Make the key ready now, `first` in its group's line or last.

        One that is in work becomes ready once more when it is done.
        """
        if self._closed:
            return
        self._delayed.pop(key, None)
        if key in self._in_work:
            self._again_at_done.add(key)
        elif key not in self._group_of_ready:
            self._make_ready(key)
            if first:
                self._lines[self._group_of_ready[key]].move_to_end(key, last=False)

    def add_after(self, key: Key, seconds: float) -> None:
        """Make the key ready after so many seconds, unless something makes it ready earlier."""
        self._add_after(key, seconds, is_retry=False)

    def add_backoff(self, key: Key, backoff: Backoff | None = None) -> None:
        """Count a failure and make the key ready after the delay that belongs to the count."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        seconds = (backoff or self._backoff).delay_seconds(failures, self._chance())
        self._add_after(key, seconds, is_retry=True)

    def forget(self, key: Key) -> None:
        """Take the key's failures off the record: its next back-off starts from the first delay."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    # -- taking keys out ------------------------------------------------------------------------------

    async def get(self) -> Key:
        """The next key, held by the caller until `done`. Raises QueueClosed after `shutdown`."""
        while not self._closed and not self._turns:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                self._pass_on_wake_up(getter)
                raise
        if self._closed:
            raise QueueClosed
        return self._take()

    def done(self, key: Key) -> None:
        """Give the key back; whatever was added meanwhile becomes ready."""
        group = self._in_work.pop(key)
        self._in_work_of_group[group] -= 1
        if not self._in_work_of_group[group]:
            del self._in_work_of_group[group]
        self._offer_turn(group)
        if key in self._again_at_done:
            self._again_at_done.discard(key)
            self._make_ready(key)
        if not self._in_work and not self._group_of_ready:
            self._tell_watchers()

    def shutdown(self) -> None:
        """Take no further key and let every `get` raise QueueClosed, also when keys are left.

        Nothing is lost: work is decided from the state of the world, and the next start adds every key.
        """
        self._closed = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)
        self._getters.clear()
        self._tell_watchers()

    # -- looking at it --------------------------------------------------------------------------------

    def unsettled(self, horizon_seconds: float, retry_horizon_seconds: float) -> tuple[Key, ...]:
        """The keys that are ready, in work, or due within the horizon that belongs to their delay."""
        now = self._clock.time()
        due = {
            key
            for key, entry in self._delayed.items()
            if entry.when - now <= (retry_horizon_seconds if entry.is_retry else horizon_seconds)
        }
        return tuple(sorted(due | self._group_of_ready.keys() | self._in_work.keys()))

    async def settled(self, horizon_seconds: float, retry_horizon_seconds: float) -> None:
        """Return once no key is unsettled, or the queue is shut down."""
        while not self._closed and self.unsettled(horizon_seconds, retry_horizon_seconds):
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher

    def failing(self) -> tuple[Key, ...]:
        """The keys whose last attempt failed."""
        return tuple(sorted(self._failures))

    def is_ready(self, key: Key) -> bool:
        """Whether the key waits for a worker, or will at the end of the work that is done for it now."""
        return key in self._group_of_ready or key in self._again_at_done

    def idle(self) -> bool:
        """Whether nothing is ready and nothing is in work; keys may still be delayed."""
        return not self._group_of_ready and not self._in_work

    def statistics(self) -> QueueStatistics:
        """The depth and the latency of now."""
        return QueueStatistics(
            ready=len(self._group_of_ready),
            in_work=len(self._in_work),
            delayed=len(self._delayed),
            failing=len(self._failures),
            taken_total=self._taken_total,
            waited_seconds_total=self._waited_seconds_total,
            waited_seconds_longest=self._waited_seconds_longest,
        )

    # -- ready keys and turns -------------------------------------------------------------------------

    def _make_ready(self, key: Key) -> None:
        group = self._group(key)
        self._group_of_ready[key] = group
        self._lines.setdefault(group, OrderedDict())[key] = self._clock.time()
        self._offer_turn(group)

    def _offer_turn(self, group: str) -> None:
        """Put the group at the end of the turns if it has a key and room, and wake a worker for it."""
        if group in self._turns or group not in self._lines or not self._has_room(group):
            return
        self._turns[group] = None
        self._wake_getter()

    def _has_room(self, group: str) -> bool:
        return not group or self._in_work_of_group[group] < self._group_limit

    def _take(self) -> Key:
        group, _ = self._turns.popitem(last=False)
        line = self._lines[group]
        key, ready_since = line.popitem(last=False)
        if not line:
            del self._lines[group]
        del self._group_of_ready[key]
        self._in_work[key] = group
        self._in_work_of_group[group] += 1
        self._offer_turn(group)
        waited_seconds = self._clock.time() - ready_since
        self._taken_total += 1
        self._waited_seconds_total += waited_seconds
        self._waited_seconds_longest = max(self._waited_seconds_longest, waited_seconds)
        return key

    def _wake_getter(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _pass_on_wake_up(self, getter: asyncio.Future[None]) -> None:
        """Wake another worker when this one was woken and cancelled at once, so that no key is stranded."""
        if getter in self._getters:
            self._getters.remove(getter)
        if not getter.cancelled() and self._turns:
            self._wake_getter()

    def _tell_watchers(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    # -- delayed keys ---------------------------------------------------------------------------------

    def _add_after(self, key: Key, seconds: float, *, is_retry: bool) -> None:
        if seconds <= 0:
            self.add(key)
            return
        if self._closed or key in self._group_of_ready or key in self._again_at_done:
            return
        when = self._clock.time() + seconds
        known = self._delayed.get(key)
        if known and known.when <= when:
            return
        self._delayed[key] = _Delayed(when, is_retry)
        heapq.heappush(self._heap, (when, key))
        self._drop_stale_entries()
        self._set_timer()

    def _drop_stale_entries(self) -> None:
        """Rebuild the heap when superseded entries outnumber the live ones, so that it stays small."""
        if len(self._heap) > 2 * len(self._delayed) + _STALE_ENTRIES_KEPT:
            self._heap = [(entry.when, key) for key, entry in self._delayed.items()]
            heapq.heapify(self._heap)

    def _set_timer(self) -> None:
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer and self._timer_at <= when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._clock.call_at(when, self._release_due)

    def _release_due(self) -> None:
        self._timer = None
        # The event loop may call a timer early by its clock's resolution: what it was set for is due.
        now = max(self._clock.time(), self._timer_at)
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            entry = self._delayed.get(key)
            if entry and entry.when == when:
                self.add(key)
        self._set_timer()
