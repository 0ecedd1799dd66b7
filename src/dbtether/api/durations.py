"""Durations as Kubernetes and Go write them: `30s`, `24h`, `1h30m`. Pure."""

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dbtether.errors import InvalidSpec

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
MAX_DURATION_TEXT = 32
_WHOLE = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(str):
    """A duration's text as written; `seconds` is its length. Fields check it with `fields.duration`."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return seconds_of(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def duration_problem(text: str) -> str | None:
    """What is wrong with a duration, as the rest of a sentence that starts with it; None when it is one.

    Go has no unit for days (package time, ParseDuration), and neither has kubectl.
    """
    if len(text) <= MAX_DURATION_TEXT and text.isascii() and _WHOLE.fullmatch(text):
        return None
    hint = "; write days as hours" if re.search(r"\dd", text[:MAX_DURATION_TEXT]) else ""
    return f"is not a duration such as 30s, 24h or 1h30m{hint}"


def seconds_of(text: str) -> float:
    """The length of a duration in seconds.

    Raises InvalidSpec when the text is no duration.
    """
    if (problem := duration_problem(text)) is not None:
        raise InvalidSpec(f"{text[:MAX_DURATION_TEXT]!r} {problem}")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
