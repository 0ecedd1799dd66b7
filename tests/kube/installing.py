"""dbtether installed on a test's Kubernetes by the README's kubectl commands, its roles and policies in force."""

import time
from collections.abc import Callable
from typing import Any

from tests.kube.kube import Kube
from tests.kube.plain_manifests import REPOSITORY

from dbtether.api.kinds import API_VERSION, GROUP

_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_EDIT = "/apis/rbac.authorization.k8s.io/v1/clusterroles/edit"
_WAIT_SECONDS = 60.0


def install(kube: Kube) -> None:
    """Run the README's commands, and return once what they brought is in force."""
    for folder in ("config/crd/bases/", "config/rbac/", "config/manager/"):
        said = kube.kubectl("apply", "-f", str(REPOSITORY / folder))
        assert said.stderr == ""
    kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(REPOSITORY / "config/crd/bases"))
    # The API server takes up policies and aggregated roles a moment after they were written.
    eventually(lambda: all("typeChecking" in policy["status"] for policy in _items(kube)))
    eventually(lambda: _edit_may_edit(kube))
    _wait_for_policies(kube)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something that the control plane does by itself has happened."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _items(kube: Kube) -> list[dict[str, Any]]:
    return list(kube.request("GET", _POLICIES).body["items"])


def _edit_may_edit(kube: Kube) -> bool:
    rules = kube.request("GET", _EDIT).body["rules"]
    return any(GROUP in rule["apiGroups"] and "create" in rule["verbs"] for rule in rules)


def _wait_for_policies(kube: Kube) -> None:
    """Ask for what each policy refuses, until it does; nothing of it stays."""
    namespace = kube.create_namespace()
    twice = {"databases": [{"name": "a"}, {"name": "a", "namespace": namespace}]}
    path = f"/apis/{API_VERSION}/namespaces/{namespace}"
    user = {"apiVersion": API_VERSION, "kind": "DatabaseUser", "metadata": {"name": "probe"}, "spec": twice}
    eventually(lambda: kube.request("POST", f"{path}/databaseusers?dryRun=All", user).status == 422)
    protected = {"clusterRef": {"name": "probe"}, "deletionProtection": True}
    database = {"apiVersion": API_VERSION, "kind": "Database", "metadata": {"name": "probe"}, "spec": protected}
    kube.request("POST", f"{path}/databases", database)
    eventually(lambda: kube.request("DELETE", f"{path}/databases/probe?dryRun=All").status == 403)
    confirmed = {"metadata": {"annotations": {"dbtether.io/confirm-delete": "probe"}}}
    kube.request("PATCH", f"{path}/databases/probe", confirmed, content_type="application/merge-patch+json")
    kube.delete_namespace(namespace)
