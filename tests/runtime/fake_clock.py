"""A clock that stands still until a test moves it."""

import heapq
from collections.abc import Callable
from itertools import count


class FakeTimer:
    """A call that a FakeClock makes when its time has come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """Stands in for an event loop's time; `advance` makes the calls that are due, in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, FakeTimer]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._calls, (when, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, timer = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if not timer.is_cancelled:
                timer.callback()
        self.now = end
