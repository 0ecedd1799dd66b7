"""An operator for some namespaces, with the rights that the chart then gives it: there, and nowhere else."""

from pathlib import Path

import pytest
import yaml
from tests.kube.plain_manifests import CHART
from tests.operator.operating import NEVER, OWN, Ground, eventually, operating

pytestmark = pytest.mark.majors(18)

_RBAC = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_it_serves_its_namespaces_with_narrow_rights_and_sees_their_labels(ground: Ground, tmp_path: Path) -> None:
    kube, name, platform = ground.kube, ground.unique.replace("_", "-"), ground.kube.create_namespace()
    elsewhere = kube.create_namespace()
    values = (
        f"fullnameOverride={name},watchNamespaces={{{ground.team}}},credentialsNamespaces={{{platform}}},"
        f"installation={name},rbac.aggregate=false"
    )
    made = kube.helm("template", "dbtether", str(CHART), "-n", OWN, "--set", values).stdout
    found = [one for one in yaml.safe_load_all(made) if one]
    rights = yaml.safe_dump_all([one for one in found if one["kind"] in _RBAC])
    (deployment,) = (one for one in found if one["kind"] == "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    options = [one for one in arguments if one.partition("=")[0] in _OPTIONS]
    assert len(options) == len(_OPTIONS)
    kube.apply(rights)
    try:
        with operating(kube, tmp_path, *options, *NEVER, account=name) as operator:
            kube.kubectl("label", "namespace", ground.team, "tier=gold")
            ground.create(ground.admin_secret(name), platform)
            ground.create(
                ground.cluster(
                    ground.unique,
                    name,
                    credentialsSecretRef={"name": name, "namespace": platform},
                    namespaceSelector={"matchLabels": {"tier": "gold"}},
                )
            )
            ground.create(ground.database("other"), elsewhere)
            ground.create(ground.database())
            ground.create(ground.user())
            ground.until("DatabaseUser", "reader", "Ready")
            assert ground.can_log_in(ground.credentials()["password"])
            # No resync, no restart: the label's change is told.
            kube.kubectl("label", "namespace", ground.team, "tier=silver", "--overwrite")
            eventually(lambda: ground.phase("Database", "app") != "Ready", "it is shut out")
            kube.kubectl("label", "namespace", ground.team, "tier=gold", "--overwrite")
            ground.until("DatabaseUser", "reader", "Ready")
            ground.delete("DatabaseUser", "reader")
            ground.delete("Database", "app")
            ground.until_gone("Database", "app")
            events = ground.all("Event") + ground.all("Event", "default")
            assert {one["regarding"]["kind"] for one in events} >= {"DBCluster", "Database", "DatabaseUser"}
            assert "status" not in (ground.get("Database", "other", elsewhere) or {})
            refused = [name for name in operator.metrics() if 'code="403"' in name]
            assert refused == []
    finally:
        kube.kubectl("delete", "-f", "-", stdin=rights)
        for namespace in (platform, elsewhere):
            kube.delete_namespace(namespace)


_OPTIONS = ("--installation", "--watch-namespaces", "--credentials-namespaces")
