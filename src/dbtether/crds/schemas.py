"""A structural schema, as the API server wants one, from a pydantic model.

Pydantic's JSON schema says the same with other words: `$ref` becomes the thing itself, `anyOf` with null becomes
an optional field, what only repeats a name or forbids is dropped, and rules become `x-kubernetes-validations`.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from dbtether.api.fields import Rule
from dbtether.api.model import KindStatus, SpecModel
from dbtether.api.settings import Setting
from dbtether.crds.cel import TOLD_AROUND, Validation, quoted, validation
from dbtether.crds.rules import has_no_entry_twice, known_keys, shape_rules, value_rules

VALIDATIONS = "x-kubernetes-validations"
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_KEYS = {"Schema": ["name"], "Condition": ["type"]}
"""Lists of these models are maps for server-side apply: their entries have a key, and no two share it."""
_DROPPED = ("title", "additionalProperties", "patternProperties", "propertyNames", "$defs")
_MAX_PROPERTIES = 64
"""Of a map that says nothing itself; without a bound, rules about its entries would be too costly."""


def spec_schema(model: type[SpecModel]) -> dict[str, Any]:
    """The schema of a spec."""
    return _structural(model.model_json_schema(schema_generator=_WithRules))


def status_schema(model: type[KindStatus]) -> dict[str, Any]:
    """The schema of a status: we alone write it, so it has no default and nothing but keys is required."""
    return _without_defaults(_structural(model.model_json_schema(schema_generator=_WithRules, mode="serialization")))


class _WithRules(GenerateJsonSchema):
    """Pydantic's generator, which also writes down the rules of models and of values."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        if rules := shape_rules(getattr(model, "rules", ())):
            found[VALIDATIONS] = rules
        return found

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        found = super().function_after_schema(schema)
        rule = getattr(schema["function"]["function"], "__self__", None)
        if isinstance(rule, Rule):
            if has_no_entry_twice(rule):
                found[_LIST_TYPE] = "set"
            if rules := value_rules(rule):
                found[VALIDATIONS] = [*found.get(VALIDATIONS, ()), *rules]
        return found

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        found = super().function_wrap_schema(schema)
        known = getattr(getattr(schema["function"]["function"], "__self__", None), "known", None)
        if isinstance(known, Mapping):
            found[VALIDATIONS] = known_keys(name for name, setting in known.items() if isinstance(setting, Setting))
        return found


def _structural(whole: Mapping[str, Any]) -> dict[str, Any]:
    definitions: Mapping[str, Any] = whole.get("$defs", {})

    def convert(schema: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(schema)
        if (options := found.pop("anyOf", None)) is not None:
            (some,) = (option for option in options if option.get("type") != "null")
            # The field's own words come first, then those of its type.
            found = {**some, **found, **_both(some, found)}
        if (reference := found.pop("$ref", None)) is not None:
            named = definitions[reference.rpartition("/")[2]]
            found = {**named, **found, **_both(named, found)}
            if "$ref" in found or "anyOf" in found:
                return convert(found)
        return _cleaned(found, convert)

    return convert(whole)


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Validation]]:
    rules: list[Validation] = [*one.get(VALIDATIONS, ()), *other.get(VALIDATIONS, ())]
    return {VALIDATIONS: rules} if rules else {}


def _cleaned(schema: dict[str, Any], convert: Any) -> dict[str, Any]:
    found = {name: value for name, value in schema.items() if name not in _DROPPED}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if found.get("default") in (None, [], {}) or isinstance(found["default"], dict):
        # A default object would show up in what was never written; its fields have their own.
        found.pop("default", None)
    for bound in ("Minimum", "Maximum"):
        # JSON Schema's newer form is a number, the API server's a flag beside the number.
        if (value := found.pop(f"exclusive{bound}", None)) is not None:
            found[bound.lower()], found[f"exclusive{bound}"] = value, True
    match found.get("type"):
        case "array":
            _clean_list(found, schema["items"], convert)
        case "object":
            _clean_object(found, schema, convert)
    if VALIDATIONS in found:
        # Pydantic sorts what it makes; a rule reads better before what it says.
        found[VALIDATIONS] = [dict(sorted(entry.items(), reverse=True)) for entry in found[VALIDATIONS]]
    order = ("description", "type")
    return {name: found[name] for name in (*order, *(name for name in found if name not in order)) if name in found}


def _clean_list(found: dict[str, Any], items: Mapping[str, Any], convert: Any) -> None:
    for length, bound, strictest in (("minLength", "minItems", max), ("maxLength", "maxItems", min)):
        if (value := found.pop(length, None)) is not None:
            found[bound] = strictest(value, found.get(bound, value))
    if not found.get("minItems"):
        found.pop("minItems", None)
    found["items"] = convert(items)
    if keys := _MAP_KEYS.get(str(items.get("$ref", "")).rpartition("/")[2]):
        found[_LIST_TYPE] = "map"
        found["x-kubernetes-list-map-keys"] = keys
    elif _LIST_TYPE not in found:
        found[_LIST_TYPE] = "atomic"


def _clean_object(found: dict[str, Any], schema: Mapping[str, Any], convert: Any) -> None:
    if "properties" in found:
        found["properties"] = {name: convert(field) for name, field in found["properties"].items()}
        _take_up_rules_about_secrets(found)
        return
    patterns: Mapping[str, Any] = schema.get("patternProperties", {})
    values = next(iter(patterns.values()), schema.get("additionalProperties"))
    found["additionalProperties"] = convert(values)
    found.setdefault("maxProperties", _MAX_PROPERTIES)
    for pattern in patterns:
        size = schema.get("propertyNames", {}).get("maxLength")
        rule = f"self.all(key, key.size() <= {size} && key.matches({quoted(pattern)}))"
        found.setdefault(VALIDATIONS, []).append(validation(rule, f"a key does not match {pattern}"))


def _take_up_rules_about_secrets(found: dict[str, Any]) -> None:
    """Put rules about a value that may be a secret on the object around it: its text is not repeated there."""
    for name, field in found["properties"].items():
        rules: list[Validation] = field.get(VALIDATIONS, [])
        secret = [entry for entry in rules if entry.get("fieldPath") == TOLD_AROUND]
        if not secret:
            continue
        field.pop(VALIDATIONS)
        # The API server repeats what does not match a pattern, too.
        field.pop("pattern", None)
        if others := [entry for entry in rules if entry not in secret]:
            field[VALIDATIONS] = others
        for entry in secret:
            rule = re.sub(r"\bself\b", f"self.{name}", entry["rule"])
            moved = validation(f"!has(self.{name}) || ({rule})", entry["message"])
            found[VALIDATIONS] = [*found.get(VALIDATIONS, ()), {**moved, "fieldPath": f".{name}"}]


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in schema.items() if name not in ("default", "required")}
    if "properties" in found:
        found["properties"] = {name: _without_defaults(field) for name, field in found["properties"].items()}
    if "items" in found:
        found["items"] = _without_defaults(found["items"])
        if keys := found.get("x-kubernetes-list-map-keys"):
            found["items"]["required"] = keys
    return found
