"""How far a backup is: one line that moves on a terminal, else one every few seconds."""

import time

from rich.live import Live
from rich.text import Text

from dbtether.backup.dump import DumpProgress
from dbtether.backup.words import progress_text
from dbtether.cli.output import err, tell

_SECONDS_BETWEEN_LINES = 5.0


class BackupProgress:
    """Shows a backup's progress for as long as the block runs."""

    def __init__(self, title: str, *, is_quiet: bool) -> None:
        self._title = title
        self._is_quiet = is_quiet
        self._size = 0
        self._told = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> "BackupProgress":
        if not self._is_quiet and err().is_terminal and not err().is_dumb_terminal:
            self._live = Live(Text(self._title), console=err(), refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, size_bytes: int) -> None:
        """The database's size is known, and its dump begins."""
        self._size = size_bytes

    def show(self, progress: DumpProgress) -> None:
        """Tell how far it is."""
        text = f"{self._title}   {progress_text(progress, self._size)}"
        if self._live is not None:
            self._live.update(Text(text))
        elif not self._is_quiet and time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            tell(text)
