"""What wakes a resource: no resync helps it along."""

from collections.abc import Iterator

import pytest
from tests.kube.kube import Kube
from tests.operator.operating import NEVER, OWN, Ground, Operator, eventually, operating
from tests.servers.server import Login

pytestmark = pytest.mark.majors(18)


@pytest.fixture(scope="module")
def operator(installed_kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with operating(installed_kube, tmp_path_factory.mktemp("operator"), *NEVER) as running:
        yield running


@pytest.mark.usefixtures("operator")
def test_a_corrected_admin_secret_wakes_its_dbcluster_and_all_that_waits_for_it(ground: Ground) -> None:
    wrong = Login(ground.server.admin.user, "wrong")
    ground.create(ground.admin_secret(ground.unique, wrong), OWN)
    ground.create(ground.cluster(ground.unique, ground.unique, checkInterval="24h"))
    ground.create(ground.database())
    ground.create(ground.user())
    ground.until_blocked("DBCluster", ground.unique, "AuthenticationFailed")
    ground.until_blocked("DatabaseUser", "reader", "DatabaseNotReady")
    ground.patch("Secret", ground.unique, {"stringData": {"password": ground.server.admin.password}}, OWN)
    ground.until("DatabaseUser", "reader", "Ready")


@pytest.mark.usefixtures("operator")
def test_an_admin_secret_that_comes_late_wakes_its_dbcluster(ground: Ground) -> None:
    ground.create(ground.cluster(ground.unique, ground.unique, checkInterval="24h"))
    ground.until_blocked("DBCluster", ground.unique, "SecretNotFound")
    ground.create(ground.admin_secret(ground.unique), OWN)
    ground.until("DBCluster", ground.unique, "Connected")


@pytest.mark.usefixtures("operator")
def test_a_deleted_credentials_secret_comes_back_and_works(ground: Ground) -> None:
    ground.create_everything()
    before = ground.credentials()
    ground.delete("Secret", "reader-credentials")
    eventually(lambda: ground.credentials().get("password", before["password"]) != before["password"], "a new Secret")
    after = ground.credentials()
    eventually(lambda: ground.can_log_in(after["password"]), "the new password works")
    assert not ground.can_log_in(before["password"])
    assert {**after, "password": ""} == {**before, "password": ""}


@pytest.mark.usefixtures("operator")
def test_an_edited_credentials_secret_is_applied_to_the_server_and_mended_elsewhere(ground: Ground) -> None:
    ground.create_everything()
    before = ground.credentials()
    edit = {"stringData": {"password": "chosen-by-a-person", "host": "elsewhere"}}
    ground.patch("Secret", "reader-credentials", edit)
    eventually(lambda: ground.can_log_in("chosen-by-a-person"), "the edited password works")
    eventually(lambda: ground.credentials().get("host") == before["host"], "the edited host is put right")
    assert ground.credentials()["password"] == "chosen-by-a-person"


@pytest.mark.usefixtures("operator")
def test_a_label_of_the_namespace_opens_a_dbcluster_to_it(ground: Ground) -> None:
    ground.create_cluster(namespaceSelector={"matchLabels": {"team": ground.unique}})
    ground.create(ground.database())
    ground.create(ground.user())
    assert "does not admit" in ground.until_blocked("Database", "app", "ClusterNotFound")
    ground.patch("Namespace", ground.team, {"metadata": {"labels": {"team": ground.unique}}})
    ground.until("DatabaseUser", "reader", "Ready")


@pytest.mark.usefixtures("operator")
def test_a_label_taken_from_the_namespace_closes_the_dbcluster_and_takes_the_access(ground: Ground) -> None:
    ground.patch("Namespace", ground.team, {"metadata": {"labels": {"team": ground.unique}}})
    ground.create_cluster(namespaceSelector={"matchLabels": {"team": ground.unique}})
    ground.create(ground.database())
    ground.create(ground.user())
    ground.until("DatabaseUser", "reader", "Ready")
    ground.patch("Namespace", ground.team, {"metadata": {"labels": {"team": None}}})
    ground.until_blocked("Database", "app", "ClusterNotFound")
    password = ground.credentials()["password"]
    eventually(lambda: not ground.can_log_in(password), "the login no longer gets into the database")


@pytest.mark.usefixtures("operator")
def test_a_reconcile_annotation_finds_what_was_changed_on_the_server(ground: Ground) -> None:
    ground.create_everything()
    with ground.server.connect() as connection:
        connection.execute(f'ALTER ROLE "{ground.unique}-reader" NOLOGIN'.encode())
    ground.annotate("DatabaseUser", "reader", "dbtether.io/reconcile", "now")
    eventually(lambda: ground.can_log_in(ground.credentials()["password"]), "the login is mended")
