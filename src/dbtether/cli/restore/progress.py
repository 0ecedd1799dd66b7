"""How far a restore is: one line that moves on a terminal, else a line for each step and one every few seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from dbtether.api.resource import Key
from dbtether.cli.output import err, printable, tell
from dbtether.runtime.records import RecordStore
from dbtether.runtime.store import Change

_SECONDS_BETWEEN_LINES = 5.0


class RestoreProgress:
    """Follows the status of one resource by the store's changes."""

    def __init__(self, store: RecordStore, key: Key, title: str, *, is_quiet: bool) -> None:
        self._key = key
        self._title = title
        self._is_quiet = is_quiet
        self._live: Live | None = None
        self._step: object = None
        self._told = 0.0
        store.subscribe(self._take_in)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block runs."""
        if self._is_quiet or not err().is_terminal or err().is_dumb_terminal:
            yield
            return
        with Live(Text(self._title), console=err(), refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _take_in(self, change: Change) -> None:
        if change.key != self._key or change.new is None or self._is_quiet:
            return
        status = change.new.status
        if "completedAt" in status or not status.get("message"):
            return
        text = f"{self._title}   {printable(str(status['message']))}"
        if self._live is not None:
            self._live.update(Text(text))
            return
        step, now = (status.get("phase"), status.get("step")), time.monotonic()
        if step != self._step or now - self._told >= _SECONDS_BETWEEN_LINES:
            self._step, self._told = step, now
            tell(text)
