"""The CRDs on a real API server: what they take, what they refuse and with which words, and what kubectl shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.samples import CASES, README_MANIFESTS
from tests.api.test_identity import ALLOWED, REFUSED
from tests.api.test_validation import SENTENCES
from tests.kube.control_plane import Answer
from tests.kube.fixtures import CRDS
from tests.kube.kube import Kube

from dbtether.api.kinds import API_VERSION, GROUP, KINDS, VERSION
from dbtether.api.resource import Key
from dbtether.api.validation import check
from dbtether.crds import crds

REPOSITORY = Path(__file__).parents[2]
CHART_CRDS = REPOSITORY / "charts" / "dbtether" / "files" / "crds"
_MAX_ANNOTATION = 262_144


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """The path of a kind's resources, or of one of them."""
    scope = f"/namespaces/{namespace}" if KINDS[kind].namespaced else ""
    return f"/apis/{GROUP}/{VERSION}{scope}/{KINDS[kind].plural}" + (f"/{name}" if name else "")


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A resource as it is sent."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("folder", "files"), [(CRDS, crds()), (CHART_CRDS, crds(kept_by_helm=True))], ids=["config", "chart"]
)
def test_the_committed_files_are_what_the_models_give(folder: Path, files: dict[str, str]) -> None:
    assert {file.name: file.read_text() for file in folder.iterdir()} == files, "run `make crds`"


def test_each_file_is_small_enough_for_kubectl_apply() -> None:
    sizes = {file.name: len(json.dumps(yaml.safe_load(file.read_text()))) for file in CRDS.iterdir()}
    assert len(sizes) == 7
    assert max(sizes.values()) < _MAX_ANNOTATION / 2


def test_the_api_server_takes_them_without_a_warning(crd_kube: Kube) -> None:
    for text in crds().values():
        definition = yaml.safe_load(text)
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        created = crd_kube.request("GET", f"{path}/{definition['metadata']['name']}").body
        conditions = {entry["type"]: entry["status"] for entry in created["status"]["conditions"]}
        assert conditions["Established"] == "True"
        # Structural, with no rule too costly: else this condition would be there and true.
        assert conditions.get("NonStructuralSchema", "False") == "False"
        definition["metadata"]["name"] = definition["metadata"]["name"].replace("dbtether.io", "warned.io")
        definition["spec"]["group"] = "warned.io"
        assert (crd_kube.request("POST", f"{path}?dryRun=All", definition)).warnings == ()


def test_kubectl_takes_the_readmes_manifests(crd_kube: Kube) -> None:
    documents = [yaml.safe_load(text) for text in README_MANIFESTS.split("\n---\n")]
    ours = [document for document in documents if document["apiVersion"] == API_VERSION]
    said = crd_kube.kubectl(
        "apply", "--dry-run=server", "-f", "-", stdin="---\n".join(yaml.safe_dump(document) for document in ours)
    )
    assert len(said.stdout.splitlines()) == len(ours)
    assert said.stderr == ""


@pytest.mark.parametrize(("kind", "index", "spec"), CASES, ids=[f"{kind}-{index}" for kind, index, _ in CASES])
def test_a_spec_with_every_field_is_taken_and_kept(
    crd_kube: Kube, namespace: str, kind: str, index: int, spec: dict[str, Any]
) -> None:
    body = resource(kind, "sample", spec)
    answer = crd_kube.request("POST", f"{path_of(kind, namespace)}?dryRun=All&fieldValidation=Strict", body)
    assert (answer.status, answer.warnings) == (201, ()), answer.body
    assert _without(answer.body["spec"], spec) == spec
    # What was filled in is what the models fill in.
    key = _key(kind, namespace)
    assert check(KINDS[kind].spec, key, answer.body["spec"]) == check(KINDS[kind].spec, key, spec)


NOT_TOLD_BY_THE_SCHEMA = (
    # A schema's rule does not see the resource's own namespace.
    "spec.databases[1]: lists team-a/a twice",
    'spec.databaseRef: "team-a/db" cannot become "b/db"',
    'spec.timeZone: "Mars/Olympus" is not a known IANA time zone such as UTC or Europe/Berlin',
)
"""What the admission policy, the webhook and the controllers tell."""


TOLD = [row for row in SENTENCES if row[2] not in NOT_TOLD_BY_THE_SCHEMA]
TOLD_OF_CHANGES = [row for row in REFUSED if row[3] not in NOT_TOLD_BY_THE_SCHEMA]


@pytest.mark.parametrize(("kind", "spec", "sentence"), TOLD, ids=[row[2][:60] for row in TOLD])
def test_what_the_cli_refuses_the_api_server_refuses_for_the_same_field(
    crd_kube: Kube, namespace: str, kind: str, spec: dict[str, Any], sentence: str
) -> None:
    body = resource(kind, "sample", spec)
    answer = crd_kube.request("POST", f"{path_of(kind, namespace)}?dryRun=All&fieldValidation=Strict", body)
    assert answer.status in (400, 422), answer.body
    field = sentence.partition(":")[0]
    assert field in answer.body["message"] or field.rpartition(".")[0] in answer.body["message"]
    assert "hunter" not in answer.body["message"]


@pytest.mark.parametrize(
    ("kind", "spec", "sentence"),
    [row for row in SENTENCES if any(words in row[2] for words in ("connection string", "exactly one", "belongs to"))],
)
def test_a_rule_says_what_the_cli_says(
    crd_kube: Kube, namespace: str, kind: str, spec: dict[str, Any], sentence: str
) -> None:
    answer = crd_kube.request("POST", f"{path_of(kind, namespace)}?dryRun=All", resource(kind, "sample", spec))
    words = re.sub(r'^[^:]*: ("[^"]*" |the value \(not shown\) )?', "", sentence).partition("; ")[0]
    assert words in answer.body["message"]


@pytest.mark.parametrize(("title", "kind", "old", "new"), ALLOWED, ids=[row[0] for row in ALLOWED])
def test_what_keeps_the_identity_may_bechanged(
    crd_kube: Kube, namespace: str, title: str, kind: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    answer = changed(crd_kube, namespace, kind, old, new)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("kind", "old", "new", "sentence"), TOLD_OF_CHANGES, ids=[row[3][:50] for row in TOLD_OF_CHANGES]
)
def test_a_change_of_identity_is_refused(
    crd_kube: Kube, namespace: str, kind: str, old: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    answer = changed(crd_kube, namespace, kind, old, new)
    assert answer.status == 422, answer.body
    assert "create another" in answer.body["message"]


def changed(kube: Kube, namespace: str, kind: str, old: dict[str, Any], new: dict[str, Any]) -> Answer:
    """The answer to a change of one spec into another, of a resource named as the pure tests' one."""
    # They live in team-a; here, each test has a namespace of its own.
    before, after = (json.loads(json.dumps(spec).replace("team-a", namespace)) for spec in (old, new))
    if kind == "BackupSchedule":
        before, after = {"schedule": "@daily", **before}, {"schedule": "@daily", **after}
    name = "my-app" if KINDS[kind].namespaced else f"my-app-{namespace}"
    created = kube.request("POST", path_of(kind, namespace), resource(kind, name, before))
    assert created.status == 201, created.body
    try:
        return kube.request("PUT", path_of(kind, namespace, name), {**created.body, "spec": after})
    finally:
        kube.request("DELETE", path_of(kind, namespace, name))


@pytest.mark.parametrize(
    ("kind", "name", "spec"),
    [
        ("Database", "1app", {"clusterRef": {"name": "main"}}),
        ("Database", "a.b", {"clusterRef": {"name": "main"}}),
        ("Database", "postgres", {"clusterRef": {"name": "main"}}),
        ("DatabaseUser", "postgres", {"database": {"name": "a"}}),
        ("DatabaseUser", "a" * 64, {"database": {"name": "a"}}),
    ],
)
def test_a_metadata_name_that_gives_no_postgresql_name_is_refused(
    crd_kube: Kube, namespace: str, kind: str, name: str, spec: dict[str, Any]
) -> None:
    answer = crd_kube.request("POST", f"{path_of(kind, namespace)}?dryRun=All", resource(kind, name, spec))
    assert answer.status == 422
    assert "metadata.name gives no name" in answer.body["message"]


@pytest.mark.parametrize(("length", "status"), [(63, 201), (64, 422)])
def test_a_schedule_s_name_fits_the_label_of_its_backups(
    crd_kube: Kube, namespace: str, length: int, status: int
) -> None:
    spec = {"databaseRef": {"name": "db"}, "storageRef": {"name": "s3"}, "schedule": "@daily"}
    body = resource("BackupSchedule", "x" * length, spec)
    path = f"{path_of('BackupSchedule', namespace)}?dryRun=All"
    assert crd_kube.request("POST", path, body).status == status


def test_nothing_that_depends_on_a_name_or_on_state_is_filled_in(crd_kube: Kube, namespace: str) -> None:
    specs: dict[str, dict[str, Any]] = {
        "DBCluster": {"endpoint": "db", "credentialsSecretRef": {"name": "a", "namespace": "b"}},
        "Database": {"clusterRef": {"name": "main"}},
        "DatabaseUser": {"databaseRef": {"name": "db"}, "privileges": "readonly"},
    }
    filled = {
        kind: sorted(
            crd_kube.request("POST", f"{path_of(kind, namespace)}?dryRun=All", resource(kind, "x", spec))
            .body["spec"]
            .keys()
            - spec.keys()
        )
        for kind, spec in specs.items()
    }
    assert filled == {
        "DBCluster": ["checkInterval", "database", "maxConnections", "port"],
        "Database": [
            *("adopt", "connectionLimit", "deletionPolicy", "deletionProtection"),
            *("driftPolicy", "dropExtensions", "template"),
        ],
        "DatabaseUser": ["adopt", "connectionLimit", "deletionPolicy", "secretGeneration"],
    }


def test_kubectl_explains_a_field(crd_kube: Kube) -> None:
    said = crd_kube.kubectl("explain", "databaseuser.spec.rotation").stdout
    assert "When and how the password is replaced; never when left out." in " ".join(said.split())
    assert "Age of the password, in days, at which it is replaced." in " ".join(said.split())
    assert "enum: InPlace, Overlap" in said


def test_kubectl_lists_all_kinds_at_once_and_knows_the_short_names(crd_kube: Kube, namespace: str) -> None:
    names = crd_kube.kubectl("api-resources", "--categories=dbtether", "-o", "name").stdout.split()
    assert sorted(names) == sorted(f"{kind.plural}.{GROUP}" for kind in KINDS.values())
    crd_kube.apply(yaml.safe_dump(resource("Database", "app", {"clusterRef": {"name": "main"}})), "-n", namespace)
    assert "database.dbtether.io/app" in crd_kube.kubectl("get", "dbtether", "-n", namespace, "-o", "name").stdout
    for kind in KINDS.values():
        crd_kube.kubectl("get", kind.short_name, "-n", namespace)


def test_kubectl_prints_the_readmes_columns(crd_kube: Kube, namespace: str) -> None:
    user = resource("DatabaseUser", "my-app-readonly", {"databaseRef": {"name": "my-app-db"}, "privileges": "readonly"})
    crd_kube.apply(yaml.safe_dump(user), "-n", namespace)
    status = {
        "databasesSummary": "my-app-db",
        "username": "my-app-readonly",
        "privilegesSummary": "readonly",
        "phase": "Ready",
    }
    answer = crd_kube.request(
        "PATCH",
        f"{path_of('DatabaseUser', namespace, 'my-app-readonly')}/status",
        {"status": status},
        content_type="application/merge-patch+json",
    )
    assert answer.status == 200, answer.body
    header, row = crd_kube.kubectl("get", "databaseusers", "-n", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "DATABASE", "USERNAME", "PRIVILEGES", "PHASE", "AGE"]
    assert row.split()[:5] == ["my-app-readonly", "my-app-db", "my-app-readonly", "readonly", "Ready"]


def test_two_owners_of_a_list_do_not_take_each_others_entries_away(crd_kube: Kube, namespace: str) -> None:
    for owner, schema in (("one", "sales"), ("two", "stock")):
        part = resource("Database", "app", {"clusterRef": {"name": "main"}, "schemas": [{"name": schema}]})
        crd_kube.apply(yaml.safe_dump(part), "-n", namespace, "--server-side", f"--field-manager={owner}")
    kept = crd_kube.kubectl("get", "db", "app", "-n", namespace, "-o", "jsonpath={.spec.schemas[*].name}").stdout
    assert kept.split() == ["sales", "stock"]


def _without(filled: Any, written: Any) -> Any:
    """The filled-in value, cut down to the fields that were written."""
    if isinstance(written, dict):
        return {name: _without(filled[name], value) for name, value in written.items()}
    return filled


def _key(kind: str, namespace: str) -> Key:
    return Key(kind, namespace if KINDS[kind].namespaced else "", "sample")
