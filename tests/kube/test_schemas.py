"""What the API server wants of every schema: bounded, structural, without what would show up unasked."""

from collections.abc import Iterator
from typing import Any

import pytest

from dbtether.api.kinds import KINDS
from dbtether.crds.schemas import spec_schema, status_schema

_FOREIGN_WORDS = {"$ref", "$defs", "anyOf", "title", "patternProperties", "propertyNames", "const"}


def parts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema within a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from parts(field, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if below in schema:
            yield from parts(schema[below], f"{path}[]")


SPECS = [part for kind in KINDS.values() for part in parts(spec_schema(kind.spec), kind.kind)]
STATUSES = [part for kind in KINDS.values() for part in parts(status_schema(kind.status), kind.kind)]


@pytest.mark.parametrize(("path", "schema"), SPECS, ids=[path for path, _ in SPECS])
def test_everything_in_a_spec_is_bounded(path: str, schema: dict[str, Any]) -> None:
    match schema["type"]:
        case "string":
            assert schema.keys() & {"maxLength", "enum"}
        case "array":
            assert schema["maxItems"]
            assert schema["x-kubernetes-list-type"] in ("set", "map", "atomic")
        case "object":
            assert schema.keys() & {"properties", "maxProperties"}
        case "integer":
            assert schema.keys() >= {"minimum", "maximum"}


def test_schemas_have_no_words_that_the_api_server_refuses() -> None:
    for path, schema in (*SPECS, *STATUSES):
        assert not schema.keys() & _FOREIGN_WORDS, path
        assert schema.get("additionalProperties") is not False, path


def test_only_single_values_are_filled_in_and_nothing_in_a_status() -> None:
    filled = {path: schema["default"] for path, schema in SPECS if "default" in schema}
    assert [path for path, value in filled.items() if not isinstance(value, str | int | bool)] == []
    assert [path for path, schema in STATUSES if "default" in schema] == []


def test_every_field_is_explained() -> None:
    for path, schema in (*SPECS, *STATUSES):
        assert "description" in schema or path.endswith("[]"), path
