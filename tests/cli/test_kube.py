"""`--kube` reads a live cluster: what it shows, what it plans, and that it changes nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cli.program import Program, assert_one_sentence
from tests.cli.test_kube_world import OWN, Live, live_cluster, reader_account
from tests.kube.kube import Kube
from tests.servers.fixtures import Admin

pytestmark = pytest.mark.majors(18)


_DEPLOYMENT = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: dbtether-of-test, namespace: {OWN}, labels: {{app.kubernetes.io/name: dbtether}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: x}}}}
  template:
    metadata: {{labels: {{app: x}}}}
    spec: {{containers: [{{name: operator, image: x, args: [operator, --leader-elect, --installation=moved-in]}}]}}
"""


@pytest.fixture
def live(crd_kube: Kube, admin: Admin, unique: str, tmp_path: Path) -> Iterator[Live]:
    """Give a cluster whose operator has made a database and a user, and has ended."""
    with live_cluster(crd_kube, admin, unique, tmp_path) as made:
        yield made


def test_get_describe_and_status_show_what_kubectl_shows(live: Live, program: Program) -> None:
    at = ("--kube", "--kubeconfig", str(live.kube.kubeconfig))
    listed = program.run("get", "dbu", "-n", live.team, *at)
    assert listed.code == 0, listed.err
    kubectl = live.kube.kubectl("get", "databaseusers", "-n", live.team).stdout
    without_age = [line.split()[:-1] for line in listed.out.splitlines()]
    assert without_age == [line.split()[:-1] for line in kubectl.splitlines()]

    described = program.run("describe", "dbu", live.user, "-n", live.team, *at)
    assert described.code == 0, described.err
    assert "Ready" in described.out
    assert "Events:" in described.out
    missing = program.run("describe", "dbu", "nobody", "-n", live.team, *at)
    assert (missing.code, missing.err) == (1, f"error: DatabaseUser {live.team}/nobody does not exist\n")

    status = program.run("status", *at)
    assert live.user in status.out
    assert live.unique in status.out
    migrated = program.run("migrate", *at, "-o", "json")
    assert migrated.code == 0, migrated.err
    assert not [one for one in migrated.json["items"] if live.unique in one["name"]]
    assert live.password not in "".join(program.said)


def test_describe_shows_the_events_of_the_cluster(live: Live, program: Program) -> None:
    at = ("--kube", "--kubeconfig", str(live.kube.kubeconfig))
    user = program.run("get", "dbu", live.user, "-n", live.team, "-o", "json", *at).json
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{live.user}.1", "namespace": live.team},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "dbtether.io/operator",
        "reportingInstance": "test",
        "action": "Reconcile",
        "type": "Warning",
        "reason": "SomethingHappened",
        "note": "as it does",
        "regarding": {
            "apiVersion": "dbtether.io/v1alpha1",
            "kind": "DatabaseUser",
            "name": live.user,
            "namespace": live.team,
            "uid": user["metadata"]["uid"],
        },
        "series": {"count": 7, "lastObservedTime": "2026-01-02T03:04:06.000000Z"},
    }
    live.kube.apply(json.dumps(event))
    described = program.run("describe", "dbu", live.user, "-n", live.team, "-o", "json", *at)
    assert described.code == 0, described.err
    assert {
        "type": "Warning",
        "reason": "SomethingHappened",
        "message": "as it does",
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:06Z",
        "count": 7,
    } in described.json["events"]


def test_plan_finds_nothing_to_do_then_the_drift_and_changes_nothing(live: Live, program: Program) -> None:
    at = ("--kube", "--kubeconfig", str(live.kube.kubeconfig))
    settled = program.run("plan", *at)
    assert (settled.code, settled.err) == (0, ""), settled.out + settled.err
    with live.admin.server.connect() as connection:
        connection.execute(f'ALTER ROLE "{live.user}" CONNECTION LIMIT 3')
    before = live.versions()
    drifted = program.run("plan", "-o", "json", *at)
    assert drifted.code == 2, drifted.err
    statements = drifted.json["statements"]
    assert [(one["kind"], one["name"]) for one in statements] == [("DatabaseUser", live.user)]
    assert "CONNECTION LIMIT" in statements[0]["sql"]
    assert live.versions() == before
    with live.admin.server.connect() as connection:
        row = connection.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", (live.user,)).fetchone()
    assert row == (3,)


def test_plan_with_manifests_shows_what_applying_them_would_do(live: Live, program: Program) -> None:
    at = ("--kube", "--kubeconfig", str(live.kube.kubeconfig))
    (program.folder / "same.yaml").write_text(live.manifests)
    same = program.run("plan", "-f", "same.yaml", *at)
    assert same.code == 0, same.out + same.err
    more = {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "DatabaseUser",
        "metadata": {"name": f"{live.unique}-writer", "namespace": live.team},
        "spec": {"databaseRef": {"name": "my-app-db"}, "privileges": "readwrite"},
    }
    (program.folder / "more.yaml").write_text(yaml.safe_dump(more))
    planned = program.run("plan", "-f", "more.yaml", *at)
    assert planned.code == 2, planned.err
    assert f"+ DatabaseUser {live.team}/{live.unique}-writer  new" in planned.out
    assert live.kube.kubectl("get", "dbu", f"{live.unique}-writer", "-n", live.team, check=False).returncode != 0


def test_what_rbac_keeps_back_is_one_sentence(live: Live, program: Program) -> None:
    person = f"person-{live.unique}"
    kubeconfig = str(live.kube.user_kubeconfig(person))
    at = ("--kube", "--kubeconfig", kubeconfig)
    nothing = program.run("get", "db", "-n", live.team, *at)
    assert nothing.code == 5
    assert nothing.err == f"error: RBAC does not let you list databases.dbtether.io in namespace {live.team}\n"

    live.kube.apply(reader_account(person))
    seen = program.run("get", "db", "-n", live.team, *at)
    assert seen.code == 0, seen.err
    planned = program.run("plan", *at)
    assert planned.code == 1, planned.out + planned.err
    place = f"{live.team}/{live.user}-credentials"
    assert (
        f"RBAC does not let you get these Secrets, so the plan leaves out what depends on them: {place}" in planned.err
    )
    assert f"RBAC does not let you get Secret {place}" in planned.out


def test_a_plan_is_made_with_the_options_of_the_running_operator(live: Live, program: Program) -> None:
    at = ("--kube", "--kubeconfig", str(live.kube.kubeconfig))
    wrong = program.run("plan", *at, "--installation", "another")
    assert wrong.code == 1, wrong.out
    assert "compared as installation another; if the operator has another one" in wrong.err
    live.kube.apply(_DEPLOYMENT)
    try:
        found = program.run("plan", *at)
        assert found.code == 1, found.out
        assert "compared as installation moved-in; if the operator has another one" in found.err
        narrow = _DEPLOYMENT.replace("--installation=moved-in", "--watch-namespaces=kube-public")
        live.kube.apply(narrow)
        live.kube.kubectl("delete", "databaseuser", live.user, "-n", live.team, "--wait=false")
        served = program.run("plan", *at)
        assert (served.code, served.out.count(live.user)) == (0, 0), served.out + served.err
        (program.folder / "wanted.yaml").write_text(live.manifests)
        passed_over = program.run("plan", "-f", "wanted.yaml", *at)
        assert passed_over.code == 3, passed_over.out
        assert f"serves the namespaces kube-public only (--watch-namespaces), and manifests are for {live.team}" in (
            passed_over.err
        )
    finally:
        live.kube.kubectl("delete", "deployment", "dbtether-of-test", "-n", OWN)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        pytest.param(("get", "db", "--context", "x"), 3, "--context and --kubeconfig go with --kube", id="no --kube"),
        pytest.param(("get", "db", "--kube", "--kubeconfig", "none"), 3, "no kubeconfig at none", id="no such file"),
        pytest.param(("plan",), 3, "name the manifests with -f, or a cluster with --kube", id="a plan of nothing"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(
    program: Program, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    ran = program.run(*arguments)
    assert ran.code == code
    assert sentence in ran.err
    assert_one_sentence(ran)


def test_without_the_libraries_the_sentence_says_what_to_install() -> None:
    probe = """
import sys
sys.modules["aiohttp"] = None
from dbtether.cli.main import main
sys.argv = ["dbtether", "get", "db", "--kube"]
main()
"""
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pip install 'dbtether[operator]'" in ended.stderr
    assert "Traceback" not in ended.stderr
