"""The README's install commands on a real API server, and what the installed roles and policies let through."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.test_identity import ALLOWED, REFUSED
from tests.kube.kube import Kube
from tests.kube.plain_manifests import CHART, NAMESPACE, REPOSITORY, plain_manifests
from tests.kube.readme import commands_with
from tests.kube.test_crds import changed, path_of, resource

from dbtether.api.kinds import GROUP, KINDS
from dbtether.api.resource import Key
from dbtether.runtime.jobs import JobSpec
from dbtether.runtime.kube.job_objects import JobTemplate, job_object

_OPERATOR = f"system:serviceaccount:{NAMESPACE}:dbtether"
_FOREIGN = ("monitoring.coreos.com/v1", "cert-manager.io/v1")
"""Kinds of other projects, which the API server here does not know."""


def can(kube: Kube, user: str, verb: str, what: str, namespace: str) -> bool:
    """Whether RBAC lets a user do it; `what` is resource.group or resource/subresource."""
    resource_, _, subresource = what.partition("/")
    plural, _, group = resource_.partition(".")
    attributes = {"verb": verb, "group": group, "resource": plural, "namespace": namespace, "subresource": subresource}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    body = {**review, "spec": {"user": user, "resourceAttributes": attributes}}
    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer.body["status"]["allowed"])


def wait_for_pod(kube: Kube) -> None:
    """Wait until the Deployment's Pod is there."""
    label = "app.kubernetes.io/name=dbtether"
    kube.kubectl("wait", "--for=create", "pod", "-l", label, "-n", NAMESPACE, "--timeout=60s")


@pytest.mark.usefixtures("kube")
def test_the_plain_manifests_are_the_charts() -> None:
    config = REPOSITORY / "config"
    committed = {
        str(file.relative_to(config)): file.read_text()
        for folder in ("rbac", "manager")
        for file in (config / folder).iterdir()
    }
    assert committed == plain_manifests(), "run `make crds`"


def test_a_pod_of_the_operator_is_let_into_its_restricted_namespace(installed_kube: Kube) -> None:
    # PodSecurity refuses Pods, not Deployments: only the Pod's being there tells.
    wait_for_pod(installed_kube)


def test_the_policies_fit_the_kinds_they_are_about(installed_kube: Kube) -> None:
    answer = installed_kube.request("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
    assert len(answer.body["items"]) == 4
    for policy in answer.body["items"]:
        assert policy["status"]["typeChecking"] == {}, policy["metadata"]["name"]


@pytest.mark.parametrize(
    ("verb", "what", "namespace"),
    [
        *(
            (verb, f"{kind.plural}.{GROUP}", "default")
            for verb in ("list", "watch", "patch")
            for kind in KINDS.values()
        ),
        *(("update", f"{kind.plural}.{GROUP}/status", "default") for kind in KINDS.values()),
        *((verb, "secrets", "default") for verb in ("get", "watch", "create", "update", "delete")),
        *((verb, "leases.coordination.k8s.io", NAMESPACE) for verb in ("get", "create", "update")),
        ("create", "backups.dbtether.io", "default"),
        ("create", "events.events.k8s.io", "default"),
        ("list", "namespaces", "default"),
        *((verb, "jobs.batch", NAMESPACE) for verb in ("get", "list", "watch", "create", "delete")),
        *((verb, "pods", NAMESPACE) for verb in ("list", "watch")),
        ("get", "pods/log", NAMESPACE),
        ("list", "events.events.k8s.io", NAMESPACE),
    ],
)
def test_the_operator_may_do_what_it_does(installed_kube: Kube, verb: str, what: str, namespace: str) -> None:
    assert can(installed_kube, _OPERATOR, verb, what, namespace)


@pytest.mark.parametrize(
    ("verb", "what", "namespace"),
    [
        ("create", "databases.dbtether.io", "default"),
        ("delete", "databases.dbtether.io", "default"),
        ("delete", "databaseusers.dbtether.io", "default"),
        ("delete", "dbclusters.dbtether.io", "default"),
        # Finalizers are patched, statuses and Secrets replaced: the other way needs no right.
        *(("update", f"{kind.plural}.{GROUP}", "default") for kind in KINDS.values()),
        *(("patch", f"{kind.plural}.{GROUP}/status", "default") for kind in KINDS.values()),
        *(("patch", "secrets", namespace) for namespace in ("default", NAMESPACE)),
        ("update", "databases.dbtether.io/finalizers", "default"),
        ("patch", "leases.coordination.k8s.io", NAMESPACE),
        *((verb, "pods", NAMESPACE) for verb in ("create", "update", "patch", "delete")),
        *((verb, "jobs.batch", NAMESPACE) for verb in ("update", "patch")),
        *((verb, "jobs.batch", "default") for verb in ("create", "delete", "list")),
        *((verb, "pods", "default") for verb in ("get", "list", "watch")),
        ("get", "pods/log", "default"),
        ("list", "events.events.k8s.io", "default"),
        ("create", "leases.coordination.k8s.io", "default"),
        ("create", "pods/exec", NAMESPACE),
        ("create", "serviceaccounts/token", NAMESPACE),
        ("get", "configmaps", "default"),
        ("update", "namespaces", "default"),
        ("update", "clusterroles.rbac.authorization.k8s.io", "default"),
        ("update", "customresourcedefinitions.apiextensions.k8s.io", "default"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", "default"),
        ("impersonate", "users", "default"),
    ],
)
def test_the_operator_may_do_nothing_else(installed_kube: Kube, verb: str, what: str, namespace: str) -> None:
    assert not can(installed_kube, _OPERATOR, verb, what, namespace)


@pytest.mark.parametrize("verb", ["get", "list", "create", "delete"])
@pytest.mark.parametrize("what", ["secrets", "pods", "jobs.batch", "backups.dbtether.io"])
def test_a_job_may_do_nothing(installed_kube: Kube, verb: str, what: str) -> None:
    assert not can(installed_kube, f"system:serviceaccount:{NAMESPACE}:dbtether-job", verb, what, NAMESPACE)


def test_editors_of_a_namespace_edit_databases_but_no_servers(installed_kube: Kube, namespace: str) -> None:
    rights: dict[str, dict[str, list[bool]]] = {}
    for role in ("view", "edit", "admin"):
        installed_kube.kubectl(
            "-n", namespace, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}"
        )
        rights[role] = {
            kind.kind: [
                can(installed_kube, role, verb, f"{kind.plural}.{GROUP}", namespace) for verb in ("get", "create")
            ]
            for kind in KINDS.values()
        }
    for kind in KINDS.values():
        assert [rights[role][kind.kind] for role in rights] == (
            [[True, False], [True, True], [True, True]] if kind.namespaced else [[False, False]] * 3
        )


def test_a_protected_database_is_deleted_only_after_a_confirmation(installed_kube: Kube, namespace: str) -> None:
    spec = {"clusterRef": {"name": "main"}, "deletionProtection": True}
    installed_kube.apply(yaml.safe_dump(resource("Database", "my-app", spec)), "-n", namespace)
    refused = installed_kube.kubectl("delete", "database", "my-app", "-n", namespace, check=False)
    assert f"Database {namespace}/my-app is protected (spec.deletionProtection)" in refused.stderr
    assert "annotate it with dbtether.io/confirm-delete=my_app to delete it" in refused.stderr
    installed_kube.kubectl("annotate", "database", "my-app", "-n", namespace, "dbtether.io/confirm-delete=my_app")
    installed_kube.kubectl("delete", "database", "my-app", "-n", namespace)
    installed_kube.apply(
        yaml.safe_dump(resource("Database", "other", {"clusterRef": {"name": "main"}})), "-n", namespace
    )
    installed_kube.kubectl("delete", "database", "other", "-n", namespace)


@pytest.mark.parametrize(("title", "kind", "old", "new"), ALLOWED, ids=[row[0] for row in ALLOWED])
def test_what_keeps_the_identity_passes_the_policies(
    installed_kube: Kube, namespace: str, title: str, kind: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    answer = changed(installed_kube, namespace, kind, old, new)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(("kind", "old", "new", "sentence"), REFUSED, ids=[row[3][:50] for row in REFUSED])
def test_every_change_of_identity_is_refused(
    installed_kube: Kube, namespace: str, kind: str, old: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    answer = changed(installed_kube, namespace, kind, old, new)
    assert answer.status == 422, answer.body
    assert "create another" in answer.body["message"]


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (
            "DatabaseUser",
            {"database": {"name": "db"}},
            {"database": {"name": "db", "namespace": "other"}},
        ),
        (
            "Restore",
            {"source": {"latestFrom": {"databaseRef": {"name": "db"}}}, "target": {"databaseRef": {"name": "db"}}},
            {
                "source": {"latestFrom": {"databaseRef": {"name": "db"}, "namespace": "other"}},
                "target": {"databaseRef": {"name": "db"}},
            },
        ),
    ],
    ids=["DatabaseUser", "Restore"],
)
def test_a_reference_does_not_get_another_namespace(
    installed_kube: Kube, namespace: str, kind: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    answer = changed(installed_kube, namespace, kind, old, new)
    assert answer.status == 422, answer.body
    assert "create another" in answer.body["message"]


def test_a_user_does_not_name_one_database_twice(installed_kube: Kube, namespace: str) -> None:
    spec = {"databases": [{"name": "a"}, {"name": "a", "namespace": namespace}]}
    answer = installed_kube.request("POST", path_of("DatabaseUser", namespace), resource("DatabaseUser", "u", spec))
    assert (answer.status, "lists a Database twice" in answer.body["message"]) == (422, True)


def template(kube: Kube, *options: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """What helm makes of the chart."""
    return kube.helm("template", "dbtether", str(CHART), "-n", NAMESPACE, *options, check=check)


def objects(text: str) -> list[dict[str, Any]]:
    """The objects in manifests."""
    return [document for document in yaml.safe_load_all(text) if document]


_JOBS = """{
  "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/it's"}},
  "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128/?a=b&c=<d>"}],
  "podAnnotations": {"a": "it's \\"b\\" # no comment"}, "podLabels": {"azure.workload.identity/use": "true"},
  "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "a", "operator": "Exists"}],
  "affinity": {"nodeAffinity": {}}, "priorityClassName": "low"
}"""

VALUES = [
    [],
    ["--set", "replicas=2,podDisruptionBudget.enabled=true,networkPolicy.enabled=true"],
    ["--set", "webhook.enabled=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true"],
    ["--set", "webhook.enabled=true,webhook.certManager.enabled=true"],
    ["--set", "watchNamespaces={default,kube-public},credentialsNamespaces={kube-system},readOnly=true,installation=a"],
    ["--set", "crds.install=false,admissionPolicies.enabled=false,rbac.aggregate=false"],
    [
        *("--set-json", 'extraEnv=[{"name":"A","value":"b"},{"name":"C","value":"d"}]'),
        *("--set-json", 'nodeSelector={"kubernetes.io/os":"linux"}'),
        *("--set-json", 'extraArgs=["--log-level=debug"]'),
        *("--set-json", 'tolerations=[{"key":"a","operator":"Exists"}]'),
        *("--set-json", 'networkPolicy={"enabled":true,"egress":[{}],"metricsFrom":[{"podSelector":{}}]}'),
        *("--set-json", 'extraVolumes=[{"name":"b","emptyDir":{}}]'),
        *("--set-json", 'extraVolumeMounts=[{"name":"b","mountPath":"/more"}]'),
    ],
    [
        *("--set", "networkPolicy.enabled=true,backup.maxConcurrentPerCluster=5,imagePullSecrets[0].name=a"),
        *("--set-json", 'localStorage={"path":"/volume","volume":{"persistentVolumeClaim":{"claimName":"backups"}}}'),
        *("--set-json", "networkPolicy.jobsEgress=[{}]"),
        *("--set-json", f"jobs={_JOBS}"),
    ],
]
VALUE_IDS = ["defaults", "two replicas", "webhook", "cert-manager", "some namespaces", "without", "extras", "jobs"]


@pytest.mark.parametrize("options", VALUES, ids=VALUE_IDS)
def test_the_api_server_takes_what_the_chart_gives(installed_kube: Kube, options: list[str]) -> None:
    found = objects(template(installed_kube, *options).stdout)
    known = [each for each in found if each["apiVersion"] not in _FOREIGN]
    said = installed_kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known))
    assert len(said.stdout.splitlines()) == len(known)
    assert said.stderr == ""


@pytest.mark.parametrize("options", VALUES, ids=VALUE_IDS)
def test_the_operator_knows_every_option_the_chart_gives_it(kube: Kube, options: list[str]) -> None:
    found = objects(template(kube, *options).stdout)
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    program = Path(sys.executable).with_name("dbtether")
    # Options are read before help is given: an unknown one ends the command.
    ended = subprocess.run([program, *container["args"], "--help"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("options", VALUES, ids=VALUE_IDS)
def test_a_job_of_the_chart_s_is_let_into_the_restricted_namespace(installed_kube: Kube, options: list[str]) -> None:
    found = objects(template(installed_kube, *options).stdout)
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (argument,) = (each for each in pod["containers"][0]["args"] if each.startswith("--job-template="))
    made = JobTemplate.parse(argument.partition("=")[2])
    spec = JobSpec("chart-test", Key("Backup", "team", "nightly"), ("backup",), {"run.json": b"{}"})
    answer = installed_kube.request(
        "POST", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs?dryRun=All&fieldValidation=Strict", job_object(spec, made)
    )
    # A violation of the namespace's Pod Security level comes as a warning.
    assert (answer.status, answer.warnings) == (201, ()), answer
    job = answer.body["spec"]["template"]["spec"]
    assert job["containers"][0]["image"] == pod["containers"][0]["image"]
    accounts = [each for each in found if each["kind"] == "ServiceAccount"]
    assert [each["metadata"]["name"] for each in accounts] == [pod["serviceAccountName"], job["serviceAccountName"]]
    if "jobs" in VALUE_IDS[VALUES.index(options)]:
        made.check_folder("/volume/team")
        assert accounts[1]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("it's")
        assert answer.body["spec"]["template"]["metadata"]["annotations"]["a"] == 'it\'s "b" # no comment'
        assert job["containers"][0]["env"][0]["value"] == "http://proxy:3128/?a=b&c=<d>"


def test_each_alert_asks_for_metrics_that_there_are_and_leads_to_its_part_of_the_runbook(kube: Kube) -> None:
    options = ["--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.labels.release=x"]
    found = objects(template(kube, *options).stdout)
    (rule,) = (each for each in found if each["kind"] == "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "x"
    page = (REPOSITORY / "docs" / "operator.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    (group,) = rule["spec"]["groups"]
    for alert in group["rules"]:
        assert alert["annotations"]["runbook_url"].partition("#")[2] in anchors, alert
        used = re.findall(r"(dbtether_\w+)\{([^}]*)\}", alert["expr"])
        assert used, alert
        for metric, selector in used:
            # `tests/operator/test_serving.py` reads them from the operator itself.
            assert f"`{metric}`" in page
            assert f'namespace="{NAMESPACE}"' in selector.split(",")
        assert f"`{alert['alert']}`" in page
    assert len({alert["alert"] for alert in group["rules"]}) == len(group["rules"]) == 9


def test_helm_lint_finds_nothing(kube: Kube) -> None:
    assert "0 chart(s) failed" in kube.helm("lint", "--strict", str(CHART)).stdout


def test_with_some_namespaces_no_secret_of_another_can_be_read(kube: Kube) -> None:
    found = objects(template(kube, "--set", "watchNamespaces={a},credentialsNamespaces={b}").stdout)
    rules = {
        (each["kind"], each["metadata"].get("namespace"), tuple(rule["verbs"][:1]), len(rule["verbs"]))
        for each in found
        if each["kind"] in ("Role", "ClusterRole")
        for rule in each["rules"]
        if "secrets" in rule["resources"]
    }
    assert rules == {("Role", NAMESPACE, ("get",), 6), ("Role", "a", ("get",), 6), ("Role", "b", ("get",), 3)}


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "replica=2"],
        ["--set", "replicas=2,leaderElection.enabled=false"],
        ["--set", "metrics.port=99999"],
        ["--set", "installation=No"],
        ["--set", "watchNamespaces={Not_A_Namespace}"],
        ["--set", "serviceAccount.create=false"],
        ["--set", "jobs.serviceAccount.create=false"],
        ["--set", "backup.maxConcurrentPerCluster=0"],
        ["--set", "localStorage.path=backups"],
    ],
    ids=lambda options: options[-1],
)
def test_a_wrong_value_is_refused(kube: Kube, options: list[str]) -> None:
    ended = template(kube, *options, check=False)
    assert ended.returncode != 0
    assert "don't meet the specifications of the schema" in ended.stderr


def test_two_servers_on_one_port_are_refused(kube: Kube) -> None:
    ended = template(kube, "--set", "webhook.enabled=true,webhook.port=8080", check=False)
    assert ended.returncode != 0
    assert "webhook.port, metrics.port and health.port must differ" in ended.stderr


def test_helm_installs_and_leaves_the_crds_when_it_goes(fresh_kube: Callable[[], Kube]) -> None:
    kube = fresh_kube()
    (install,) = commands_with("helm install")
    kube.shell(install, REPOSITORY)
    wait_for_pod(kube)
    assert can(kube, _OPERATOR, "list", "databases.dbtether.io", "")
    kube.helm("upgrade", "dbtether", str(CHART), "-n", NAMESPACE, "--set", "replicas=2")
    strategy = ("get", "deployment", "dbtether", "-n", NAMESPACE, "-o", "jsonpath={.spec.strategy.type}")
    assert kube.kubectl(*strategy).stdout == "RollingUpdate"
    # Without a Lease nothing else keeps the old Pod and the new one from working at a time.
    kube.helm("upgrade", "dbtether", str(CHART), "-n", NAMESPACE, "--set", "leaderElection.enabled=false")
    assert kube.kubectl(*strategy).stdout == "Recreate"
    kube.helm("uninstall", "dbtether", "-n", NAMESPACE)
    left = kube.kubectl("get", "crds", "-o", "name").stdout.split()
    assert len([name for name in left if name.endswith(f".{GROUP}")]) == len(KINDS)
    assert kube.kubectl("get", "clusterroles", "-l", "app.kubernetes.io/name=dbtether", "-o", "name").stdout == ""
