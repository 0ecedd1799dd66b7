"""JSON values as YAML in block style: what a state directory is written in, at a fifth of PyYAML's cost.

Every string is quoted unless it is plainly a string to every YAML reader: PyYAML would leave `1e3` and `y`
bare, which kubectl takes for a number and a boolean. Whatever is written here, any YAML reader reads; the
tests compare with PyYAML.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./(-][A-Za-z0-9_.,/()-]*)*")
_RESERVED = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})
_LONGEST_KEY = 1_000
"""YAML readers look for the colon of a key within 1,024 characters."""


class NotWritable(Exception):
    """A string that no YAML file can hold; the message does not show it."""


def block_yaml(document: Mapping[str, Any]) -> str:
    """The document as text. Raises NotWritable for half of a surrogate pair, or a key of a thousand bytes."""
    return "\n".join([*_mapping(document, ""), ""])


def _mapping(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        name = f"{indent}{_key(key)}:"
        if isinstance(value, str):
            yield f"{name} {_string(value)}"
        elif isinstance(value, Mapping) and value:
            yield name
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, list | tuple) and value:
            yield name
            yield from _list(value, indent)
        else:
            yield f"{name} {_scalar(value)}"


def _list(items: list[Any] | tuple[Any, ...], indent: str) -> Iterator[str]:
    inner = indent + "  "
    for item in items:
        if isinstance(item, Mapping) and item:
            lines = _mapping(item, inner)
        elif isinstance(item, list | tuple) and item:
            lines = _list(item, inner)
        else:
            yield f"{indent}- {_scalar(item)}"
            continue
        # The first line of what is inside stands beside the dash.
        yield f"{indent}- {next(lines)[len(inner) :]}"
        yield from lines


def _key(key: str) -> str:
    text = _string(key)
    if len(text) > _LONGEST_KEY:
        raise NotWritable("a key is too long")
    return text


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case str():
            return _string(value)
        case int():
            return str(value)
        case float():
            return _float(value)
        case Mapping():
            return "{}"
        case list() | tuple():
            return "[]"
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _float(value: float) -> str:
    text = repr(value)
    # YAML 1.1 wants a point before the exponent, and a sign in it.
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    if "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _string(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    if text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise NotWritable("a string holds half of a surrogate pair")
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    if code == 0x7F:
        return "\\x7f"
    return json.dumps(character)[1:-1]
