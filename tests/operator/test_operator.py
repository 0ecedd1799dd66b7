"""The operator as a process of its own against a real API server and real PostgreSQL."""

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.kube.kube import Kube
from tests.servers.fixtures import Admin

RBAC = Path(__file__).parents[2] / "config" / "rbac"
OWN = "postgres-operator-system"
PROGRAM = str(Path(sys.executable).parent / "dbtether")


@contextmanager
def operating(kubeconfig: Path, namespace: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running operator process, ended at the end."""
    command = [PROGRAM, "operator", "--kubeconfig", str(kubeconfig), "--namespace", namespace]
    command += ["--metrics-address", "", "--health-address", "", *options]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def get(kube: Kube, *arguments: str) -> str:
    """What kubectl prints."""
    return kube.kubectl(*arguments).stdout


def eventually(check: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until the check holds; a time-out is a failure of the test, not of the machine's speed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"never: {what}")


def manifests(admin: Admin, operator_namespace: str, namespace: str, unique: str) -> str:
    """The README's manifests for this server."""
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {unique}-admin, namespace: {operator_namespace}}}
stringData: {{username: {admin.user}, password: "{admin.password}"}}
---
apiVersion: dbtether.io/v1alpha1
kind: DBCluster
metadata: {{name: {unique}}}
spec:
  endpoint: 127.0.0.1
  port: {admin.server.port}
  tls: {{mode: disable}}
  credentialsSecretRef: {{name: {unique}-admin, namespace: {operator_namespace}}}
---
apiVersion: dbtether.io/v1alpha1
kind: Database
metadata: {{name: my-app-db, namespace: {namespace}}}
spec:
  clusterRef: {{name: {unique}}}
  databaseName: {unique}_app
  deletionPolicy: Delete
---
apiVersion: dbtether.io/v1alpha1
kind: DatabaseUser
metadata: {{name: {unique}-readonly, namespace: {namespace}}}
spec:
  databaseRef: {{name: my-app-db}}
  privileges: readonly
"""


@pytest.fixture(scope="session")
def installed(crd_kube: Kube) -> Kube:
    """A Kubernetes with the shipped RBAC: the operator may do what that says, and nothing else."""
    crd_kube.kubectl("apply", "-f", str(RBAC))
    return crd_kube


def operator_kubeconfig(kube: Kube) -> Path:
    """How the operator's own ServiceAccount logs in."""
    return kube.service_account_kubeconfig(OWN, "dbtether")


@pytest.mark.majors(18)
def test_the_readmes_manifests_become_ready_and_go_again(
    installed: Kube, admin: Admin, unique: str, tmp_path: Path
) -> None:
    kube, own = installed, OWN
    team = kube.create_namespace()
    log = tmp_path / "operator.log"
    with operating(operator_kubeconfig(kube), own, log):
        kube.apply(manifests(admin, own, team, unique))

        def phase(kind: str, name: str, namespace: str | None = None) -> str:
            scope = ["-n", namespace] if namespace else []
            return get(kube, "get", kind, name, *scope, "-o", "jsonpath={.status.phase}")

        try:
            eventually(lambda: phase("databaseuser", f"{unique}-readonly", team) == "Ready", "the user is Ready")
            assert phase("dbcluster", unique) == "Connected"
            table = get(kube, "get", "databaseusers", "-n", team)
            assert table.splitlines()[0].split() == ["NAME", "DATABASE", "USERNAME", "PRIVILEGES", "PHASE", "AGE"]
            found = json.loads(get(kube, "get", "secret", f"{unique}-readonly-credentials", "-n", team, "-o", "json"))
            password = base64.b64decode(found["data"]["password"]).decode()
            with psycopg.connect(admin.server.dsn(f"{unique}-readonly", password, f"{unique}_app")) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            kube.kubectl("delete", "databaseuser,database", "--all", "-n", team, "--wait=false")
            kube.kubectl("delete", "dbcluster", unique, "--wait=false")
            eventually(lambda: not get(kube, "get", "dbcluster", unique, "--ignore-not-found"), "everything is gone")
        except BaseException:
            print(log.read_text()[-3000:])
            print(get(kube, "get", "databaseusers,databases,dbclusters", "-A", "-o", "yaml")[:9000])
            raise
    assert password not in log.read_text()
    assert admin.password not in log.read_text()
    with admin.server.connect() as connection:
        left = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"%{unique}%",)).fetchall()
    assert left == []


def test_the_deployments_arguments_are_the_programs() -> None:
    deployment = (RBAC.parent / "manager" / "deployment.yaml").read_text()
    help_text = subprocess.run([PROGRAM, "operator", "--help"], capture_output=True, text=True, check=True).stdout
    chart = (RBAC.parents[1] / "charts" / "dbtether" / "templates" / "deployment.yaml").read_text()
    options = set(re.findall(r"^ *- (--[a-z-]+)", deployment + chart, re.MULTILINE))
    assert "--leader-elect" in options
    assert {option for option in options if option not in help_text} == set()
