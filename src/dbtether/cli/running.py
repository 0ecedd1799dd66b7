"""Runs a command's coroutine: Ctrl-C and SIGTERM cancel it, and it is awaited until it has cleaned up."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A person or a supervisor asked the program to end."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns. Raises Interrupted once it has ended after a signal."""
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    was_interrupted = False

    def interrupt() -> None:
        nonlocal was_interrupted
        was_interrupted = True
        task.cancel()
        # Whoever asks twice does not want to wait: the state survives a kill at any point.
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if was_interrupted:
            raise Interrupted from None
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
