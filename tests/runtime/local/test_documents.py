"""Resources and Secrets as YAML: what is written is read back, by us and by others."""

import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.runtime.local.documents import (
    MalformedDocument,
    read_resource,
    read_secret,
    resource_text,
    secret_text,
)

KEY = Key("Database", "default", "my-app")
SECRET_KEY = Key("Secret", "default", "creds")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
resources = st.builds(
    Resource,
    key=st.sampled_from([KEY, Key("DBCluster", "", "main")]),
    uid=texts,
    generation=st.integers(1, 1000),
    resource_version=st.integers(1, 10**9).map(str),
    created=times,
    spec=st.dictionaries(texts, values, max_size=4),
    status=st.dictionaries(texts, values, max_size=4),
    labels=st.dictionaries(texts, texts, max_size=3),
    annotations=st.dictionaries(texts, texts, max_size=3),
    finalizers=st.lists(texts, max_size=2).map(tuple),
    deleted=st.none() | times,
)


@given(resources)
def test_every_resource_is_read_back_as_it_was_written(resource: Resource) -> None:
    assert read_resource(resource.key, resource_text(resource)) == resource


@given(
    st.builds(
        Secret,
        namespace=st.just("default"),
        name=st.just("creds"),
        data=st.dictionaries(texts, st.binary(max_size=50), max_size=4),
        type=texts,
        labels=st.dictionaries(texts, texts, max_size=2),
        annotations=st.dictionaries(texts, texts, max_size=2),
        owner=st.none() | st.builds(Owner, texts, texts, texts),
        uid=texts,
        resource_version=st.integers(1, 10**9).map(str),
    )
)
def test_every_secret_is_read_back_as_it_was_written(secret: Secret) -> None:
    assert read_secret(SECRET_KEY, secret_text(secret)) == secret


def _resource(**fields: Any) -> Resource:
    return Resource(KEY, "uid-1", 1, "7", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), **fields)


def test_a_resource_is_a_kubernetes_document() -> None:
    resource = _resource(spec={"clusterRef": {"name": "main"}}, finalizers=("dbtether.io/finalizer",))
    assert yaml.safe_load(resource_text(resource)) == {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "Database",
        "metadata": {
            "name": "my-app",
            "namespace": "default",
            "uid": "uid-1",
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": "2025-01-02T03:04:05Z",
            "finalizers": ["dbtether.io/finalizer"],
        },
        "spec": {"clusterRef": {"name": "main"}},
    }


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "12e45678",
        "y",
        "N",
        "0o17",
        "2025-01-01",
        "yes",
        "null",
        "1:30",
        "~",
        ".inf",
        "<<",
        "=",
        "a: b",
        "a #b",
        "- a",
        "*a",
        "&a",
        "!a",
        " a",
        "a ",
        "%a",
        "@a",
        "",
        "[]",
    ],
)
def test_a_string_that_other_readers_would_misread_is_quoted(text: str) -> None:
    assert f'value: "{text}"' in resource_text(_resource(spec={"value": text}))


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared = ["a"]
    assert "&" not in resource_text(_resource(spec={"one": shared, "two": shared}))


def test_an_unquoted_date_is_the_string_that_kubernetes_reads() -> None:
    text = resource_text(_resource(spec={"day": "x"})).replace("day: x", "day: 2025-01-01")
    assert read_resource(KEY, text).spec == {"day": "2025-01-01"}


def test_a_secret_written_by_hand_is_understood() -> None:
    text = """
apiVersion: v1
kind: Secret
metadata: {name: creds, namespace: default}
stringData: {password: typed}
data: {username: cG9zdGdyZXM=}
"""
    found = read_secret(SECRET_KEY, text)
    assert found.data == {"username": b"postgres", "password": b"typed"}
    assert found.resource_version == "1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 100,
        "[1, 2]",
        "a: [",
        "a: \x01",
        "apiVersion: v2\nkind: Secret",
        "{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: default}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: creds, namespace: default}, data: {a: '!hunter2'}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: creds, namespace: default}, data: [hunter2]}",
        "{apiVersion: v1, kind: Secret, metadata: [hunter2]}",
        "hunter2: [hunter2\n hunter2: : hunter2",
        "!!python/object/apply:os.system ['hunter2']",
        "2025-99-99: hunter2",
        "[" * 5000,
    ],
)
def test_a_malformed_secret_is_told_without_its_content(text: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        read_secret(SECRET_KEY, text)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    assert "\n" not in str(refused.value), "PyYAML's own message may quote the line"


@pytest.mark.parametrize("field", ["uid", "generation", "resourceVersion", "creationTimestamp"])
def test_a_resource_without_what_we_always_write_is_malformed(field: str) -> None:
    lines = resource_text(_resource(spec={})).splitlines()
    with pytest.raises(MalformedDocument, match=field):
        read_resource(KEY, "\n".join(line for line in lines if field not in line))


def test_a_key_that_no_reader_would_find_the_end_of_cannot_be_written() -> None:
    assert read_resource(KEY, resource_text(_resource(spec={"k" * 900: 1}))).spec == {"k" * 900: 1}
    with pytest.raises(MalformedDocument, match="too long"):
        resource_text(_resource(spec={"k" * 1001: 1}))


def test_people_can_read_what_they_wrote_in_their_own_script() -> None:
    text = resource_text(_resource(spec={"team": "платформа 🐘", "note": "one\ntwo\x7f\u2028"}))
    assert "платформа 🐘" in text
    assert read_resource(KEY, text).spec["note"] == "one\ntwo\x7f\u2028"


def test_half_of_a_surrogate_pair_cannot_be_written() -> None:
    with pytest.raises(MalformedDocument, match="surrogate"):
        resource_text(_resource(spec={"a": "\ud800"}))
