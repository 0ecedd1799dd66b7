"""From an exception to an exit code and a sentence: no traceback reaches a person who did not ask for one."""

import os
import traceback

from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import error, tell
from dbtether.cli.running import Interrupted
from dbtether.errors import DbtetherError, InvalidSpec, StateError

DEBUG = "DBTETHER_DEBUG"


def is_debugging() -> bool:
    """Whether the person asked for tracebacks."""
    return os.environ.get(DEBUG) == "1"


def exit_code_of(failure: Exception) -> Exit:
    """Print what went wrong and give the exit code for it."""
    if isinstance(failure, BrokenPipeError):
        return Exit.FAILED
    if is_debugging() and not isinstance(failure, Quit | Interrupted):
        # Without local variables: those hold passwords.
        tell("".join(traceback.format_exception(failure)))
    match failure:
        case Quit():
            for message in failure.messages:
                error(message)
            return failure.code
        case Interrupted():
            tell("interrupted: nothing is half-written; the same command again goes on from here")
            return Exit.INTERRUPTED
        case InvalidSpec():
            for line in failure.message.splitlines():
                error(line)
            return Exit.INVALID
        case StateError():
            error(str(failure))
            return Exit.STATE
        case DbtetherError():
            # What the engine would try again, a command that has ended does not.
            error(str(failure).removesuffix("; trying again"))
            return Exit.FAILED
        case OSError() if failure.strerror:
            error(f"{failure.filename}: {failure.strerror}" if failure.filename else failure.strerror)
            return Exit.FAILED
    error(f"a bug in dbtether ({type(failure).__name__}): run it again with {DEBUG}=1 and report what it prints")
    return Exit.FAILED
