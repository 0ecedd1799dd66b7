"""Manifests: what is read, what is skipped, what is refused and with which line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.samples import README_MANIFESTS

from dbtether.api import yaml_text
from dbtether.api.manifests import Manifests, parse, parse_all
from dbtether.api.resource import Key
from dbtether.errors import InvalidSpec

HEAD = "apiVersion: dbtether.io/v1alpha1\nkind: Database\nmetadata:\n  name: a\n"
DATABASE = f"{HEAD}spec:\n  clusterRef:\n    name: main\n"


def refusal(text: str | bytes, source: str = "a.yaml") -> str:
    """The message of the refusal."""
    with pytest.raises(InvalidSpec) as caught:
        parse(text, source)
    return caught.value.message


def value_of(text: str) -> object:
    """The plain value of `v` in a one-field text."""
    return yaml_text.read(f"v: {text}", "a.yaml")[0].value["v"]


def test_a_document_keeps_the_spec_exactly_as_written() -> None:
    (document,) = parse(f"{DATABASE}  adopt: null\n", "a.yaml").documents
    assert document.key == Key("Database", "default", "a")
    assert document.spec == {"clusterRef": {"name": "main"}, "adopt": None}
    assert (document.labels, document.annotations, document.secret) == ({}, {}, None)


def test_every_field_knows_its_line() -> None:
    (document,) = parse(f"# comment\n---\n{DATABASE}  extensions:\n  - a\n  - b\n", "db.yaml").documents
    assert document.line == 3
    assert document.place(("spec", "clusterRef", "name")) == "db.yaml:9"
    assert document.place(("spec", "extensions", 1)) == "db.yaml:12"
    assert document.place(("spec", "clusterRef", "nothing", "here")) == "db.yaml:8"


def test_the_namespace_of_the_caller_is_for_documents_without_one() -> None:
    text = f"{DATABASE}---\n{DATABASE.replace('name: a', 'name: b' + chr(10) + '  namespace: own')}"
    assert [document.key.namespace for document in parse(text, "a", "team").documents] == ["team", "own"]


def test_other_groups_are_skipped_and_told() -> None:
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\n"
        "apiVersion: postgresql.cnpg.io/v1\nkind: Database\nmetadata: {name: other}\n---\n"
        f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n---\n{DATABASE}"
    )
    manifests = parse(text, "all.yaml")
    assert [document.key.kind for document in manifests.documents] == ["Database"]
    assert [(skipped.kind, skipped.name, skipped.place) for skipped in manifests.skipped] == [
        ("Deployment", "web", "all.yaml:1"),
        ("Database", "other", "all.yaml:5"),
        ("Namespace", "team", "all.yaml:9"),
    ]


def test_a_list_gives_its_items_with_their_lines() -> None:
    body = {"apiVersion": "v1", "kind": "List", "items": yaml_items()}
    manifests = parse(json.dumps(body, indent=1), "list.json")
    assert [str(document.key) for document in manifests.documents] == ["Database default/a", "Database default/b"]
    assert [document.line for document in manifests.documents] == [5, 17]
    assert manifests.documents[1].place(("spec", "clusterRef")) == "list.json:24"


def yaml_items() -> list[object]:
    """Two Databases as JSON values."""
    return [
        {
            "apiVersion": "dbtether.io/v1alpha1",
            "kind": "Database",
            "metadata": {"name": name},
            "spec": {"clusterRef": {"name": "main"}},
        }
        for name in ("a", "b")
    ]


def test_json_with_escapes_beyond_the_basic_plane_is_read() -> None:
    assert yaml_text.read('{"v": "\\ud83d\\udc18 \\u00e4 \\/"}', "a.json")[0].value == {"v": "🐘 ä /"}


def test_a_secret_is_decoded_and_string_data_wins() -> None:
    text = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: {a: b}}\ntype: kubernetes.io/basic-auth\n"
        "data: {username: YWRtaW4=, password: b2xk}\nstringData: {password: new}\n"
    )
    (document,) = parse(text, "s.yaml").documents
    assert document.secret is not None
    assert document.secret.data == {"username": b"admin", "password": b"new"}
    assert (document.secret.type, document.secret.labels) == ("kubernetes.io/basic-auth", {"a": "b"})
    assert "new" not in repr(document)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("off", False), ("y", True), ("True", True), ("tRue", "tRue"), ('"yes"', "yes"),
        ("~", None), ("", None), ("null", None), ('""', ""), ("010", 8), ("0o10", 8), ("0x1F", 31), ("0b11", 3),
        ("1_000", 1000), ("-5", -5), ("1.5", 1.5), ("1e3", 1000.0), ("15.4.1", "15.4.1"), ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"), ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"), ("!!str 5", "5"),
        ("!!int '5'", 5), ("08", 8.0), ("1s", "1s"), ("'5'", "5"), ("|\n  5\n", "5\n"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_kubectl_reads_them(text: str, value: object) -> None:
    assert value_of(text) == value


def test_anchors_and_merge_keys_work() -> None:
    text = "base: &b {x: 1, w: 2}\none: {<<: *b, w: 3}\ntwo: {<<: [*b, {z: 4}], x: 0}\n"
    value = yaml_text.read(text, "a.yaml")[0].value
    assert value == {"base": {"x": 1, "w": 2}, "one": {"x": 1, "w": 3}, "two": {"x": 0, "w": 2, "z": 4}}


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert refusal(f"{DATABASE}  adopt: true\n  adopt: false\n") == (
        'a.yaml:9:3: the key "adopt" stands twice (first in line 8)'
    )


def bomb(levels: int, width: int) -> str:
    """Each level holds the one before many times."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(10, 10),
        f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 50)}]",
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "---\n".join([f"{bomb(4, 20)}\n"] * 30),
    ],
    ids=["nested", "long text", "itself", "merges itself", "many documents"],
)
def test_an_alias_bomb_is_refused(text: str) -> None:
    assert "aliases that expand" in refusal(text) or "nested more than" in refusal(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 50_000, "[" * 200 + "]" * 200])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nest" in refusal(text)


def test_an_oversized_text_is_refused() -> None:
    assert refusal("#" * (5 * 1024 * 1024 + 1)) == "a.yaml: has more than 5 MiB; split it into several files"


def test_a_text_of_too_many_values_is_refused_while_it_is_read() -> None:
    text = f"[{'a,' * (yaml_text.MAX_NODES + 1)}]"
    assert refusal(text) == "a.yaml: has more than 300,000 values; split it into several files"


def test_past_a_hundred_problems_only_their_number_is_told() -> None:
    lines = refusal("---\na: 1\n" * 101).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "... and 102 more problems"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: \xff", "a.yaml: is not UTF-8 (byte 4); save it as UTF-8"),
        ("a: b\nc: \0", "a.yaml:2: contains a NUL character; remove it"),
        ("a: \ud800", "a.yaml: is not valid Unicode"),
        ("a: \x01", "a.yaml: is not YAML: it has a character that YAML does not allow"),
        ("a: [1, 2", "a.yaml:2:1: is not YAML: did not find expected ',' or ']'"),
        ("a: b: c", "a.yaml:1:5: is not YAML: mapping values are not allowed in this context (is the indentation"),
        ("a:\n\t- b", "a.yaml:2:1: is not YAML: found character that cannot start any token (indent with blanks"),
        ("password: *hunter2", "a.yaml:1:11: is not YAML: a value that starts with * is an alias"),
        ("password: !hunter2 x", "a.yaml:1:11: has a tag (!); quote the value if it is text"),
        ("password: @hunter2", "a.yaml:1:11: is not YAML: found character that cannot start any token"),
        ("a: !!binary aGk=", "a.yaml:1:4: has a tag (!)"),
        ("a: !!set {x}", "a.yaml:1:4: has a tag (!)"),
        ("a: .inf", "a.yaml:1:4: is no number that JSON knows"),
        ("a: 1e999", "a.yaml:1:4: is too large a number"),
        ("a: " + "9" * 5000, "a.yaml:1:4: is too large a number"),
        ("1: a", 'a.yaml:1:1: the key "1" is not text; put it in quotes'),
        ("on: a", 'a.yaml:1:1: the key "on" is not text; put it in quotes'),
        ("[a]: b", "a.yaml:1:1: a key is a list or an object"),
        ("{{ .Values.x }}: b", "a.yaml:1:1: a key is a list or an object"),
        ("a: {<<: 5}", "a.yaml:1:9: the merge key << takes an object"),
        ("- a", "a document must be an object with apiVersion, kind, metadata and spec (a.yaml:1)"),
        ("just text", "a document must be an object with apiVersion, kind, metadata and spec (a.yaml:1)"),
        ("kind: Database", "apiVersion: required field is missing (a.yaml:1)"),
        ("apiVersion: 1\nkind: Database", "apiVersion: is not text (a.yaml:1)"),
    ],
)
def test_bad_text_gets_one_sentence_with_its_place(text: str | bytes, sentence: str) -> None:
    message = refusal(text)
    assert message.startswith(sentence)
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (
            "apiVersion: dbtether.io/v1alpha1\nkind: Databse",
            'kind: "Databse" is not a kind of dbtether.io/v1alpha1; did you mean "Database"? (a.yaml:2)',
        ),
        (
            "apiVersion: dbtether.io/v1alpha1\nkind: Pod",
            (
                'kind: "Pod" is not a kind of dbtether.io/v1alpha1; kinds are DBCluster, Database, DatabaseUser, '
                "BackupStorage, Backup, BackupSchedule, Restore (a.yaml:2)"
            ),
        ),
        (
            "apiVersion: dbtether.io/v1\nkind: Database",
            'apiVersion: "dbtether.io/v1" is unknown; did you mean "dbtether.io/v1alpha1"? (a.yaml:1)',
        ),
        (
            "apiVersion: dbteter.io/v1alpha1\nkind: Database",
            'apiVersion: "dbteter.io/v1alpha1" is unknown; did you mean "dbtether.io/v1alpha1"? (a.yaml:1)',
        ),
        ("apiVersion: v1\nkind: Database", 'apiVersion: "v1" has no Database; write dbtether.io/v1alpha1 (a.yaml:1)'),
        ("apiVersion: v1\nkind: secret", 'kind: "secret" is not a kind; did you mean "Secret"? (a.yaml:2)'),
    ],
)
def test_a_wrong_version_or_kind_is_told_with_its_neighbour(head: str, sentence: str) -> None:
    assert refusal(f"{head}\nmetadata: {{name: a}}\nspec: {{}}\n") == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (DATABASE.replace("name: a", "name: My_App"), 'metadata.name: "My_App" is not a Kubernetes name'),
        (DATABASE.replace("name: a", "name: 5"), "metadata.name: 5 is not text; put it in quotes (Database, a.yaml:4)"),
        (DATABASE.replace("name: a", "labels: {}"), "metadata.name: required field is missing (Database, a.yaml:3)"),
        (
            DATABASE.replace("name: a", "generateName: a-"),
            "metadata.generateName: is not supported: give metadata.name",
        ),
        (
            DATABASE.replace("name: a", "name: a\n  namespace: A.b"),
            'metadata.namespace: "A.b" is not a namespace: lower-case letters',
        ),
        (
            DATABASE.replace("kind: Database", "kind: DBCluster").replace("name: a", "name: a\n  namespace: b"),
            (
                "metadata.namespace: a DBCluster is cluster-scoped and has no namespace; remove the field "
                "(DBCluster a, a.yaml:5)"
            ),
        ),
        (
            DATABASE.replace("name: a", "name: a\n  annotations:\n    dbtether.io/paused: true"),
            (
                'metadata.annotations["dbtether.io/paused"]: true is not text; put it in quotes '
                "(Database default/a, a.yaml:6)"
            ),
        ),
        (
            DATABASE.replace("name: a", "name: a\n  lables: {}"),
            'metadata.lables: unknown field; did you mean "labels"? (Database default/a, a.yaml:5)',
        ),
        (HEAD + "specs: {}", 'specs: unknown field; did you mean "spec"? (Database default/a, a.yaml:5)'),
        (HEAD, "spec: required field is missing: an object with fields (Database default/a, a.yaml:1)"),
        ("apiVersion: dbtether.io/v1alpha1\nkind: Database", "metadata: required field is missing"),
    ],
)
def test_metadata_is_checked(text: str, sentence: str) -> None:
    assert sentence in refusal(text)


@pytest.mark.parametrize(
    "body",
    ["data: {password: 'hunter2!'}", "stringData: {password: 1234567}", "data: hunter2", "stringData: [hunter2]",
     "stringData: {'bad key': hunter2}", "stringdata: {password: hunter2}", "data: {p: [hunter2]}"],
)  # fmt: skip
def test_a_bad_secret_is_refused_without_its_value(body: str) -> None:
    message = refusal(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{body}\n")
    assert "hunter2" not in message
    assert "1234567" not in message
    assert "(Secret default/s, a.yaml:4)" in message


def test_two_documents_of_one_identity_are_refused_with_both_places() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_all([("a.yaml", DATABASE), ("b.yaml", f"---\n{DATABASE}")])
    assert caught.value.message == "metadata.name: Database default/a stands twice (a.yaml:1 and b.yaml:2)"


def test_the_problems_of_all_texts_are_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_all([("a.yaml", "a: ["), ("b.yaml", HEAD), ("c.yaml", DATABASE.replace("Database", "Databas"))])
    assert [line.rpartition(" ")[2].strip("()").split(":")[0] for line in caught.value.message.splitlines()[1:]] == [
        "b.yaml",
        "c.yaml",
    ]
    assert caught.value.message.startswith("a.yaml:2:1: is not YAML")


def test_an_empty_text_has_no_documents() -> None:
    for text in ("", "---\n---\n", "# only a comment\n", "null", "\ufeff"):
        assert parse(text, "a.yaml") == Manifests()


def test_documents_are_the_same_in_any_order() -> None:
    parts = README_MANIFESTS.split("---\n")
    forward, backward = (parse("---\n".join(order), "a") for order in (parts, parts[::-1]))
    assert {document.key for document in forward.documents} == {document.key for document in backward.documents}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text("ab:-{}[]&*!|>'\"# \n<,0"), st.binary()))
def test_any_text_is_read_or_refused_with_invalid_spec(text: str | bytes) -> None:
    message = ""
    try:
        parse(text, "a.yaml")
    except InvalidSpec as error:
        message = error.message
    assert all("a.yaml" in line for line in message.splitlines())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=8), json_values, min_size=1), st.booleans())
def test_json_is_read_as_json(value: dict[str, object], ascii_only: bool) -> None:
    (tree,) = yaml_text.read(json.dumps(value, ensure_ascii=ascii_only), "a.json")
    assert tree.value == value
