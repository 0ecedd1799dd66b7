"""The base classes of every spec and status model, and the rules that span several fields of one model.

A spec accepts exactly what the API server would accept from the CRD: camelCase names, no unknown field, no
conversion ("5432" is no number, true is no number). Sentences for people are made in `validation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from dbtether.api.field_paths import Path
from dbtether.api.times import instant_text

VALUE_ERROR = "dbtether_value"
"""Error type of a rule about one value; its text continues a sentence that starts with the value."""
SHAPE_ERROR = "dbtether_shape"
"""Error type of a rule about which fields go together; its text is the whole sentence."""


def error_of(type_: str, text: str) -> PydanticCustomError:
    """The pydantic error that carries `text` as it is (its message is a template, where braces matter)."""
    return PydanticCustomError(type_, "{text}", {"text": text})


class ShapeRule(Protocol):
    """A rule about the fields of one model as written, before their values are looked at."""

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        """The sentence that says what is wrong, or None."""
        ...

    @property
    def cel(self) -> str:
        """The same rule for the CRD (`x-kubernetes-validations`)."""
        ...


@dataclass(frozen=True, slots=True)
class ExactlyOne:
    """Exactly one of these fields is set; with `optional` none is fine too."""

    names: tuple[str, ...]
    optional: bool = False

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        present = [name for name in self.names if fields.get(name) is not None]
        if len(present) == 1 or (self.optional and not present):
            return None
        found = f"{' and '.join(present)} are set" if present else "none is set"
        wish = "at most one of {} may be set" if self.optional else "exactly one of {} must be set"
        return f"{wish.format(', '.join(self.names))}; {found}"

    @property
    def cel(self) -> str:
        flags = ", ".join(f"has(self.{name})" for name in self.names)
        return f"[{flags}].filter(is_set, is_set).size() {'<=' if self.optional else '=='} 1"


@dataclass(frozen=True, slots=True)
class Needs:
    """A field that makes sense only together with another one."""

    name: str
    needed: str
    because: str

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        if fields.get(self.name) is None or fields.get(self.needed) is not None:
            return None
        return f"{self.name} needs {self.needed}: {self.because}"

    @property
    def cel(self) -> str:
        return f"!has(self.{self.name}) || has(self.{self.needed})"


@dataclass(frozen=True, slots=True)
class NeedsValue:
    """A field that makes sense only while an enum field has one of `values` (None stands for absent)."""

    name: str
    other: str
    values: tuple[str | None, ...]
    because: str

    def problem(self, fields: Mapping[str, Any]) -> str | None:
        if fields.get(self.name) is None or fields.get(self.other) in self.values:
            return None
        return self.because

    @property
    def cel(self) -> str:
        named = ", ".join(f"'{value}'" for value in self.values if value is not None)
        other = f"self.{self.other}"
        allowed = f"has({other}) && {other} in [{named}]"
        absent = f"!has({other}) || {other} in [{named}]"
        return f"!has(self.{self.name}) || ({absent if None in self.values else allowed})"


class SpecModel(BaseModel):
    """A part of a spec: frozen, strict, populated by camelCase alias only."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[ShapeRule, ...]] = ()

    def context_problems(self, namespace: str, name: str) -> tuple[tuple[Path, str], ...]:
        """What is wrong only in the light of the resource's own name: pairs of path and sentence."""
        return ()

    def dump(self) -> dict[str, Any]:
        """The spec as plain JSON values by alias, defaults included, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ShapedModel(SpecModel):
    """A spec model with rules over several fields; they are reported together with the fields' own errors."""

    @model_validator(mode="wrap")
    @classmethod
    def _check_rules(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        sentences = [text for rule in cls.rules if (text := rule.problem(data)) is not None]
        if not sentences:
            return handler(data)
        lines = [InitErrorDetails(type=error_of(SHAPE_ERROR, text), loc=(), input=None) for text in sentences]
        try:
            handler(data)
        except ValidationError as error:
            lines.extend(lines_of(error))
        raise ValidationError.from_exception_data(cls.__name__, lines)


def lines_of(error: ValidationError) -> list[InitErrorDetails]:
    """The error's lines in the form that a new ValidationError is made of."""
    lines: list[InitErrorDetails] = []
    for line in error.errors(include_url=False):
        ours = line["type"] in (VALUE_ERROR, SHAPE_ERROR)
        type_ = error_of(line["type"], line["ctx"]["text"]) if ours else line["type"]
        details = InitErrorDetails(type=type_, loc=line["loc"], input=line["input"])
        if not ours and "ctx" in line:
            details["ctx"] = line["ctx"]
        lines.append(details)
    return lines


Timestamp = Annotated[datetime, PlainSerializer(instant_text, return_type=str, when_used="json")]


class StatusModel(BaseModel):
    """A part of a status: written by us alone, so unknown fields of another version are dropped when read."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    def dump(self) -> dict[str, Any]:
        """The status as plain JSON values by alias, without absent fields and empty lists."""
        return {
            name: value
            for name, value in self.model_dump(mode="json", by_alias=True, exclude_none=True).items()
            if value != []
        }


class ConditionStatus(StrEnum):
    """The three answers of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """A standard `metav1.Condition`."""

    type: str
    """What the condition is about, such as Ready."""
    status: ConditionStatus
    """Whether it holds: True, False or Unknown."""
    reason: str
    """One CamelCase word for programs; `reasons` explains each."""
    message: str = ""
    """A sentence for people with what to do next."""
    last_transition_time: Timestamp
    """When `status` changed last."""
    observed_generation: int | None = None
    """The generation of the spec that the condition is about."""


MAX_STATUS_ENTRIES = 50
"""A list in a status holds this many entries; a count beside it tells the rest."""


class KindStatus(StatusModel):
    """What every kind's status has; `phase` is declared by the kind."""

    observed_generation: int | None = None
    """The generation of the spec that this status describes."""
    message: str | None = None
    """What to do next, in one sentence."""
    conditions: tuple[Condition, ...] = ()
    """Ready, and kstatus' Reconciling and Stalled; a kind may add its own."""
