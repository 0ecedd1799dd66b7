"""Tasks that must not end: when one does, everything that depends on them ends with an error."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

Work = Callable[[], Coroutine[Any, Any, Any]]


class TaskEnded(Exception):
    """A task that must run for ever has ended; its own error, if it had one, is the cause."""


class Supervisor:
    """A context that cancels its body when one of its tasks ends, and its tasks when the body ends.

    Raises TaskEnded in the first case.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    def start(self, work: Work, name: str) -> asyncio.Task[None]:
        """Run the work; stop it with `stop`, not by cancelling the task."""
        task = self._group.create_task(_must_not_end(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, task: asyncio.Task[None]) -> None:
        """End one task on purpose."""
        task.cancel()
        await asyncio.wait({task})

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(exc_type, exc, traceback)
        except BaseExceptionGroup as group:
            ended = [error for error in group.exceptions if isinstance(error, TaskEnded)]
            others = [error for error in group.exceptions if error not in ended]
            # The body's own error comes first: a task may have ended because of it.
            first = (others or ended)[0]
            raise first from first.__cause__


async def _must_not_end(work: Work, name: str) -> None:
    try:
        await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise TaskEnded(f"{name} was cancelled by nobody") from None
    except Exception as error:
        raise TaskEnded(f"{name} ended: {error}") from error
    raise TaskEnded(f"{name} ended without an error")
