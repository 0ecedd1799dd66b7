"""YAML or JSON text to plain JSON values, with the line of every field. Pure.

Reads what kubectl reads: YAML 1.1 where yes/no/on/off are booleans, 010 is octal, and time stamps stay text;
anchors, aliases and merge keys (`<<`) work. Refused with one sentence: duplicate keys, keys that are no text,
aliases that expand to a bomb, other tags, numbers that JSON cannot hold.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import Node, ScalarNode, SequenceNode

from dbtether.api.field_paths import Path
from dbtether.errors import InvalidSpec

MAX_TEXT_BYTES = 5 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 300_000
"""How many values a text may hold; ten thousand manifests have fewer."""
MAX_ALIASED = 100_000
"""How many values all aliases of one text may add; each ten characters of a text count as one more."""

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]*|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _TooManyValuesError(yaml.YAMLError):
    """Raised while libyaml still reads, so that a hostile text costs no more than the bound."""


class _Loader(yaml.CSafeLoader):
    """libyaml's parser with go-yaml v2's rules for plain scalars, which kubectl uses."""

    nodes = 0

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool]) -> str:
        """The tag of a node that has none: text stays plain `str`, whatever it looks like, until read."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _TooManyValuesError
        if kind is ScalarNode:
            return _TAG + ("plain" if implicit[0] else "str")
        return _TAG + ("seq" if kind is SequenceNode else "map")


@dataclass(frozen=True, slots=True)
class Tree:
    """One document: its plain value and the line of each field."""

    value: Any
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of the field, or of its nearest parent that is written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str | bytes, source: str) -> tuple[Tree, ...]:
    """The documents of a text, empty ones left out.

    Raises InvalidSpec with file, line and column for anything that cannot be read.
    """
    checked = _checked_text(text, source)
    budget = _Budget()
    trees: list[Tree] = []
    for node in _nodes(checked, source):
        reader = _Reader(source, budget)
        value = reader.value(node, ())
        if value is not None:
            trees.append(Tree(value, reader.lines))
    return tuple(trees)


def _checked_text(text: str | bytes, source: str) -> str:
    size = len(text)
    if size > MAX_TEXT_BYTES:
        raise InvalidSpec(f"{source}: has more than {MAX_TEXT_BYTES // 1024**2} MiB; split it into several files")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidSpec(f"{source}: is not UTF-8 (byte {error.start + 1}); save it as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] in ("{", "["):
        # JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
        text = _SURROGATES.sub(_joined_surrogates, text)
        # JSON allows them as they are; YAML takes some for line breaks and refuses the others.
        text = _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    if (nul := text.find("\0")) >= 0:
        raise InvalidSpec(f"{source}:{text.count(chr(10), 0, nul) + 1}: contains a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSpec(f"{source}: is not valid Unicode (half of a surrogate pair)") from None
    return text


def _joined_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _nodes(text: str, source: str) -> Iterator[Node]:
    try:
        yield from yaml.compose_all(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise InvalidSpec(_syntax_sentence(error, source)) from None
    except _TooManyValuesError:
        raise InvalidSpec(f"{source}: has more than {MAX_NODES:,} values; split it into several files") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise InvalidSpec(f"{source}: is not YAML: it has a character that YAML does not allow") from None


def _syntax_sentence(error: yaml.MarkedYAMLError, source: str) -> str:
    """One sentence without any of the text itself (libyaml's are constants): it could be a password."""
    mark = error.problem_mark or error.context_mark
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark is not None else source
    problem = error.problem or "cannot be read"
    if "alias" in problem:
        problem = "a value that starts with * is an alias to an anchor that does not exist; quote it if it is text"
    elif "tab" in problem or "cannot start any token" in problem:
        problem += " (indent with blanks, and quote text that starts with @, `, % or a tab)"
    elif "mapping values are not allowed" in problem:
        problem += " (is the indentation right? quote text that has a colon and a blank)"
    return f"{place}: is not YAML: {problem}"


@dataclass(slots=True)
class _Budget:
    """How much aliases have added so far, over all documents of a text."""

    aliased: int = 0
    seen: set[int] = field(default_factory=set)
    kept: list[Node] = field(default_factory=list)
    """Seen nodes stay alive, so that no other node gets their id()."""

    def visit(self, node: Node) -> bool:
        """Whether the text may still grow by this node."""
        if id(node) in self.seen:
            self.aliased += 1 + (len(node.value) // 10 if isinstance(node, ScalarNode) else 0)
        else:
            self.seen.add(id(node))
            self.kept.append(node)
        return self.aliased <= MAX_ALIASED


@dataclass(slots=True)
class _Reader:
    """Turns the nodes of one document into plain values and notes lines."""

    source: str
    budget: _Budget
    lines: dict[Path, int] = field(default_factory=dict)
    depth: int = 0
    """Levels above the node that is read; more than its path has when merge keys lead to it."""

    def value(self, node: Node, path: Path) -> Any:
        """The node's plain value."""
        if self.depth > MAX_DEPTH:
            raise self._error(node, f"is nested more than {MAX_DEPTH} levels deep")
        self.depth += 1
        value = self._checked_value(node, path)
        self.depth -= 1
        return value

    def _checked_value(self, node: Node, path: Path) -> Any:
        if not self.budget.visit(node):
            raise self._error(node, "has aliases that expand to too many values; write them out")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            raise self._error(node, "has a tag (!); quote the value if it is text")
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.value == "<<" and key_node.tag == _TAG + "plain":
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key in own:
                first = self.lines[*path, key]
                raise self._error(key_node, f"the key {_shown(key)} stands twice (first in line {first})")
            self.lines[*path, key] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, key))
        for value_node in merged:
            own = {**self._merged(value_node, path), **own}
        return own

    def _merged(self, node: Node, path: Path) -> dict[str, Any]:
        """The fields that a merge key adds; of several sources the first one wins (yaml.org/type/merge)."""
        value = self.value(node, path)
        sources = value if isinstance(value, list) else [value]
        fields: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, dict):
                raise self._error(node, "the merge key << takes an object or a list of objects")
            fields = {**source, **fields}
        return fields

    def _key(self, node: Node) -> str:
        if isinstance(node, ScalarNode):
            self.budget.visit(node)
            key = self._scalar(node)
            if isinstance(key, str):
                return key
            raise self._error(node, f"the key {_shown(node.value)} is not text; put it in quotes")
        raise self._error(node, "a key is a list or an object; keys are text (quote text that starts with { or [)")

    def _scalar(self, node: ScalarNode) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "str":
            return text
        if tag == "plain":
            return self._plain(node, text)
        value = self._plain(node, text)
        kinds: dict[str, type | tuple[type, ...]] = {
            "int": int,
            "float": (int, float),
            "bool": bool,
            "null": type(None),
        }
        if tag in kinds and isinstance(value, kinds[tag]):
            return value
        raise self._error(node, "has a tag (!); quote the value if it is text")

    def _plain(self, node: Node, text: str) -> Any:
        if text in _NULL:
            return None
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        if text[0] not in "+-.0123456789":
            return text
        if text.lower().lstrip("+-") in (".inf", ".nan"):
            raise self._error(node, "is no number that JSON knows; quote it if it is text")
        if _INT.fullmatch(text):
            return self._integer(node, text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isinf(number):
                raise self._error(node, "is too large a number; quote it if it is text")
            return number
        return text

    def _integer(self, node: Node, text: str) -> int:
        digits = text.replace("_", "").lower()
        # 19 digits hold every 64-bit number; Python itself refuses to read more than 4,300.
        if len(digits) > 66:
            raise self._error(node, "is too large a number; quote it if it is text")
        body = digits.lstrip("+-")
        sign = -1 if digits.startswith("-") else 1
        try:
            if len(body) > 1 and body[0] == "0" and body[1] not in "xbo":
                return sign * int(body, 8)
            return sign * int(body, 0)
        except ValueError:
            raise self._error(node, "is no number; quote it if it is text") from None

    def _error(self, node: Node, sentence: str) -> InvalidSpec:
        mark = node.start_mark
        return InvalidSpec(f"{self.source}:{mark.line + 1}:{mark.column + 1}: {sentence}")


def _shown(text: str) -> str:
    return ascii(text[:40]) if not text.isprintable() else f'"{text[:40]}"'
