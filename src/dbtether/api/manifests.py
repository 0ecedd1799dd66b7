"""Manifests: the documents of YAML and JSON texts, with the line of every field. Pure; reads no file.

Documents of other API groups are skipped and told; the specs are checked by `validation`.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from typing import Any

from dbtether.api import yaml_text
from dbtether.api.field_paths import Path, path_text, shown
from dbtether.api.identifiers import label_problem, name_problem
from dbtether.api.kinds import API_VERSION, GROUP, KIND_NAMES, KINDS, nearest_kind
from dbtether.api.resource import Key, Secret
from dbtether.errors import InvalidSpec

DEFAULT_NAMESPACE = "default"
MAX_PROBLEMS = 100
MAX_SECRET_BYTES = 1024 * 1024
"""Kubernetes' limit of a Secret."""
MAX_METADATA_BYTES = 256 * 1024
"""Kubernetes' limit of all annotations together."""

_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_METADATA_FIELDS = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
)
_DOCUMENT_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_SECRET_FIELDS = ("apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable")


@dataclass(frozen=True, slots=True)
class Document:
    """One resource as written: `spec` holds plain JSON values without defaults; a Secret has `secret` instead."""

    key: Key
    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source: str
    tree: yaml_text.Tree = field(repr=False, compare=False)
    secret: Secret | None = None

    @property
    def line(self) -> int:
        """The first line of the document."""
        return self.tree.line_of(())

    def place(self, path: Path = ()) -> str:
        """`file:line` of a field, or of its nearest parent that is written."""
        return f"{self.source}:{self.tree.line_of(path)}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document of another API group, which is left to others."""

    kind: str
    name: str
    place: str


@dataclass(frozen=True, slots=True)
class Manifests:
    """What some texts hold: the documents in their order, and those that were skipped."""

    documents: tuple[Document, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def parse(text: str | bytes, source: str, namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """The documents of one text; `namespace` is for those that give none.

    Raises InvalidSpec with a line for each problem.
    """
    return parse_all([(source, text)], namespace)


def parse_all(texts: Iterable[tuple[str, str | bytes]], namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """The documents of several texts, each with its source's name.

    Raises InvalidSpec with a line for each problem, two documents of one identity included.
    """
    documents: list[Document] = []
    skipped: list[Skipped] = []
    problems: list[str] = []
    for source, text in texts:
        try:
            trees = [item for tree in yaml_text.read(text, source) for item in _items(tree, source)]
        except InvalidSpec as error:
            problems.append(error.message)
            continue
        for tree in trees:
            reader = _Document(tree, source, namespace)
            found = reader.read()
            if isinstance(found, Skipped):
                skipped.append(found)
            elif found is not None:
                documents.append(found)
            problems.extend(reader.problems)
    problems.extend(_twice(documents))
    if problems:
        raise InvalidSpec(joined(problems))
    return Manifests(tuple(documents), tuple(skipped))


def joined(problems: Sequence[str]) -> str:
    """The problems as one text, a line each; past the first hundred only their number."""
    rest = len(problems) - MAX_PROBLEMS
    more = [f"... and {rest} more problems"] if rest > 0 else []
    return "\n".join([*problems[:MAX_PROBLEMS], *more])


def _items(tree: yaml_text.Tree, source: str) -> list[yaml_text.Tree]:
    """The document itself, or the items of a `kind: List`."""
    if not isinstance(tree.value, dict) or tree.value.get("kind") != "List" or tree.value.get("apiVersion") != "v1":
        return [tree]
    items = tree.value.get("items")
    if not isinstance(items, list):
        raise InvalidSpec(f"items: a List needs a list of items ({source}:{tree.line_of(())})")
    parts: list[dict[Path, int]] = [{} for _ in items]
    for path, line in tree.lines.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            parts[path[1]][path[2:]] = line
    return [yaml_text.Tree(item, lines) for item, lines in zip(items, parts, strict=True)]


def _twice(documents: Iterable[Document]) -> list[str]:
    first: dict[Key, Document] = {}
    problems: list[str] = []
    for document in documents:
        known = first.setdefault(document.key, document)
        if known is not document:
            problems.append(f"metadata.name: {document.key} stands twice ({known.place()} and {document.place()})")
    return problems


@dataclass(slots=True)
class _Document:
    """Reads one document and gathers its problems."""

    tree: yaml_text.Tree
    source: str
    namespace: str
    problems: list[str] = field(default_factory=list)
    subject: str = ""

    def problem(self, path: Path, sentence: str) -> None:
        """Note a problem of a field."""
        subject = f"{self.subject}, " if self.subject else ""
        field_ = f"{path_text(path)}: " if path else ""
        self.problems.append(f"{field_}{sentence} ({subject}{self.source}:{self.tree.line_of(path)})")

    def read(self) -> Document | Skipped | None:
        """The document; None when it has problems or is none of ours."""
        if not isinstance(self.tree.value, dict):
            self.problem((), "a document must be an object with apiVersion, kind, metadata and spec")
            return None
        body: dict[str, Any] = self.tree.value
        api_version, kind = self._text(body, "apiVersion"), self._text(body, "kind")
        if api_version is None or kind is None:
            return None
        if not self._is_ours(api_version, kind):
            return None if self.problems else self._skipped(body, kind)
        metadata = body.get("metadata")
        if not isinstance(metadata, dict):
            self.subject = kind
            self.problem(("metadata",), "required field is missing: an object with name")
            return None
        return self._resource(body, kind, metadata)

    def _text(self, body: Mapping[str, Any], name: str) -> str | None:
        value = body.get(name)
        if isinstance(value, str) and value:
            return value
        self.problem((name,), "required field is missing" if value in (None, "") else "is not text")
        return None

    def _is_ours(self, api_version: str, kind: str) -> bool:
        group, _, _ = api_version.partition("/")
        if api_version == "v1":
            if kind in KIND_NAMES:
                self.problem(("apiVersion",), f'"v1" has no {kind}; write {API_VERSION}')
            elif kind != "Secret" and kind.lower() in ("secret", "secrets"):
                self.problem(("kind",), f'{shown((), kind)} is not a kind; did you mean "Secret"?')
            return kind == "Secret"
        if api_version == API_VERSION:
            if kind not in KIND_NAMES:
                near = nearest_kind(kind)
                hint = f'did you mean "{near}"?' if near else f"kinds are {', '.join(KIND_NAMES)}"
                self.problem(("kind",), f"{shown((), kind)} is not a kind of {API_VERSION}; {hint}")
            return kind in KIND_NAMES
        misspelt = SequenceMatcher(None, group[:64].lower(), GROUP).ratio() > 0.8
        if group == GROUP or misspelt or (group in KIND_NAMES):
            self.problem(("apiVersion",), f'{shown((), api_version)} is unknown; did you mean "{API_VERSION}"?')
        return False

    def _skipped(self, body: Mapping[str, Any], kind: str) -> Skipped:
        metadata = body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return Skipped(kind, name if isinstance(name, str) else "", f"{self.source}:{self.tree.line_of(())}")

    def _resource(self, body: dict[str, Any], kind: str, metadata: dict[str, Any]) -> Document | None:
        name, namespace = self._identity(kind, metadata)
        key = Key(kind, namespace, name)
        self._unknown(body, (), _SECRET_FIELDS if kind == "Secret" else _DOCUMENT_FIELDS)
        self._unknown(metadata, ("metadata",), _METADATA_FIELDS)
        labels = self._texts(metadata, "labels")
        annotations = self._texts(metadata, "annotations")
        spec: dict[str, Any] = {}
        secret = None
        if kind == "Secret":
            secret = self._secret(body, namespace, name, labels, annotations)
        elif isinstance(body.get("spec"), dict):
            spec = body["spec"]
        else:
            self.problem(("spec",), "required field is missing: an object with fields")
        if self.problems:
            return None
        return Document(key, spec, labels, annotations, self.source, self.tree, secret)

    def _identity(self, kind: str, metadata: Mapping[str, Any]) -> tuple[str, str]:
        """Name and namespace; what is wrong with them is noted."""
        name, namespace = metadata.get("name"), metadata.get("namespace")
        namespaced = kind == "Secret" or KINDS[kind].namespaced
        shown_name = name if isinstance(name, str) and name_problem(name) is None else ""
        where = namespace if isinstance(namespace, str) and label_problem(namespace) is None else self.namespace
        self.subject = str(Key(kind, where if namespaced else "", shown_name)) if shown_name else kind
        if "generateName" in metadata:
            self.problem(
                ("metadata", "generateName"), "is not supported: give metadata.name, so that runs are repeatable"
            )
        if not isinstance(name, str):
            missing = name is None
            sentence = "required field is missing" if missing else f"{shown((), name)} is not text; put it in quotes"
            self.problem(("metadata", "name"), sentence)
        elif (problem := name_problem(name)) is not None:
            self.problem(("metadata", "name"), f"{shown((), name)} {problem}")
        if namespace is not None:
            self._check_namespace(kind, namespace, namespaced)
        return shown_name, where if namespaced else ""

    def _check_namespace(self, kind: str, namespace: Any, namespaced: bool) -> None:
        path: Path = ("metadata", "namespace")
        if not namespaced:
            self.problem(path, f"a {kind} is cluster-scoped and has no namespace; remove the field")
        elif not isinstance(namespace, str):
            self.problem(path, f"{shown((), namespace)} is not text; put it in quotes")
        elif (problem := label_problem(namespace)) is not None:
            self.problem(path, f"{shown((), namespace)} {problem}")

    def _unknown(self, fields: Mapping[str, Any], path: Path, known: tuple[str, ...]) -> None:
        for name in fields:
            if name not in known and name != "generateName":
                near = get_close_matches(name[:64], known, 1)
                hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known[:5])}"
                self.problem((*path, name), f"unknown field; {hint}")

    def _texts(self, metadata: Mapping[str, Any], name: str) -> dict[str, str]:
        """labels or annotations."""
        values = metadata.get(name)
        path: Path = ("metadata", name)
        if values is None:
            return {}
        if not isinstance(values, dict):
            self.problem(path, "is not an object with fields")
            return {}
        for key, value in values.items():
            if not isinstance(value, str):
                self.problem((*path, key), f"{shown((*path, key), value)} is not text; put it in quotes")
        texts = {key: value for key, value in values.items() if isinstance(value, str)}
        if sum(len(key) + len(value.encode()) for key, value in texts.items()) > MAX_METADATA_BYTES:
            self.problem(path, f"has more than {MAX_METADATA_BYTES // 1024} KiB")
        return texts

    def _secret(
        self,
        body: Mapping[str, Any],
        namespace: str,
        name: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
    ) -> Secret:
        """The Secret; no sentence about it holds a value."""
        data: dict[str, bytes] = {}
        for part in ("data", "stringData"):
            values = body.get(part)
            if values is None:
                continue
            if not isinstance(values, dict):
                self.problem((part,), "is not an object with fields")
                continue
            for key, value in values.items():
                data[key] = self._secret_value(part, key, value)
        if sum(map(len, data.values())) > MAX_SECRET_BYTES:
            self.problem(("data",), "has more than 1 MiB, the most that a Secret holds")
        type_ = body.get("type") or "Opaque"
        if not isinstance(type_, str):
            self.problem(("type",), "is not text; put it in quotes")
        return Secret(namespace, name, data, str(type_), labels, annotations)

    def _secret_value(self, part: str, key: str, value: Any) -> bytes:
        path: Path = (part, key)
        if _SECRET_KEY.fullmatch(key) is None:
            self.problem(path, "is not a Secret's key: letters, digits and - _ .")
        if value is None:
            return b""
        if not isinstance(value, str):
            self.problem(path, "the value (not shown) is not text; put it in quotes")
            return b""
        if part == "stringData":
            return value.encode()
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            self.problem(path, "the value (not shown) is not base64; put plain text under stringData")
            return b""
