"""What the tests of `--kube` share: a cluster on which an operator has done its work and has ended."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.kube.kube import Kube
from tests.servers.fixtures import Admin

RBAC = Path(__file__).parents[2] / "config" / "rbac"
OWN = "postgres-operator-system"
OUR_KINDS = "databaseusers,databases,dbclusters"
_PROGRAM = str(Path(sys.executable).with_name("dbtether"))


@dataclass(frozen=True, slots=True)
class Live:
    """The cluster, and what is on it."""

    kube: Kube
    admin: Admin
    unique: str
    team: str
    manifests: str
    log: Path

    @property
    def user(self) -> str:
        """The DatabaseUser, and the login."""
        return f"{self.unique}-reader"

    @property
    def password(self) -> str:
        """The user's password."""
        return secret_of(self.kube, self.team, f"{self.user}-credentials")["password"]

    def versions(self) -> str:
        """The version of everything that a careless plan could write."""
        columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion"
        kinds = ("databaseusers,databases,secrets,events", "-o", columns)
        # Not of the whole cluster: the namespaces of earlier tests are still going.
        seen = [self.kube.kubectl("get", *kinds, "-n", namespace).stdout for namespace in (self.team, OWN)]
        return "".join([*seen, self.kube.kubectl("get", "dbclusters", "-o", columns).stdout])


def secret_of(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """The values of a Secret."""
    found = json.loads(kube.kubectl("get", "secret", name, "-n", namespace, "-o", "json").stdout)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def phase(kube: Kube, kind: str, name: str, namespace: str) -> str:
    """The phase of a resource."""
    return kube.kubectl("get", kind, name, "-n", namespace, "-o", "jsonpath={.status.phase}").stdout


def eventually(check: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Wait until the check holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.1)
    pytest.fail(f"never: {what}")


@contextmanager
def operating(kube: Kube, log: Path, *options: str) -> Iterator[None]:
    """A running operator with the shipped rights, ended at the end."""
    kubeconfig = kube.service_account_kubeconfig(OWN, "dbtether")
    command = [_PROGRAM, "operator", "--kubeconfig", str(kubeconfig), "--namespace", OWN]
    command += ["--metrics-address", "", "--health-address", "", *options]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield
        except BaseException:
            print(log.read_text()[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(kube: Kube) -> None:
    """The operator's account and rights, and nothing of another test's: a plan looks at the whole cluster."""
    kube.kubectl("apply", "-f", str(RBAC))
    remove_everything(kube)


def remove_everything(kube: Kube) -> None:
    """Remove every resource of ours, and the operator's key, without an operator that would do it properly."""
    items = json.loads(kube.kubectl("get", OUR_KINDS, "-A", "-o", "json").stdout)["items"]
    for item in items:
        scope = ["-n", item["metadata"]["namespace"]] if "namespace" in item["metadata"] else []
        target = [item["kind"].lower(), item["metadata"]["name"], *scope]
        kube.kubectl("patch", *target, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}', check=False)
        kube.kubectl("delete", *target, "--ignore-not-found", check=False)
    kube.kubectl("delete", "secret", "dbtether-fingerprint-key", "-n", OWN, "--ignore-not-found")


@contextmanager
def live_cluster(kube: Kube, admin: Admin, unique: str, folder: Path) -> Iterator[Live]:
    """A cluster with a database and a user that are Ready."""
    prepare(kube)
    team = kube.create_namespace()
    live = Live(kube, admin, unique, team, _manifests(admin, team, unique), folder / "operator.log")
    try:
        with operating(kube, live.log):
            kube.apply(live.manifests)
            eventually(lambda: phase(kube, "databaseuser", live.user, team) == "Ready", "the user is Ready")
        yield live
    finally:
        remove_everything(kube)
        kube.delete_namespace(team)


def reader_account(person: str) -> str:
    """Rights of a person who may read everything of ours, and the Secrets of the operator's namespace alone."""
    return f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {person}}}
rules:
  - {{apiGroups: [dbtether.io], resources: [dbclusters, databases, databaseusers], verbs: [get, list]}}
  - {{apiGroups: [""], resources: [namespaces], verbs: [get, list]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {person}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {person}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {person}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {person}, namespace: {OWN}}}
rules: [{{apiGroups: [""], resources: [secrets], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {person}, namespace: {OWN}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {person}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {person}}}]
"""


def _manifests(admin: Admin, team: str, unique: str) -> str:
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {unique}-admin, namespace: {OWN}}}
stringData: {{username: {admin.user}, password: "{admin.password}"}}
---
apiVersion: dbtether.io/v1alpha1
kind: DBCluster
metadata: {{name: {unique}}}
spec:
  endpoint: 127.0.0.1
  port: {admin.server.port}
  tls: {{mode: disable}}
  credentialsSecretRef: {{name: {unique}-admin, namespace: {OWN}}}
---
apiVersion: dbtether.io/v1alpha1
kind: Database
metadata: {{name: my-app-db, namespace: {team}}}
spec:
  clusterRef: {{name: {unique}}}
  databaseName: {unique}_app
---
apiVersion: dbtether.io/v1alpha1
kind: DatabaseUser
metadata: {{name: {unique}-reader, namespace: {team}}}
spec:
  databaseRef: {{name: my-app-db}}
  privileges: readonly
"""
