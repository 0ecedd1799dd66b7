"""Every problem of a spec becomes one line for people, and no secret gets into it."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.api.samples import CASES, README_MANIFESTS, SPECS, key_of

from dbtether.api.kinds import KIND_NAMES, KINDS
from dbtether.api.manifests import parse
from dbtether.api.resource import Key
from dbtether.api.validation import check, validate, validate_documents
from dbtether.errors import InvalidSpec

CLUSTER = {"endpoint": "db.example.com", "credentialsSecretRef": {"name": "admin", "namespace": "platform"}}
DATABASE = {"clusterRef": {"name": "main"}}
USER = {"databaseRef": {"name": "db"}, "privileges": "readonly"}
SCHEDULE = {"databaseRef": {"name": "db"}, "storageRef": {"name": "s3"}, "schedule": "@daily"}
RESTORE = {"source": {"backupRef": {"name": "b"}}, "target": {"databaseRef": {"name": "db"}}}

HOSTILE = (
    "it's",
    'say "hi"',
    "a; DROP DATABASE x; --",
    "two\nlines",
    "carriage\rreturn",
    "tab\there",
    "nul\0here",
    "emoji 🐘",
    "\u202edesrever",
    "\x1b[31mred",
    "\ud800",
    "x" * 5000,
    "ä" * 40,
    "..",
    "../../etc/passwd",
    "",
    " ",
    "$(id)",
    "{{ .Evil }}",
    "%s%n",
    "*",
)


def problems_of(kind: str, spec: dict[str, Any]) -> list[str]:
    """`path: sentence` of each problem."""
    _, problems = check(KINDS[kind].spec, key_of(kind), spec)
    return [problem.line(key_of(kind)).rpartition(" (")[0] for problem in problems]


def spots(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Each value of a spec with its path."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from spots(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from spots(item, (*path, index))


def put(spec: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A copy of the spec with another value at the path."""
    changed: Any = copy.deepcopy(spec)
    target = changed
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return dict(changed)


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value at a path."""
    for step in path:
        value = value[step]
    return value


SPOTS = [
    pytest.param(kind, spec, path, value, id=f"{kind}-{index}-{'.'.join(map(str, path))}")
    for kind, index, spec in CASES
    for path, value in spots(spec)
    if path
]


@pytest.mark.parametrize(("kind", "index", "spec"), CASES)
def test_a_spec_with_every_field_is_accepted_and_dumped_as_written(kind: str, index: int, spec: dict[str, Any]) -> None:
    dumped = validate(KINDS[kind].spec, key_of(kind), spec).dump()
    for path, value in spots(spec):
        if not isinstance(value, dict | list):
            assert at(dumped, path) == value


def test_the_samples_hold_every_field_of_every_kind() -> None:
    for kind in KIND_NAMES:
        written = {path[-1] for spec in SPECS[kind] for path, _ in spots(spec) if path}
        assert not set(all_aliases(KINDS[kind].spec)) - written


def all_aliases(model: type[BaseModel]) -> Iterator[str]:
    """Every field name in the schema of a model and its parts."""
    schema = model.model_json_schema(by_alias=True)
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {})


def test_every_field_has_a_description() -> None:
    for kind in KIND_NAMES:
        for model in (KINDS[kind].spec, KINDS[kind].status):
            schema = model.model_json_schema(by_alias=True)
            for name, part in (("itself", schema), *schema.get("$defs", {}).items()):
                for field, about in part.get("properties", {}).items():
                    assert about.get("description", "").endswith("."), f"{kind} {name}.{field}"


@pytest.mark.parametrize(("kind", "spec", "path", "value"), SPOTS)
def test_hostile_text_in_any_field_is_refused_in_one_line_or_kept_unharmed(
    kind: str, spec: dict[str, Any], path: tuple[str | int, ...], value: Any
) -> None:
    for hostile in HOSTILE:
        changed = put(spec, path, hostile)
        found, problems = check(KINDS[kind].spec, key_of(kind), changed)
        if not problems:
            assert found is not None
            assert isinstance(value, str)
            assert at(found.dump(), path) == hostile
            assert "\0" not in hostile
        for problem in problems:
            line = problem.line(key_of(kind))
            assert line.isprintable(), line
            assert len(line) < 900
            assert "Input should" not in line
            assert "[type=" not in line


@pytest.mark.parametrize(("kind", "spec", "path", "value"), SPOTS)
@pytest.mark.parametrize("wrong", [True, 7, 7.5, "7", [], {}, [None]], ids=str)
def test_a_value_of_another_type_is_refused_in_our_own_words(
    kind: str, spec: dict[str, Any], path: tuple[str | int, ...], value: Any, wrong: Any
) -> None:
    if type(wrong) is type(value):
        return
    _, problems = check(KINDS[kind].spec, key_of(kind), put(spec, path, wrong))
    for problem in problems:
        assert "Input should" not in problem.sentence
        assert problem.sentence[:1].strip()


@pytest.mark.parametrize(("kind", "spec", "path", "value"), SPOTS)
def test_null_counts_as_left_out(kind: str, spec: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    if any(isinstance(step, int) for step in path[-1:]):
        return
    without = put(spec, path, None)
    removed = copy.deepcopy(without)
    parent = at(removed, path[:-1])
    del parent[path[-1]]
    model = KINDS[kind].spec
    assert check(model, key_of(kind), without) == check(model, key_of(kind), removed)


SENTENCES = [
    ("DBCluster", {**CLUSTER, "port": 70000}, "spec.port: 70000 is not between 1 and 65535"),
    ("DBCluster", {**CLUSTER, "port": 0}, "spec.port: 0 is not between 1 and 65535"),
    ("DBCluster", {**CLUSTER, "port": "5432"}, 'spec.port: "5432" is text; write the number without quotes'),
    ("DBCluster", {**CLUSTER, "port": True}, "spec.port: true is not a whole number"),
    ("DBCluster", {**CLUSTER, "port": 5432.5}, "spec.port: 5432.5 is not a whole number"),
    (
        "DBCluster",
        {**CLUSTER, "endpoint": "db.example.com:5432"},
        'spec.endpoint: "db.example.com:5432" has a port; give the host alone and the port in spec.port',
    ),
    (
        "DBCluster",
        {**CLUSTER, "endpoint": "postgres://admin:hunter2@db/x"},
        (
            "spec.endpoint: the value (not shown) is a connection string; give the host alone, the port in "
            "spec.port and the login in credentialsSecretRef"
        ),
    ),
    (
        "DBCluster",
        {**CLUSTER, "endpoint": "host=db password=hunter2"},
        (
            "spec.endpoint: the value (not shown) is a connection string; give the host alone, the port in "
            "spec.port and the login in credentialsSecretRef"
        ),
    ),
    (
        "DBCluster",
        {"endpoint": "db"},
        "spec: exactly one of credentialsSecretRef, credentialsFromEnv must be set; none is set",
    ),
    (
        "DBCluster",
        {**CLUSTER, "credentialsFromEnv": {"username": "A", "password": "B"}},
        (
            "spec: exactly one of credentialsSecretRef, credentialsFromEnv must be set; credentialsSecretRef and "
            "credentialsFromEnv are set"
        ),
    ),
    (
        "DBCluster",
        {"endpoint": "db", "credentialsFromEnv": {"username": "A", "password": "hunter-2"}},
        (
            "spec.credentialsFromEnv.password: the value (not shown) is not the name of an environment variable "
            "(give the name, not the value)"
        ),
    ),
    (
        "DBCluster",
        {**CLUSTER, "checkInterval": "7d"},
        'spec.checkInterval: "7d" is not a duration such as 30s, 24h or 1h30m; write days as hours',
    ),
    ("DBCluster", {**CLUSTER, "checkInterval": "1s"}, 'spec.checkInterval: "1s" is not between 5s and 24h'),
    (
        "DBCluster",
        {**CLUSTER, "adoptable": [{"database": "a", "role": "b", "namespace": "c"}]},
        "spec.adoptable[0]: exactly one of database, role must be set; database and role are set",
    ),
    (
        "DBCluster",
        {**CLUSTER, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.namespaceSelector.matchExpressions[0]: operator In needs values",
    ),
    (
        "DBCluster",
        {**CLUSTER, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.namespaceSelector.matchExpressions[0]: operator Exists takes no values; remove them",
    ),
    ("Database", {}, "spec.clusterRef: required field is missing: the DBCluster that holds the database"),
    ("Database", {"clusterRef": {}}, "spec.clusterRef.name: required field is missing: name of the DBCluster"),
    ("Database", {**DATABASE, "extension": []}, 'spec.extension: unknown field; did you mean "extensions"?'),
    ("Database", {**DATABASE, "database_name": "x"}, 'spec.database_name: unknown field; did you mean "databaseName"?'),
    (
        "Database",
        {**DATABASE, "databaseName": "My-App"},
        (
            'spec.databaseName: "My-App" is not a database name: lower-case letters, digits and _, starting with a '
            "letter or _"
        ),
    ),
    (
        "Database",
        {**DATABASE, "databaseName": "a" * 64},
        f'spec.databaseName: "{"a" * 60}"... has 64 bytes; PostgreSQL\'s names have at most 63',
    ),
    (
        "Database",
        {**DATABASE, "databaseName": "template1"},
        'spec.databaseName: "template1" belongs to PostgreSQL or to a cloud provider; choose another database name',
    ),
    (
        "Database",
        {**DATABASE, "owner": "ä" * 32},
        f'spec.owner: "{"ä" * 32}" has 64 bytes; PostgreSQL\'s names have at most 63',
    ),
    ("Database", {**DATABASE, "extensions": ["a", "a"]}, "spec.extensions: lists a twice"),
    (
        "Database",
        {**DATABASE, "extensionOptions": {"a": {}}},
        "spec: extensionOptions names 'a', which is not in extensions",
    ),
    (
        "Database",
        {**DATABASE, "extensions": ["a"], "extensionOptions": {"a": {"verson": "1"}}},
        'spec.extensionOptions.a.verson: unknown field; did you mean "version"?',
    ),
    (
        "Database",
        {**DATABASE, "settings": {"role": "postgres"}},
        (
            "spec.settings.role: this setting is not allowed here; allowed are settings such as statement_timeout and "
            "work_mem; the documentation lists them all"
        ),
    ),
    (
        "Database",
        {**DATABASE, "settings": {"jit": True}},
        (
            "spec.settings.jit: true is a boolean; put it in quotes if text is meant (yes, no, on and off are booleans "
            "too)"
        ),
    ),
    (
        "Database",
        {**DATABASE, "localeProvider": "libc", "icuLocale": "de"},
        "spec: icuLocale needs localeProvider: icu",
    ),
    (
        "Database",
        {**DATABASE, "localeProvider": "icu"},
        "spec: localeProvider icu needs icuLocale, such as de-DE, or und for no language",
    ),
    (
        "DatabaseUser",
        {**USER, "privileges": "superuser"},
        'spec.privileges: "superuser" is not one of readonly, readwrite, admin',
    ),
    (
        "DatabaseUser",
        {**USER, "privileges": "ReadOnly"},
        'spec.privileges: "ReadOnly" is not one of readonly, readwrite, admin; did you mean "readonly"?',
    ),
    (
        "DatabaseUser",
        {"databaseRef": {"name": "db"}},
        "spec: databaseRef needs privileges: say readonly, readwrite or admin",
    ),
    ("DatabaseUser", {**USER, "password": {"length": 11}}, "spec.password.length: 11 is not between 12 and 64"),
    (
        "DatabaseUser",
        {**USER, "password": "hunter2"},
        "spec.password: the value (not shown) is not an object with fields",
    ),
    (
        "DatabaseUser",
        {**USER, "secret": {"template": "custom"}},
        "spec.secret: template custom needs keys: the names for host, port, database, user and password",
    ),
    (
        "DatabaseUser",
        {**USER, "additionalGrants": [{"tables": ["*", "a"], "privileges": ["select"]}]},
        "spec.additionalGrants[0].tables: has * beside other names; * alone means all tables, future ones too",
    ),
    (
        "DatabaseUser",
        {**USER, "additionalGrants": [{"tables": ["a"], "privileges": ["SELECT ALL"]}]},
        (
            'spec.additionalGrants[0].privileges[0]: "SELECT ALL" is not one of SELECT, INSERT, UPDATE, DELETE, '
            "TRUNCATE, REFERENCES, TRIGGER, MAINTAIN"
        ),
    ),
    (
        "DatabaseUser",
        {"databases": [{"name": "a"}, {"name": "a", "namespace": "team-a"}]},
        "spec.databases[1]: lists team-a/a twice",
    ),
    (
        "DatabaseUser",
        {**USER, "username": "pg_monitor"},
        (
            'spec.username: "pg_monitor" belongs to PostgreSQL, to a cloud provider or to dbtether; choose another '
            "user name"
        ),
    ),
    (
        "BackupStorage",
        {},
        "spec: exactly one of s3, gcs, azure, local must be set; none is set",
    ),
    (
        "BackupSchedule",
        {**SCHEDULE, "schedule": "0 0 0 2 * *"},
        'spec.schedule: "0 0 0 2 * *" has 6 fields; a schedule has five: minute hour day month weekday',
    ),
    (
        "BackupSchedule",
        {**SCHEDULE, "timeZone": "Mars/Olympus"},
        'spec.timeZone: "Mars/Olympus" is not a known IANA time zone such as UTC or Europe/Berlin',
    ),
    (
        "Restore",
        {**RESTORE, "source": {"path": "a/b.sql"}},
        "spec.source: path needs storageRef: the BackupStorage that holds the object",
    ),
    (
        "Restore",
        {**RESTORE, "source": {"path": "a/../b.sql", "storageRef": {"name": "s"}}},
        'spec.source.path: "a/../b.sql" has `.` or `..`; give the object\'s own key',
    ),
]


@pytest.mark.parametrize(("kind", "spec", "sentence"), SENTENCES, ids=[row[2][:60] for row in SENTENCES])
def test_the_sentence_names_field_value_and_what_is_allowed(kind: str, spec: dict[str, Any], sentence: str) -> None:
    assert sentence in problems_of(kind, spec)


def test_all_problems_of_a_spec_are_told_at_once() -> None:
    spec = {
        "endpoint": "a b",
        "port": 0,
        "maxConections": 3,
        "tls": {"mode": "off"},
        "settings": {},
        "adoptable": [{"namespace": "A"}],
    }
    paths = [line.split(": ")[0] for line in problems_of("DBCluster", spec)]
    assert paths == [
        "spec",
        "spec.endpoint",
        "spec.port",
        "spec.tls.mode",
        "spec.adoptable[0]",
        "spec.adoptable[0].namespace",
        "spec.maxConections",
        "spec.settings",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("Database", "postgres", "metadata.name: as the database's name, 'postgres' belongs to PostgreSQL"),
        ("Database", "1app", "metadata.name: as the database's name, '1app' is not a database name"),
        ("Database", "my.app", "metadata.name: as the database's name, 'my.app' is not a database name"),
        ("Database", "a" * 64, f"metadata.name: as the database's name, '{'a' * 64}' has 64 bytes"),
        ("DatabaseUser", "postgres", "metadata.name: as the login's name, 'postgres' belongs to PostgreSQL"),
        ("DatabaseUser", "rdsadmin", "metadata.name: as the login's name, 'rdsadmin' belongs to PostgreSQL"),
    ],
)
def test_a_metadata_name_that_gives_no_postgresql_name_is_refused(kind: str, name: str, sentence: str) -> None:
    _, problems = check(KINDS[kind].spec, Key(kind, "default", name), DATABASE if kind == "Database" else USER)
    assert [problem.line(Key(kind, "default", "x"))[: len(sentence)] for problem in problems] == [sentence]


@pytest.mark.parametrize(("length", "problems"), [(63, 0), (64, 1)])
def test_a_schedule_s_name_fits_the_label_of_its_backups(length: int, problems: int) -> None:
    _, found = check(KINDS["BackupSchedule"].spec, Key("BackupSchedule", "default", "x" * length), SCHEDULE)
    told = [problem.line(Key("BackupSchedule", "default", "x")) for problem in found]
    sentence = "metadata.name: has 64 characters, and the label of its Backups carries 63 at most"
    assert told == [f"{sentence} (BackupSchedule default/x)"] * problems


def test_a_problem_names_the_resource_and_the_line_of_its_own_field() -> None:
    text = README_MANIFESTS.replace("port: 5432", "port: 70000")
    with pytest.raises(InvalidSpec) as caught:
        validate_documents(parse(text, "manifests/db.yaml").documents)
    assert caught.value.message == (
        "spec.port: 70000 is not between 1 and 65535 (DBCluster my-aurora-cluster, manifests/db.yaml:17)"
    )


def test_the_readme_manifests_are_valid() -> None:
    manifests = parse(README_MANIFESTS, "README.md")
    validate_documents(manifests.documents)
    assert [str(document.key) for document in manifests.documents] == [
        "Secret postgres-operator-system/aurora-admin-credentials",
        "DBCluster my-aurora-cluster",
        "Database default/my-app-db",
        "DatabaseUser default/my-app-readonly",
    ]


SECRET_SPOTS = [
    ("DBCluster", {**CLUSTER, "password": "hunter2"}),
    ("DBCluster", {**CLUSTER, "credentialsSecretRef": "hunter2"}),
    ("DBCluster", {**CLUSTER, "credentialsSecretRef": {"name": "Hunter2 hunter2", "namespace": "a"}}),
    ("DBCluster", {"endpoint": "x", "credentialsFromEnv": {"username": "U", "password": "hunter2!"}}),
    ("DBCluster", {"endpoint": "x", "credentialsFromEnv": "hunter2"}),
    ("DBCluster", {**CLUSTER, "endpoint": "postgresql://a:hunter2@b"}),
    ("DBCluster", {**CLUSTER, "endpoint": "host=a user=b password = hunter2"}),
    ("DatabaseUser", {**USER, "password": "hunter2"}),
    ("DatabaseUser", {**USER, "password": ["hunter2"]}),
    ("DatabaseUser", {**USER, "password": {"length": "hunter2"}}),
    ("DatabaseUser", {**USER, "password": {"value": "hunter2"}}),
    ("DatabaseUser", {**USER, "passwordSecretRef": "hunter2"}),
    ("DatabaseUser", {**USER, "passwordSecretRef": {"name": "hunter2 !"}}),
    ("DatabaseUser", {**USER, "secret": "hunter2"}),
    ("BackupStorage", {"s3": {"bucket": "abc", "region": "r", "endpoint": "https://k:hunter2@s3"}}),
    ("BackupStorage", {"s3": {"bucket": "abc", "region": "r", "secretAccessKey": "hunter2"}}),
]


@pytest.mark.parametrize(("kind", "spec"), SECRET_SPOTS, ids=lambda value: json.dumps(value)[:60])
def test_no_secret_gets_into_a_problem(kind: str, spec: dict[str, Any]) -> None:
    lines = problems_of(kind, spec)
    assert lines
    assert "hunter2" not in "\n".join(lines).lower()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_any_json_value_anywhere_gives_a_model_or_printable_lines(
    case: tuple[str, int, dict[str, Any]], data: st.DataObject
) -> None:
    kind, _, spec = case
    path = data.draw(st.sampled_from([path for path, _ in spots(spec) if path]))
    changed = put(spec, path, data.draw(json_values))
    found, problems = check(KINDS[kind].spec, key_of(kind), changed)
    assert (found is None) <= bool(problems)
    assert all(problem.line(key_of(kind)).isprintable() for problem in problems)
