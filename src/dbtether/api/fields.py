"""The types of spec fields: what a value may look like, for pydantic and for the CRD's schema alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema, core_schema

from dbtether.api import identifiers as ids
from dbtether.api.cron import schedule_problem
from dbtether.api.durations import DURATION_PATTERN, MAX_DURATION_TEXT, duration_problem, seconds_of
from dbtether.api.hosts import endpoint_problem, url_problem
from dbtether.api.model import VALUE_ERROR, error_of
from dbtether.api.templates import template_problem
from dbtether.api.times import instant_problem, time_zone_problem

T = TypeVar("T")

SHORT_TEXT = 256
LONG_TEXT = 1024
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"


@dataclass(frozen=True, eq=False)
class Rule:
    """A check of one value and what the CRD's schema says of it.

    `check` returns the rest of a sentence that starts with the value, or None.
    """

    check: Callable[[Any], str | None]
    schema: dict[str, Any] = field(default_factory=dict)

    def _run(self, value: Any) -> Any:
        if (problem := self.check(value)) is not None:
            raise error_of(VALUE_ERROR, problem)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._run, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.schema}


def between(low: int, high: int) -> Rule:
    """A number's range, both ends included."""

    def check(value: int) -> str | None:
        return None if low <= value <= high else f"is not between {low} and {high}"

    return Rule(check, {"minimum": low, "maximum": high})


def text(check: Callable[[str], str | None], *, size: int, pattern: str | None = None) -> Rule:
    """A text of 1 to `size` characters without control characters that passes `check`."""

    def whole(value: str) -> str | None:
        if not value:
            return "is empty; give a value or leave the field out"
        if (problem := ids.text_problem(value)) is not None:
            return problem
        if len(value) > size:
            return f"has {len(value)} characters, at most {size} are allowed"
        return check(value)

    return Rule(whole, {"minLength": 1, "maxLength": size, "pattern": pattern or _NO_CONTROL})


def matching(pattern: str, sentence: str, *, size: int) -> Rule:
    """A text that matches a pattern whole; `sentence` says in words what the pattern wants."""
    compiled = re.compile(pattern)
    return text(
        lambda value: None if compiled.fullmatch(value) else sentence,
        size=size,
        pattern=pattern if pattern.startswith("^") else f"^{pattern}$",
    )


def _fine(_: str) -> str | None:
    return None


def unique(values: tuple[Any, ...]) -> str | None:
    """The problem of a list in which an entry stands twice."""
    seen: list[Any] = []
    for value in values:
        if value in seen:
            return f"lists {getattr(value, 'label', value)!s} twice"
        seen.append(value)
    return None


def listed(size: int, least: int = 0) -> Any:
    """The annotations of a tuple field: JSON lists are read, the length is bounded."""
    return Field(strict=False, max_length=size, min_length=least)


E = TypeVar("E", bound=StrEnum)
Choice = Annotated[E, Strict(False)]
"""An enum read from its text (strict pydantic takes only the member itself)."""

# ---- PostgreSQL

Identifier = Annotated[str, Rule(ids.identifier_problem, {"minLength": 1, "maxLength": 63, "pattern": _NO_CONTROL})]
DatabaseName = Annotated[
    str,
    Rule(
        ids.database_name_problem,
        {"minLength": 1, "maxLength": 63, "pattern": ids.DATABASE_NAME_PATTERN},
    ),
]
Username = Annotated[
    str, Rule(ids.username_problem, {"minLength": 1, "maxLength": 63, "pattern": ids.USERNAME_PATTERN})
]
SchemaName = Annotated[str, Rule(ids.schema_name_problem, {"minLength": 1, "maxLength": 63, "pattern": _NO_CONTROL})]
ExtensionName = Annotated[
    str, Rule(ids.extension_problem, {"minLength": 1, "maxLength": 63, "pattern": ids.EXTENSION_PATTERN})
]
ExtensionVersion = Annotated[
    str,
    matching(r"[A-Za-z0-9._+-]+", "is not an extension's version: letters, digits and . _ + -", size=63),
]
Locale = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.@,=-]*",
        "is not a locale such as C, C.UTF-8 or en_US.UTF-8",
        size=63,
    ),
]
ConnectionLimit = Annotated[int, between(-1, 262_143)]
"""-1 is no limit; the upper end is PostgreSQL's own MAX_BACKENDS."""

# ---- Kubernetes

Name = Annotated[
    str,
    Rule(ids.name_problem, {"minLength": 1, "maxLength": ids.MAX_SUBDOMAIN, "pattern": ids.SUBDOMAIN_PATTERN}),
]
Namespace = Annotated[
    str, Rule(ids.label_problem, {"minLength": 1, "maxLength": ids.MAX_LABEL, "pattern": ids.LABEL_PATTERN})
]
NamespaceOrAny = Annotated[
    str,
    Rule(
        ids.namespace_or_any_problem,
        {"minLength": 1, "maxLength": ids.MAX_LABEL, "pattern": rf"^\*$|{ids.LABEL_PATTERN}"},
    ),
]
Namespaces = Annotated[tuple[NamespaceOrAny, ...], listed(256), Rule(unique)]
SecretKey = Annotated[str, matching(r"[-._a-zA-Z0-9]+", "is not a Secret's key: letters, digits and - _ .", size=253)]
_QUALIFIED = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
QualifiedName = Annotated[
    str, matching(_QUALIFIED, "is not the key of a label or annotation, such as example.com/team", size=317)
]
LabelValue = Annotated[
    str,
    Rule(
        lambda value: (
            None
            if re.fullmatch(r"|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)
            else "is not a label's value: at most 63 letters, digits and - _ ., alphanumeric at both ends"
        ),
        {"maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"},
    ),
]
AnnotationValue = Annotated[
    str,
    Rule(
        lambda value: (
            f"has {len(value)} characters, at most 4096 are allowed"
            if len(value) > 4096
            else ids.text_problem(value.replace("\n", "").replace("\t", ""))
        ),
        {"maxLength": 4096},
    ),
]
EnvironmentName = Annotated[
    str,
    matching(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "is not the name of an environment variable (give the name, not the value)",
        size=128,
    ),
]

# ---- Places, times, templates

Endpoint = Annotated[str, text(endpoint_problem, size=253)]
Url = Annotated[str, text(url_problem, size=SHORT_TEXT, pattern=r"^https?://[^\x00-\x20\x7f]+$")]
Plain = Annotated[str, text(_fine, size=SHORT_TEXT)]
LongPlain = Annotated[str, text(_fine, size=LONG_TEXT)]
TimeZone = Annotated[str, text(time_zone_problem, size=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")]
Instant = Annotated[str, text(instant_problem, size=40)]
CronSchedule = Annotated[str, text(schedule_problem, size=128)]
PathTemplate = Annotated[str, text(template_problem, size=512)]


def duration(low: str, high: str) -> Any:
    """The annotations of a duration field with its range, both ends included."""

    def in_range(value: str) -> str | None:
        if (problem := duration_problem(value)) is not None:
            return problem
        if not seconds_of(low) <= seconds_of(value) <= seconds_of(high):
            return f"is not between {low} and {high}"
        return None

    return Rule(in_range, {"pattern": DURATION_PATTERN, "maxLength": MAX_DURATION_TEXT})
