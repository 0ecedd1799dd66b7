"""How the demo speaks: headed steps, commands, results, and checks that end it when they fail."""

import sys
import time

from rich.text import Text

from dbtether.cli.output import printable, say
from dbtether.errors import DbtetherError


class DemoFailed(DbtetherError):
    """Something did not come out as the demo promises."""


class Stage:
    """Prints the demo; every check is counted."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.checks = 0
        self._steps = 0
        encoding = (sys.stdout.encoding or "").lower()
        self._tick = "✓" if encoding.startswith("utf") else "ok"

    def step(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        say()
        say(Text(f"{self._steps}. {title}", style="bold cyan"))

    def command(self, text: str) -> None:
        """Show the command that a person would type."""
        say(Text("   $ ", style="dim").append(printable(text), style="bold not dim"))

    def sql(self, user: str, database: str, query: str) -> None:
        """Show a query, and who sends it."""
        say(Text(f"   {user}@{database}> ", style="dim").append(printable(query), style="bold not dim"))

    def line(self, text: str | Text = "", style: str | None = None) -> None:
        """Print a line of a step."""
        shown = Text("   ").append(text) if isinstance(text, Text) else Text(f"   {printable(text)}", style=style or "")
        shown.rstrip()
        say(shown)

    def check(self, holds: bool, sentence: str) -> None:
        """Say that something is so. Raises DemoFailed when it is not."""
        if not holds:
            raise DemoFailed(f"the demo expected: {sentence}")
        self.checks += 1
        say(Text(f"   {self._tick} ", style="bold green").append(printable(sentence), style="not bold default"))

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.started
