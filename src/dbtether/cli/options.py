"""Checks of option values that typer does not do."""

from dbtether.cli.exits import Exit, Quit

OUTPUTS = ("table", "json", "yaml")


def checked_output(value: str) -> str:
    """The output format. Raises Quit for another one."""
    if value not in OUTPUTS:
        raise Quit(Exit.INVALID, f"--output {value!r} is not one of {', '.join(OUTPUTS)}")
    return value


def checked_wait(value: str) -> float:
    """The seconds of a duration. Raises Quit when it is none."""
    from dbtether.api.durations import duration_problem, seconds_of

    if (problem := duration_problem(value)) is not None:
        raise Quit(Exit.INVALID, f"--wait {value!r} {problem}")
    return seconds_of(value)
