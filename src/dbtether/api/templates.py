"""Object keys from `{{ .Field }}` templates with a closed vocabulary. Pure; no expressions, no functions."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from dbtether.api.identifiers import text_problem
from dbtether.errors import InvalidSpec

FIELDS = (
    "ClusterName",
    "DatabaseName",
    "Namespace",
    "Year",
    "Month",
    "Day",
    "Timestamp",
    "RunID",
    "Random",
)
MAX_KEY_BYTES = 1024
"""S3's limit of a key, the smallest of the stores we know."""
SUFFIXES = (".sql", ".sql.gz", ".sql.zst", ".dump")

_BRACES = re.compile(r"\{\{ *\.([A-Za-z]+) *\}\}")
_PROBE = "x"


def template_problem(text: str) -> str | None:
    """What is wrong with a template, as the rest of a sentence that starts with it."""
    if (problem := text_problem(text)) is not None:
        return problem
    unknown = [name for name in _BRACES.findall(text) if name not in FIELDS]
    if unknown:
        return f"uses .{unknown[0]}; known are {', '.join('.' + name for name in FIELDS)}"
    rest = _BRACES.sub(_PROBE, text)
    if "{" in rest or "}" in rest:
        return "has braces that are no field; a field is written {{ .Timestamp }}"
    return _key_problem(rest)


def filename_problem(text: str) -> str | None:
    """As `template_problem`, and the suffix must name a format that we write."""
    if (problem := template_problem(text)) is not None:
        return problem
    if not text.endswith(SUFFIXES) or text.rpartition("/")[2] in SUFFIXES:
        return f"must end with one of {', '.join(SUFFIXES)} after a name: the suffix picks the format"
    return None


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with each field replaced by its value.

    Raises InvalidSpec when the template, a value or the result is no safe object key.
    """
    if (problem := template_problem(template)) is not None:
        raise InvalidSpec(f"template {template[:60]!r} {problem}")
    for name in _BRACES.findall(template):
        value = values.get(name, "")
        if (problem := _segment_problem(value)) is not None:
            raise InvalidSpec(f"template field .{name}: {value[:60]!r} {problem}")
    key = _BRACES.sub(lambda match: values[match[1]], template)
    if (problem := _key_problem(key)) is not None:
        raise InvalidSpec(f"object key {key[:60]!r} {problem}")
    return key


def template_fields(text: str) -> frozenset[str]:
    """The fields that a template names."""
    return frozenset(_BRACES.findall(text))


def time_fields(now: datetime) -> dict[str, str]:
    """The values of .Year, .Month, .Day and .Timestamp at a point in time, in UTC."""
    utc = now.astimezone(UTC)
    return {
        "Year": utc.strftime("%Y"),
        "Month": utc.strftime("%m"),
        "Day": utc.strftime("%d"),
        "Timestamp": utc.strftime("%Y%m%d-%H%M%S"),
    }


def _segment_problem(value: str) -> str | None:
    if not value or value in (".", ".."):
        return "is empty or a dot segment, which names no object"
    if "/" in value or "\\" in value:
        return "has a slash; a value is one segment of the key"
    return text_problem(value)


def _key_problem(key: str) -> str | None:
    if "\\" in key:
        return "has a backslash; segments are separated by /"
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return "has an empty segment, `.` or `..`; segments are separated by one /, none at the ends"
    if (problem := text_problem(key)) is not None:
        return problem
    size = len(key.encode())
    return f"has {size} bytes; an object key has at most {MAX_KEY_BYTES}" if size > MAX_KEY_BYTES else None
