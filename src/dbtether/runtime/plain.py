"""Plain JSON values: what a resource's spec and status are made of."""

import math
from collections.abc import Mapping
from typing import Any


def plain_mapping(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy made of dicts and lists. Raises TypeError for what JSON cannot hold."""
    return {_plain_key(key): plain(value) for key, value in mapping.items()}


def plain(value: Any) -> Any:
    """A deep copy made of dicts, lists, and plain scalars. Raises TypeError for what JSON cannot hold."""
    match value:
        case None | bool():
            return value
        case str():
            # An enum's member is a str as well, but would not be written as one.
            return str.__str__(value)
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case Mapping():
            return plain_mapping(value)
        case list() | tuple():
            return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _plain_key(key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    raise TypeError(f"a key must be a string, not {type(key).__name__}")
