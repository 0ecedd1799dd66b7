"""The CRDs' rules and the models say the same of a value: what one takes, so does the other."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.api import test_templates as templates
from tests.api import test_values as values
from tests.api.test_validation import CLUSTER, DATABASE, HOSTILE, RESTORE, SCHEDULE, USER
from tests.kube.kube import Kube
from tests.kube.test_crds import path_of, resource

from dbtether.api.kinds import KINDS
from dbtether.api.resource import Key
from dbtether.api.validation import check

S3 = {"bucket": "my-backups", "region": "eu-west-1"}
BACKUP = {"databaseRef": {"name": "db"}, "storageRef": {"name": "s3"}}


def _texts(*tests: Callable[..., Any]) -> list[str]:
    """The texts that other tests are given."""
    rows = [row for test in tests for mark in getattr(test, "pytestmark", ()) for row in mark.args[1]]
    return [row if isinstance(row, str) else row[0] for row in rows]


DURATIONS = _texts(values.test_a_duration_has_seconds_and_stays_as_written, values.test_other_texts_are_no_durations)
SCHEDULES = _texts(values.test_a_schedule_is_taken, values.test_a_schedule_is_refused_with_the_field_that_is_wrong)
HOSTS = _texts(values.test_an_endpoint_is_a_host, values.test_anything_else_is_no_endpoint_and_the_sentence_says_why)
URLS = _texts(values.test_a_url_of_a_store_is_taken, values.test_another_url_is_refused)
TEMPLATES = _texts(
    templates.test_fields_are_replaced_with_or_without_blanks, templates.test_a_template_is_checked_when_it_is_read
)
NAMES = [
    *("a", "A", "_a", "1a", "a-b", "a.b", "a@b", "a$b", "é", "a" * 63, "a" * 64, "ä" * 31, "ä" * 32, "pg_x", "rds_x"),
    *("postgres", "Postgres", "template0", "azure_x", "public", "none", "dbtether_x", "information_schema", "a b"),
]

FIELDS: list[tuple[str, str, Callable[[str], dict[str, Any]], Iterable[str]]] = [
    ("an endpoint", "DBCluster", lambda text: {**CLUSTER, "endpoint": text}, HOSTS),
    ("a check interval", "DBCluster", lambda text: {**CLUSTER, "checkInterval": text}, [*DURATIONS, "4s", "24h1s"]),
    ("a maintenance database", "DBCluster", lambda text: {**CLUSTER, "database": text}, NAMES),
    ("a variable", "DBCluster",
     lambda text: {"endpoint": "d", "credentialsFromEnv": {"username": text, "password": "P"}},
     ["A", "_a1", "1A", "A-B", "$A"]),
    ("a Secret's name", "DBCluster",
     lambda text: {"endpoint": "d", "credentialsSecretRef": {"name": text, "namespace": "n"}}, [*NAMES, "a.b-c.1"]),
    ("a namespace", "DBCluster", lambda text: {**CLUSTER, "allowedNamespaces": [text]}, [*NAMES, "*", "a-", "**"]),
    ("a label", "DBCluster", lambda text: {**CLUSTER, "namespaceSelector": {"matchLabels": {text: "v"}}},
     ["a", "example.com/a", "/a", "a/", "a b", "a" * 63, "a" * 64, "-a"]),
    ("a label's value", "DBCluster", lambda text: {**CLUSTER, "namespaceSelector": {"matchLabels": {"a": text}}},
     ["", "a", "A.b_c-1", "-a", "a" * 63, "a" * 64]),
    ("a database's name", "Database", lambda text: {**DATABASE, "databaseName": text}, NAMES),
    ("an extension", "Database", lambda text: {**DATABASE, "extensions": [text]}, [*NAMES, "uuid-ossp"]),
    ("an extension's options", "Database",
     lambda text: {**DATABASE, "extensions": ["uuid-ossp"], "extensionOptions": {text: {}}}, ["uuid-ossp", "other"]),
    ("a schema", "Database", lambda text: {**DATABASE, "schemas": [{"name": text}]}, NAMES),
    ("an owner", "Database", lambda text: {**DATABASE, "owner": text}, NAMES),
    ("a setting", "Database", lambda text: {**DATABASE, "settings": {text: "1"}},
     ["work_mem", "role", "Work_Mem", "default_transaction_read_only"]),
    ("a user's setting", "DatabaseUser", lambda text: {**USER, "settings": {text: "on"}},
     ["default_transaction_read_only", "session_authorization"]),
    ("a user's name", "DatabaseUser", lambda text: {**USER, "username": text}, NAMES),
    ("an end", "DatabaseUser", lambda text: {**USER, "validUntil": text},
     [*_texts(values.test_an_instant_needs_a_zone_and_a_day_that_exists), "2030-01-31T12:00:00+01:00"]),
    ("a table", "DatabaseUser",
     lambda text: {**USER, "additionalGrants": [{"tables": [text, "t"], "privileges": ["SELECT"]}]},
     [*NAMES, "*", "t"]),
    ("a key", "DatabaseUser",
     lambda text: {**USER, "secret": {"template": "custom", "keys": {
         "host": text, "port": "p", "database": "d", "user": "u", "password": "w"}}},
     ["h", "p", "uri", "ca.crt", "a/b", "A_b.c-d"]),
    ("a store's URL", "BackupStorage", lambda text: {"s3": {**S3, "endpoint": text}}, URLS),
    ("a bucket", "BackupStorage", lambda text: {"s3": {**S3, "bucket": text}},
     ["abc", "ab", "-abc", "a.b-c", "a" * 64]),
    ("a container", "BackupStorage", lambda text: {"azure": {"container": text, "storageAccount": "abc"}},
     ["abc", "$root", "a--b", "Abc"]),
    ("a path's template", "BackupStorage", lambda text: {"s3": S3, "pathTemplate": text}, TEMPLATES),
    ("a folder", "BackupStorage", lambda text: {"local": {"path": text}},
     ["a", "/a/b", "a/../b", "a..b", "a\\b", ".."]),
    ("an import's prefix", "BackupStorage",
     lambda text: {"s3": S3, "importPrefixes": [{"prefix": text, "namespaces": ["a"]}]},
     ["a", "a/b/", "/a", "a//b", "./a", "a/..", "a\\b"]),
    ("a file's name", "Backup", lambda text: {**BACKUP, "filenameTemplate": text},
     [*(f"{text}.sql" for text in TEMPLATES), "a", ".sql", "a/.sql", "a.dump", "a.sql.zst", "a.sql.bz2"]),
    ("a time to live", "Backup", lambda text: {**BACKUP, "ttlAfterCompletion": text}, [*DURATIONS, "8760h1s"]),
    ("a schedule", "BackupSchedule", lambda text: {**SCHEDULE, "schedule": text}, SCHEDULES),
    ("a restore's path", "Restore",
     lambda text: {**RESTORE, "source": {"path": text, "storageRef": {"name": "s"}}},
     ["a/b.sql", "s3://bucket/a.sql", "a/../b", "a/", "a\\b", "./a", "a..b"]),
]  # fmt: skip

TOLD_BY_THE_MODELS_ALONE = {
    # CEL has no way to know the days of a month, nor what a cron field may hold.
    "an end": {"2030-02-30T12:00:00Z"},
    "a schedule": {text for text in SCHEDULES if len(text.split()) == 5},
}
"""Texts that the API server takes and the webhook and the controllers refuse."""


@pytest.mark.parametrize(("title", "kind", "spec", "texts"), FIELDS, ids=[row[0] for row in FIELDS])
def test_the_api_server_and_the_models_agree(
    crd_kube: Kube, namespace: str, title: str, kind: str, spec: Callable[[str], dict[str, Any]], texts: Iterable[str]
) -> None:
    key = Key(kind, namespace if KINDS[kind].namespaced else "", "sample")
    # Half of a surrogate pair cannot be sent: it becomes another character on the way.
    sendable = [text for text in (*texts, *HOSTILE) if "\ud800" not in text]
    path = f"{path_of(kind, namespace)}?dryRun=All&fieldValidation=Strict"
    taken = {
        text: crd_kube.request("POST", path, resource(kind, "sample", spec(text))).status == 201 for text in sendable
    }
    wished = {text: check(KINDS[kind].spec, key, spec(text))[1] == () for text in sendable}
    alone = TOLD_BY_THE_MODELS_ALONE.get(title, set())
    assert {text for text in sendable if wished[text] and not taken[text]} == set(), "refused by the API server alone"
    assert {text for text in sendable if taken[text] and not wished[text]} <= alone, "refused by the models alone"
