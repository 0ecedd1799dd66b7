"""The exit codes of `dbtether`, and the exception that ends a command with one of them."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended; documented in docs/cli.md."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    INVALID = 3
    TIMED_OUT = 4
    STATE = 5
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "everything is as wanted",
    Exit.FAILED: "something failed, is blocked or is not Ready",
    Exit.CHANGES: "plan, retention --dry-run: something would change",
    Exit.INVALID: "invalid input: a manifest, an argument, an option",
    Exit.TIMED_OUT: "the time of --wait is over",
    Exit.STATE: "the state directory is in use, missing or unreadable",
    Exit.INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
}


def epilog() -> str:
    """The exit codes as the last paragraph of `--help`."""
    lines = [f"  {code.value:<4} {code.meaning}" for code in Exit]
    # \b keeps the lines as they are.
    return "\b\nExit codes:\n" + "\n".join(lines)


class Quit(Exception):
    """Ends the command with an exit code, after its messages were printed to stderr, one a line."""

    def __init__(self, code: Exit, *messages: str) -> None:
        super().__init__(*messages)
        self.code = code
        self.messages = messages
