"""Checks of time zones and points in time. Reads only the time zone database."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dbtether.errors import InvalidSpec

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})")


def time_zone_problem(text: str) -> str | None:
    """What is wrong with an IANA time zone's name."""
    # "Local" and "localtime" would mean the machine's own zone, another one on each node.
    if text == "UTC":
        return None
    if _KEY.fullmatch(text) is None or text.lower() in ("local", "localtime"):
        return "is not an IANA time zone such as UTC or Europe/Berlin"
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "is not a known IANA time zone such as UTC or Europe/Berlin"
    return None


def instant_problem(text: str) -> str | None:
    """What is wrong with a point in time of RFC 3339."""
    if _INSTANT.fullmatch(text) is None:
        return "is not a time with its zone, such as 2030-01-31T12:00:00Z"
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return "is not a date that exists"
    return None


def parse_instant(text: str) -> datetime:
    """The point in time, in UTC.

    Raises InvalidSpec when it is none.
    """
    if (problem := instant_problem(text)) is not None:
        raise InvalidSpec(f"{text[:40]!r} {problem}")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def instant_of(status: Mapping[str, Any], name: str) -> datetime | None:
    """A point in time of a status; None when there is none that can be read."""
    value = status.get(name)
    return parse_instant(value) if isinstance(value, str) and instant_problem(value) is None else None


def instant_text(instant: datetime) -> str:
    """The point in time as Kubernetes writes it (metav1.Time): UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
