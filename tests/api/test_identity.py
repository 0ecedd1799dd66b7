"""Identity fields, derived defaults, targets, consent: the pure rules on specs."""

from typing import Any

import pytest

from dbtether.api.backupstorage import BackupStorageSpec
from dbtether.api.database import DatabaseSpec, database_name
from dbtether.api.databaseuser import (
    DatabaseUserSpec,
    Target,
    databases_summary,
    older_username,
    privileges_summary,
    secret_names,
    username,
)
from dbtether.api.dbcluster import DBClusterSpec, TlsMode
from dbtether.api.immutable import immutability_errors
from dbtether.api.references import LabelSelector, Privileges
from dbtether.api.resource import Key

CLUSTER: dict[str, Any] = {"endpoint": "db", "credentialsSecretRef": {"name": "a", "namespace": "b"}}
DATABASE: dict[str, Any] = {"clusterRef": {"name": "main"}}
USER: dict[str, Any] = {"databaseRef": {"name": "db"}, "privileges": "readonly"}
BACKUP: dict[str, Any] = {"databaseRef": {"name": "db"}, "storageRef": {"name": "s3"}}
RESTORE: dict[str, Any] = {"source": {"backupRef": {"name": "b"}}, "target": {"databaseRef": {"name": "db"}}}


def user(**fields: Any) -> DatabaseUserSpec:
    """A user's spec from its camelCase fields."""
    return DatabaseUserSpec.model_validate(fields)


ALLOWED = [
    ("the default database name may be written down", "Database", DATABASE, {**DATABASE, "databaseName": "my_app"}),
    ("the default user name may be written down", "DatabaseUser", USER, {**USER, "username": "my-app"}),
    (
        "the own namespace may be written down",
        "DatabaseUser",
        USER,
        {**USER, "databaseRef": {"name": "db", "namespace": "team-a"}},
    ),
    ("other fields may change", "Database", DATABASE, {**DATABASE, "connectionLimit": 5}),
    ("the admin's Secret may change", "DBCluster", CLUSTER, {**CLUSTER, "endpoint": "db2"}),
    ("a user may get more databases", "DatabaseUser", USER, {"databases": [{"name": "db"}, {"name": "b"}]}),
    ("a form may change", "DatabaseUser", USER, {"database": {"name": "db", "privileges": "admin"}}),
    (
        "a list may shrink",
        "DatabaseUser",
        {"databases": [{"name": "a"}, {"name": "b"}]},
        {"database": {"name": "b"}},
    ),
    ("a backup's time to live may change", "Backup", BACKUP, {**BACKUP, "ttlAfterCompletion": "2h"}),
    ("a restore may be cancelled", "Restore", RESTORE, {**RESTORE, "cancel": True}),
    (
        "a restore's defaults may be written down",
        "Restore",
        RESTORE,
        {
            "source": {"backupRef": {"name": "b", "namespace": "team-a"}},
            "target": {"databaseRef": {"name": "db"}},
            "onConflict": "fail",
            "ttlAfterCompletion": "1h",
            "keepReplacedFor": "24h",
        },
    ),
]


@pytest.mark.parametrize(("kind", "old", "new"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_what_keeps_the_identity_is_allowed(kind: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert immutability_errors(Key(kind, "team-a", "my-app"), old, new) == ()


REFUSED = [
    ("Database", DATABASE, {"clusterRef": {"name": "b"}}, 'spec.clusterRef.name: "main" cannot become "b"'),
    ("Database", DATABASE, {**DATABASE, "databaseName": "b"}, 'spec.databaseName: "my_app" cannot become "b"'),
    ("Database", {**DATABASE, "databaseName": "b"}, DATABASE, 'spec.databaseName: "b" cannot become "my_app"'),
    ("DatabaseUser", USER, {**USER, "username": "b"}, 'spec.username: "my-app" cannot become "b"'),
    (
        "DatabaseUser",
        USER,
        {**USER, "databaseRef": {"name": "b"}},
        "spec.databaseRef: team-a/db cannot be exchanged for team-a/b",
    ),
    (
        "DatabaseUser",
        USER,
        {"databases": [{"name": "b"}]},
        "spec.databases: team-a/db cannot be exchanged for team-a/b",
    ),
    (
        "Backup",
        BACKUP,
        {**BACKUP, "databaseRef": {"name": "db", "namespace": "b"}},
        'spec.databaseRef: "team-a/db" cannot become "b/db"',
    ),
    ("BackupSchedule", BACKUP, {**BACKUP, "storageRef": {"name": "b"}}, 'spec.storageRef.name: "s3" cannot become "b"'),
    ("Restore", RESTORE, {**RESTORE, "onConflict": "drop"}, "spec.onConflict: cannot be changed"),
    ("Restore", RESTORE, {**RESTORE, "source": {"backupRef": {"name": "c"}}}, "spec.source: cannot be changed"),
]


@pytest.mark.parametrize(("kind", "old", "new", "sentence"), REFUSED, ids=[row[3][:50] for row in REFUSED])
def test_a_change_of_identity_is_refused(kind: str, old: dict[str, Any], new: dict[str, Any], sentence: str) -> None:
    (error,) = immutability_errors(Key(kind, "team-a", "my-app"), old, new)
    assert error.startswith(sentence)
    assert error.endswith(f"({kind} team-a/my-app)")


def test_names_are_derived_and_never_written() -> None:
    spec = DatabaseSpec.model_validate(DATABASE)
    assert database_name(spec, "my-app-db") == "my_app_db"
    assert "databaseName" not in spec.dump()
    login = user(**USER)
    assert username(login, "my-app-readonly") == "my-app-readonly"
    assert older_username(login, "my-app-readonly") == "my_app_readonly"


@pytest.mark.parametrize(
    ("fields", "targets"),
    [
        (USER, [("own", "db", "readonly")]),
        ({"database": {"name": "a"}}, [("own", "a", "readonly")]),
        ({"database": {"name": "a", "privileges": "admin"}, "privileges": "readwrite"}, [("own", "a", "admin")]),
        (
            {
                "databases": [{"name": "b", "namespace": "x"}, {"name": "a", "privileges": "admin"}],
                "privileges": "readwrite",
            },
            [("x", "b", "readwrite"), ("own", "a", "admin")],
        ),
    ],
)
def test_the_three_forms_give_the_same_targets(fields: dict[str, Any], targets: list[tuple[str, str, str]]) -> None:
    assert user(**fields).targets("own") == tuple(Target(ns, name, Privileges(level)) for ns, name, level in targets)


def test_secret_names_follow_the_generation() -> None:
    both = {"databases": [{"name": "a"}, {"name": "b", "namespace": "x"}]}
    assert set(secret_names(user(**both), "own", "u").values()) == {"u-credentials"}
    named = user(**both, secret={"name": "mine"})
    assert set(secret_names(named, "own", "u").values()) == {"mine"}
    per_database = user(**both, secretGeneration="perDatabase")
    assert secret_names(per_database, "own", "u") == {
        ("own", "a"): "u-a-credentials",
        ("x", "b"): "u-b-credentials",
    }


def test_summaries_fill_the_columns() -> None:
    assert [databases_summary(names) for names in ((), ("a",), ("a", "b", "c"))] == ["", "a", "a (+2)"]
    one, two = Target("n", "a", Privileges.ADMIN), Target("n", "b", Privileges.READONLY)
    assert [privileges_summary(targets) for targets in ((), (one,), (one, two))] == ["", "admin", "mixed"]


def test_a_database_is_closed_to_other_namespaces_until_it_allows_them() -> None:
    closed = DatabaseSpec.model_validate(DATABASE)
    assert closed.allows("own", "own")
    assert not closed.allows("own", "other")
    opened = DatabaseSpec.model_validate({**DATABASE, "allowedNamespaces": ["b"]})
    assert [opened.allows("own", namespace) for namespace in ("own", "b", "c")] == [True, True, False]
    assert DatabaseSpec.model_validate({**DATABASE, "allowedNamespaces": ["*"]}).allows("own", "c")


def cluster(**fields: Any) -> DBClusterSpec:
    """A cluster's spec with further camelCase fields."""
    return DBClusterSpec.model_validate({**CLUSTER, **fields})


def test_a_cluster_is_open_until_it_names_who_may_use_it() -> None:
    assert cluster().allows("any", {})
    assert not cluster(allowedNamespaces=[]).allows("any", {})
    selected = cluster(allowedNamespaces=["a"], namespaceSelector={"matchLabels": {"team": "b"}})
    assert [selected.allows(*row) for row in (("a", {}), ("x", {"team": "b"}), ("x", {"team": "c"}))] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("operator", "values", "labels", "matches"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", [], {"k": ""}, True),
        ("DoesNotExist", [], {"k": ""}, False),
    ],
)
def test_a_selector_matches_as_kubernetes_does(
    operator: str, values: list[str], labels: dict[str, str], matches: bool
) -> None:
    expression = {"key": "k", "operator": operator, "values": values}
    assert LabelSelector.model_validate({"matchExpressions": [expression]}).matches(labels) is matches


def test_the_limit_of_privileges_is_the_lowest_entry_that_names_the_namespace() -> None:
    limited = cluster(
        maxPrivileges=[
            {"namespaces": ["*"], "privileges": "readonly"},
            {"namespaces": ["a"], "privileges": "admin"},
            {"namespaces": ["a", "b"], "privileges": "readwrite"},
        ]
    )
    limits = [limited.privileges_limit(namespace) for namespace in ("a", "b", "c")]
    assert limits == [Privileges.READWRITE, Privileges.READWRITE, Privileges.READONLY]
    assert cluster().privileges_limit("a") is None


def test_adoption_needs_the_exact_object_and_namespace() -> None:
    spec = cluster(adoptable=[{"database": "old", "namespace": "a"}])
    assert spec.may_adopt("a", database="old")
    assert not spec.may_adopt("b", database="old")
    assert not spec.may_adopt("a", role="old")


@pytest.mark.parametrize(
    ("tls", "mode"),
    [
        ({}, TlsMode.REQUIRE),
        ({"caSecretRef": {"name": "ca", "namespace": "p"}}, TlsMode.VERIFY_FULL),
        ({"mode": "disable"}, TlsMode.DISABLE),
        ({"mode": "verify-ca", "caSecretRef": {"name": "ca", "namespace": "p"}}, TlsMode.VERIFY_CA),
    ],
)
def test_the_tls_mode_in_force_depends_on_the_ca(tls: dict[str, Any], mode: TlsMode) -> None:
    assert cluster(tls=tls).tls.effective_mode is mode


def test_an_import_prefix_opens_whole_segments_only() -> None:
    spec = BackupStorageSpec.model_validate(
        {"local": {"path": "x"}, "importPrefixes": [{"prefix": "old", "namespaces": ["a"]}]}
    )
    assert spec.may_import("a", "old/1.sql")
    assert not spec.may_import("a", "older/1.sql")
    assert not spec.may_import("b", "old/1.sql")
    assert spec.provider == "local"
