"""From a spec as written to its model, or to sentences for people.

Every problem of a resource is told at once, each with the field's path, the value (never a secret one), what
is allowed, the resource, and file and line when they are known.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dbtether.api.field_paths import MAX_SHOWN, Path, path_text, shown
from dbtether.api.kinds import KINDS
from dbtether.api.manifests import Document, joined
from dbtether.api.model import SHAPE_ERROR, VALUE_ERROR, SpecModel
from dbtether.api.resource import Key, Resource
from dbtether.errors import InvalidSpec

Spec = TypeVar("Spec", bound=SpecModel)
Locate = Callable[[Path], str]
"""Gives `file:line` of a field."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one field."""

    path: Path
    sentence: str

    def line(self, key: Key, locate: Locate | None = None) -> str:
        """The problem as people read it, with the resource and the place."""
        place = f", {locate(self.path)}" if locate is not None else ""
        return f"{path_text(self.path)}: {self.sentence} ({key}{place})"


def validate(model: type[Spec], key: Key, spec: Mapping[str, Any], locate: Locate | None = None) -> Spec:
    """The spec as its model.

    Raises InvalidSpec with one line for each problem.
    """
    found, problems = check(model, key, spec)
    if found is None or problems:
        raise InvalidSpec(joined(_lines(key, problems, locate)))
    return found


def validate_resource(model: type[Spec], resource: Resource) -> Spec:
    """The spec of a stored resource as its model. Raises InvalidSpec with one line for each problem."""
    return validate(model, resource.key, resource.spec)


def validate_documents(documents: Iterable[Document]) -> None:
    """Check the specs of documents of our kinds; Secrets were checked when they were read.

    Raises InvalidSpec with the problems of all of them.
    """
    lines: list[str] = []
    for document in documents:
        if document.secret is None:
            _, problems = check(KINDS[document.key.kind].spec, document.key, document.spec)
            lines.extend(_lines(document.key, problems, document.place))
    if lines:
        raise InvalidSpec(joined(lines))


def check(model: type[Spec], key: Key, spec: Mapping[str, Any]) -> tuple[Spec | None, tuple[Problem, ...]]:
    """The spec as its model, or None, and all problems; no problem means that the model is there."""
    written = _without_nulls(spec)
    try:
        found = model.model_validate(written)
    except ValidationError as error:
        lines = error.errors(include_url=False)
        return None, tuple(_problem(model, line) for line in lines if not _follows(line, lines))
    return found, tuple(Problem(path, text) for path, text in found.context_problems(key.namespace, key.name))


def _lines(key: Key, problems: tuple[Problem, ...], locate: Locate | None) -> list[str]:
    return [problem.line(key, locate) for problem in problems]


def _without_nulls(value: Any) -> Any:
    """The value without fields that are null: Kubernetes drops them before it fills in defaults."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _follows(line: Any, lines: Iterable[Any]) -> bool:
    """Whether a list is only too short since its entries are wrong, which is told of each."""
    location = line["loc"]
    return line["type"] == "too_short" and any(
        other is not line and other["loc"][: len(location)] == location for other in lines
    )


def _problem(model: type[SpecModel], line: Any) -> Problem:
    location: Path = line["loc"]
    if location and location[-1] == "[key]":
        location = location[:-1]
    path = ("spec", *location)
    return Problem(path, _sentence(model, location, path, line))


def _sentence(model: type[SpecModel], location: Path, path: Path, line: Any) -> str:
    type_, value, context = line["type"], line["input"], line.get("ctx", {})
    if type_ == SHAPE_ERROR:
        return str(context["text"])
    if type_ == VALUE_ERROR:
        text = str(context["text"])
        return text if isinstance(value, dict | list | tuple | BaseModel) else f"{shown(path, value)} {text}"
    if type_ == "extra_forbidden":
        return _unknown_field(model, location)
    if type_ == "missing":
        return f"required field is missing{_description(model, location)}"
    if type_ == "enum":
        return _not_one_of(model, location, path, value)
    if type_ in ("too_long", "too_short"):
        count = context.get("actual_length")
        if type_ == "too_short":
            return f"has {count} entries, at least {context['min_length']} must be given"
        return f"has {count or 'too many'} entries, at most {context['max_length']} are allowed"
    return _wrong_type(type_, path, value)


def _wrong_type(type_: str, path: Path, value: Any) -> str:
    """The sentence for a value of another type than the field's."""
    seen = shown(path, value)
    if type_.startswith("int"):
        unquoted = isinstance(value, str) and value.strip().lstrip("+-").isdigit()
        return f"{seen} is text; write the number without quotes" if unquoted else f"{seen} is not a whole number"
    if type_.startswith("bool"):
        unquoted = isinstance(value, str) and value.strip().lower() in ("true", "false")
        return f"{seen} is text; write true or false without quotes" if unquoted else f"{seen} is not true or false"
    if type_.startswith("string"):
        if isinstance(value, bool):
            return f"{seen} is a boolean; put it in quotes if text is meant (yes, no, on and off are booleans too)"
        if isinstance(value, int | float):
            return f"{seen} is a number; put it in quotes if text is meant"
        return f"{seen} is not text"
    if type_.startswith("tuple"):
        return f"{seen} is not a list"
    if type_.startswith(("model", "dict")):
        return f"{seen} is not an object with fields"
    return f"{seen} is not allowed here"


def _unknown_field(model: type[SpecModel], location: Path) -> str:
    name = str(location[-1])
    owner = _model_at(model, location[:-1])
    known = _aliases(owner) if owner is not None else {}
    near = get_close_matches(name[:MAX_SHOWN], known, 1) or _same_letters(name, known)
    if near:
        return f'unknown field; did you mean "{near[0]}"?'
    return f"unknown field; known are {', '.join(known)}" if known else "unknown field"


def _same_letters(name: str, known: Iterable[str]) -> list[str]:
    wanted = name.replace("_", "").replace("-", "").lower()
    return [alias for alias in known if alias.lower() == wanted]


def _description(model: type[SpecModel], location: Path) -> str:
    owner = _model_at(model, location[:-1])
    field = _fields(owner).get(str(location[-1])) if owner is not None and location else None
    text = (field.description or "") if field is not None else ""
    return f": {text[0].lower() + text[1:].rstrip('.')}" if text else ""


def _not_one_of(model: type[SpecModel], location: Path, path: Path, value: Any) -> str:
    enum = next(
        (part for part in _parts_at(model, location) if isinstance(part, type) and issubclass(part, Enum)), None
    )
    names = [str(member.value) for member in enum] if enum is not None else []
    hint = ""
    if isinstance(value, str):
        near = [name for name in names if name.lower() == value.lower()]
        hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"{shown(path, value)} is not one of {', '.join(names)}{hint}"


# ---- walking the models' types, for hints only


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _aliases(model: type[BaseModel]) -> Mapping[str, Any]:
    return _fields(model)


def _parts(annotation: Any) -> list[Any]:
    """The types that an annotation stands for, without Annotated, unions and None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [part for argument in get_args(annotation) for part in _parts(argument)]
    return [annotation]


def _parts_at(model: type[BaseModel], location: Path) -> list[Any]:
    """The types of the field at a location; empty when there is no such field."""
    found: list[Any] = [model]
    for step in location:
        found = [part for annotation in found for part in _step(annotation, step)]
    return found


def _step(annotation: Any, step: str | int) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = _fields(annotation).get(str(step))
        return [] if field is None else _parts(field.annotation)
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple:
        return _parts(arguments[0])
    return _parts(arguments[1]) if get_origin(annotation) is dict else []


def _model_at(model: type[BaseModel], location: Path) -> type[BaseModel] | None:
    parts = _parts_at(model, location)
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
