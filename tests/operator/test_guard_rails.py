"""What the operator does not do: when it is told so, and when nobody has allowed it."""

import os
from collections.abc import Iterator

import pytest
from tests.kube.kube import Kube
from tests.operator.operating import NEVER, OWN, Ground, Operator, eventually, operating
from tests.servers.server import Server

pytestmark = pytest.mark.majors(18)

PLATFORM = "platform"


@pytest.fixture(scope="module")
def operator(installed_kube: Kube, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operator")
    installed_kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": PLATFORM}})
    known = {"DB_USER": server.admin.user, "DB_PASSWORD": server.admin.password}
    options = (*NEVER, "--credentials-namespaces", PLATFORM, "--credentials-env", "DB_USER,DB_PASSWORD")
    with operating(installed_kube, folder, *options, env={**known, "OTHER_PASSWORD": "another"}) as running:
        yield running


@pytest.mark.usefixtures("operator")
def test_what_is_paused_stays_as_it_is_and_goes_on_afterwards(ground: Ground) -> None:
    ground.create_everything()
    before = (ground.get("DatabaseUser", "reader") or {})["status"]
    ground.annotate("DatabaseUser", "reader", "dbtether.io/paused", "true")
    ground.patch("DatabaseUser", "reader", {"spec": {"connectionLimit": 7}})
    ground.delete("Secret", "reader-credentials")
    # Another one made at the same time is done, so the paused one had its turn.
    ground.create(ground.user("other"))
    ground.until("DatabaseUser", "other", "Ready")
    after = (ground.get("DatabaseUser", "reader") or {})["status"]
    told = ("message", "conditions")
    assert {name: after[name] for name in after if name not in told} == {
        name: before[name] for name in before if name not in told
    }
    assert [one["type"] for one in after["conditions"]] == ["Ready", "Paused"]
    assert after["message"].startswith("Paused: ")
    assert ground.credentials() == {}
    ground.delete("DatabaseUser", "reader")
    ground.create(ground.user("another"))
    ground.until("DatabaseUser", "another", "Ready")
    assert f"{ground.unique}-reader" in ground.roles()
    ground.annotate("DatabaseUser", "reader", "dbtether.io/paused", None)
    ground.until_gone("DatabaseUser", "reader")
    assert f"{ground.unique}-reader" not in ground.roles()


@pytest.mark.usefixtures("operator")
def test_a_secret_of_another_namespace_is_not_sent_to_a_server(ground: Ground) -> None:
    ground.create(ground.admin_secret("stolen"))
    elsewhere = {"name": "stolen", "namespace": ground.team}
    mark = ground.server.mark()
    ground.create(ground.cluster(ground.unique, "", credentialsSecretRef=elsewhere))
    message = ground.until_blocked("DBCluster", ground.unique, "ReferenceNotAllowed")
    assert message == (
        f"Secret {ground.team}/stolen: the operator reads Secrets of DBClusters from the namespaces "
        f"{PLATFORM}, {OWN} only; put it there, or add the namespace to --credentials-namespaces"
    )
    assert ground.phase("DBCluster", ground.unique) == "Failed"
    assert [one.text for one in ground.server.logged_since(mark) if one.application_name.startswith("dbtether")] == []


@pytest.mark.usefixtures("operator")
def test_a_namespace_that_is_named_may_hold_admin_secrets(ground: Ground) -> None:
    ground.create(ground.admin_secret(ground.unique), PLATFORM)
    named = {"name": ground.unique, "namespace": PLATFORM}
    ground.create(ground.cluster(ground.unique, "", credentialsSecretRef=named))
    ground.until("DBCluster", ground.unique, "Connected")


@pytest.mark.usefixtures("operator")
def test_only_the_variables_that_were_named_hold_an_admins_login(ground: Ground) -> None:
    declared = {"username": "DB_USER", "password": "DB_PASSWORD"}
    ground.create(ground.cluster(ground.unique, "", credentialsFromEnv=declared))
    ground.until("DBCluster", ground.unique, "Connected")
    assert "PATH" in os.environ
    for variable in ("OTHER_PASSWORD", "PATH"):
        name = f"{ground.unique}-{variable.lower().replace('_', '-')}"
        ground.create(ground.cluster(name, "", credentialsFromEnv={**declared, "password": variable}))
        message = ground.until_blocked("DBCluster", name, "SecretInvalid")
        assert message.endswith(f"the variable {variable} is not set")


@pytest.mark.usefixtures("operator")
def test_a_protected_database_is_deleted_only_by_who_names_it(ground: Ground) -> None:
    ground.create_cluster()
    ground.create(ground.database(deletionProtection=True))
    ground.until("Database", "app", "Ready")
    refused = ground.kube.kubectl("delete", "database", "app", "-n", ground.team, check=False)
    assert refused.returncode == 1
    assert f"annotate it with dbtether.io/confirm-delete={ground.unique}_app to delete it" in refused.stderr
    # Nor does it go with its namespace.
    ground.kube.delete_namespace(ground.team)
    eventually(lambda: "deletionTimestamp" in (ground.get("Namespace", ground.team) or {})["metadata"], "on its way")
    assert ground.databases() == [f"{ground.unique}_app"]
    ground.annotate("Database", "app", "dbtether.io/confirm-delete", f"{ground.unique}_app")
    ground.until_gone("Namespace", ground.team)
    assert ground.databases() == []
