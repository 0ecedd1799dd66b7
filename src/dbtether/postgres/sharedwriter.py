"""One writer for the catalogs that all databases share: what waits is sent together in one transaction.

Roles, memberships and privileges on databases are written under one advisory lock, one transaction after the
other. A thousand users would pay a thousand commits; those that wait meanwhile share one. When a transaction
of several fails, each is run alone, so that nobody fails for another's sake.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dbtether.errors import Retryable
from dbtether.postgres.statement import Batch

# Enough to make commits cheap, few enough that a failure repeats little.
_MOST_TOGETHER = 16
# The server is away: running each alone would only wait for it again and again.
_AWAY = frozenset({"ConnectionFailed", "TooManyConnections"})


@dataclass(frozen=True, slots=True)
class Part:
    """A batch, and the resource it is for."""

    batch: Batch
    subject: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    part: Part
    done: asyncio.Future[None]


class SharedWriter:
    """Runs parts one transaction at a time, several together where they wait for each other anyway."""

    def __init__(self, run: Callable[[Sequence[Part]], Awaitable[None]]) -> None:
        """`run` runs parts in one transaction, all or nothing."""
        self._run = run
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def write(self, part: Part) -> None:
        """Run the part; committed when this returns. Raises Retryable or Blocked.

        One that is cancelled while it waits is not run; one that runs already is not torn apart.
        """
        waiting = _Waiting(part, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="shared-writer")
        await waiting.done

    async def close(self) -> None:
        """Wait for the transaction that runs now; what only waits is given up."""
        while self._queue:
            self._queue.popleft().done.cancel()
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        while self._queue:
            count = min(_MOST_TOGETHER, len(self._queue))
            taken = [self._queue.popleft() for _ in range(count)]
            await self._run_together([waiting for waiting in taken if not waiting.done.done()])

    async def _run_together(self, taken: list[_Waiting]) -> None:
        if len(taken) > 1:
            try:
                await self._run([waiting.part for waiting in taken])
            except Retryable as error:
                if error.reason in _AWAY:
                    _finish(taken, error)
                    return
            except Exception as error:
                # One of them is to blame: below each is run alone and told its own. A bug must not leave them waiting.
                del error
            else:
                _finish(taken, None)
                return
        for waiting in taken:
            try:
                await self._run([waiting.part])
            except Exception as error:
                _finish([waiting], error)
            else:
                _finish([waiting], None)


def _finish(taken: list[_Waiting], error: Exception | None) -> None:
    for waiting in taken:
        if waiting.done.done():
            continue
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)
