"""Order and end of resources on a real API server: nothing depends on who came or went first."""

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from tests.kube.kube import Kube
from tests.operator.operating import NEVER, OWN, Ground, Operator, eventually, operating

pytestmark = pytest.mark.majors(18)


@pytest.fixture(scope="module")
def operator(installed_kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with operating(installed_kube, tmp_path_factory.mktemp("operator"), *NEVER) as running:
        yield running


@pytest.mark.usefixtures("operator")
def test_resources_created_in_any_order_become_ready(ground: Ground) -> None:
    orders = list(permutations(("Secret", "DBCluster", "Database", "DatabaseUser")))
    for number, order in enumerate(orders):
        database, user, cluster = f"app-{number}", f"reader-{number}", f"{ground.unique}-{number}"
        bodies = {
            "Secret": ground.admin_secret(cluster),
            "DBCluster": ground.cluster(cluster, cluster),
            "Database": ground.database(database, cluster, databaseName=f"{ground.unique}_{number}"),
            "DatabaseUser": ground.user(user, database),
        }
        for kind in order:
            ground.create(bodies[kind], OWN if kind == "Secret" else None)
    for number in range(len(orders)):
        ground.until("DatabaseUser", f"reader-{number}", "Ready")
    for kind in ("DatabaseUser", "Database"):
        ground.kube.request("DELETE", ground.path(kind))
    eventually(lambda: not ground.roles(), "no role is left")


@pytest.mark.usefixtures("operator")
def test_a_namespace_deleted_with_everything_in_it_goes_and_so_does_what_was_on_the_server(ground: Ground) -> None:
    ground.create_everything()
    ground.create(ground.user("writer", privileges="readwrite"))
    ground.until("DatabaseUser", "writer", "Ready")
    ground.delete("DBCluster", ground.unique)
    assert "is used by" in ground.until_blocked("DBCluster", ground.unique, "InUse")
    assert ground.status("DBCluster", ground.unique)["phase"] == "Connected"
    ground.kube.delete_namespace(ground.team)
    ground.until_gone("Namespace", ground.team)
    ground.until_gone("DBCluster", ground.unique)
    assert (ground.databases(), ground.roles()) == ([], [])


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("order", [("Database", "DatabaseUser"), ("DatabaseUser", "Database")])
def test_users_deleted_with_their_database_go(ground: Ground, order: tuple[str, ...]) -> None:
    ground.create_everything()
    names = {"Database": "app", "DatabaseUser": "reader"}
    ground.delete("DBCluster", ground.unique)
    for kind in order:
        ground.delete(kind, names[kind])
    ground.until_gone("DBCluster", ground.unique)
    assert (ground.databases(), ground.roles(), ground.credentials()) == ([], [], {})
    assert ground.all("Database") == ground.all("DatabaseUser") == []


@pytest.mark.usefixtures("operator")
def test_the_admins_secret_may_be_deleted_with_everything_else_at_once(ground: Ground, tmp_path: Path) -> None:
    ground.create_everything()
    secret, cluster = ground.admin_secret(ground.unique), ground.cluster(ground.unique, ground.unique)
    secret["metadata"]["namespace"] = OWN
    bodies = [secret, cluster, ground.database(), ground.user()]
    for body in bodies[2:]:
        body["metadata"]["namespace"] = ground.team
    manifests = tmp_path / "manifests.json"
    manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))
    ground.kube.kubectl("delete", "-f", str(manifests), "--timeout=60s")
    assert (ground.databases(), ground.roles(), ground.get("DBCluster", ground.unique)) == ([], [], None)


@pytest.mark.usefixtures("operator")
def test_what_is_retained_works_on_when_its_resources_are_gone(ground: Ground) -> None:
    ground.create_cluster()
    ground.create(ground.database(deletionPolicy="Retain"))
    ground.create(ground.user(deletionPolicy="Retain"))
    ground.until("DatabaseUser", "reader", "Ready")
    password = ground.credentials()["password"]
    for kind, name in (("DatabaseUser", "reader"), ("Database", "app"), ("DBCluster", ground.unique)):
        ground.delete(kind, name)
    ground.until_gone("DBCluster", ground.unique)
    assert ground.credentials()["password"] == password
    assert ground.can_log_in(password)
    secret = ground.get("Secret", "reader-credentials")
    assert secret is not None
    assert "ownerReferences" not in secret["metadata"]


@pytest.mark.usefixtures("operator")
def test_without_their_dbcluster_a_deletion_says_how_to_give_up_and_does_so_when_told(ground: Ground) -> None:
    ground.create_everything()
    roles = ground.roles()
    ground.delete("DBCluster", ground.unique)
    ground.patch("DBCluster", ground.unique, {"metadata": {"finalizers": []}})
    ground.until_gone("DBCluster", ground.unique)
    for kind, name in (("DatabaseUser", "reader"), ("Database", "app")):
        ground.delete(kind, name)
        assert "dbtether.io/force-delete=true" in ground.until_blocked(kind, name, "ClusterNotFound")
    for kind, name in (("DatabaseUser", "reader"), ("Database", "app")):
        ground.annotate(kind, name, "dbtether.io/force-delete", "true")
        ground.until_gone(kind, name)
    assert (ground.roles(), ground.credentials()) == (roles, {})
    eventually(
        lambda: (
            {one["regarding"]["kind"] for one in ground.all("Event") if one["reason"] == "ForceDeleted"}
            == {"DatabaseUser", "Database"}
        ),
        "Events tell what was left behind",
    )
