"""What breaks around the operator, and the operator itself: it goes on, and leaves nothing behind."""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kube.fixtures import CRDS
from tests.kube.installing import install
from tests.kube.kube import Kube
from tests.operator.operating import NEVER, OWN, Ground, Operator, eventually, operating, standing
from tests.servers.server import Server

pytestmark = pytest.mark.majors(18)


def test_an_api_server_that_dies_and_comes_back_is_taken_up_again(
    fresh_kube: Callable[[], Kube], server: Server, unique: str, tmp_path: Path
) -> None:
    kube = fresh_kube()
    install(kube)
    with standing(kube, server, unique) as ground, operating(kube, tmp_path, *NEVER) as operator:
        ground.create_everything()
        pid, password = operator.child.pid, ground.credentials()["password"]
        kube.plane.api_server.stop(signal.SIGKILL)
        eventually(lambda: operator.ask(operator.health_port, "/readyz")[0] == 503, "it says that it sees nothing")
        assert operator.ask(operator.health_port, "/healthz") == (200, "ok")
        assert ground.can_log_in(password)
        kube.plane.start_api_server()
        ground.delete("DatabaseUser", "reader")
        ground.create(ground.user("later"))
        ground.until("DatabaseUser", "later", "Ready")
        ground.until_gone("DatabaseUser", "reader")
        eventually(lambda: operator.ask(operator.health_port, "/readyz") == (200, "ok"), "it is ready again")
        assert operator.child.pid == pid
        assert operator.child.returncode is None


def test_an_operator_killed_at_any_point_converges_and_leaves_no_orphan(ground: Ground, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    operator = Operator(ground.kube, tmp_path, *NEVER)
    ground.create_cluster()
    names = [f"reader-{number}" for number in range(4)]

    def create() -> None:
        ground.create(ground.database())
        for name in names:
            ground.create(ground.user(name))

    def delete() -> None:
        for name in names:
            ground.delete("DatabaseUser", name)
        ground.delete("Database", "app")

    def kill_at_some_point() -> None:
        operator.start()
        # From before the first request to the midst of the work, which takes some 0.3 s once it began.
        eventually(lambda: operator.works() or operator.child.returncode is not None, "it works")
        time.sleep(chance.uniform(0, 0.4))
        operator.stop(signal.SIGKILL)

    try:
        for _ in range(2):
            create()
            for _ in range(3):
                kill_at_some_point()
            operator.start()
            for name in names:
                ground.until("DatabaseUser", name, "Ready")
                assert ground.can_log_in(ground.credentials(name)["password"], name)
            operator.stop(signal.SIGKILL)
            delete()
            for _ in range(2):
                kill_at_some_point()
            operator.start()
            eventually(lambda: not ground.all("DatabaseUser") + ground.all("Database"), "everything is gone")
            assert (ground.databases(), ground.roles()) == ([], [])
            assert not [one for one in ground.all("Secret") if one["metadata"]["name"].startswith("reader")]
            operator.stop(signal.SIGKILL)
    except BaseException:
        print(operator.log.read_text()[-6000:])
        raise
    finally:
        operator.stop(signal.SIGKILL)
    assert "Traceback" not in operator.log.read_text()


def test_a_server_that_is_down_fails_alone_and_is_taken_up_when_it_is_back(
    ground: Ground, fresh_server: Callable[[int], Server], tmp_path: Path
) -> None:
    other = fresh_server(18)
    name = f"{ground.unique}-down"
    with operating(ground.kube, tmp_path, *NEVER):
        ground.create(ground.admin_secret(name, other.admin), OWN)
        ground.create(ground.cluster(name, name, other, checkInterval="5s"))
        ground.create(ground.database("far", name))
        ground.create(ground.user("far-reader", "far"))
        ground.until("DatabaseUser", "far-reader", "Ready")
        other.stop()
        assert "trying again" in ground.until_blocked("DBCluster", name, "ConnectionFailed")
        assert ground.phase("DBCluster", name) == "Failed"
        ground.create_everything()
        ground.create(ground.user("far-later", "far"))
        ground.delete("DatabaseUser", "far-reader")
        assert "is not connected" in ground.until_blocked("DatabaseUser", "far-later", "DatabaseNotReady")
        other.start()
        ground.until("DBCluster", name, "Connected")
        ground.until("DatabaseUser", "far-later", "Ready")
        ground.until_gone("DatabaseUser", "far-reader")
        ground.delete("DatabaseUser", "far-later")
        ground.delete("Database", "far")
        ground.until_gone("Database", "far")


def test_somebody_who_writes_all_the_time_holds_up_nothing_and_has_nothing_done_twice(
    ground: Ground, tmp_path: Path
) -> None:
    has_ended = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not has_ended.is_set():
            for kind, name in (("Database", "app"), ("DatabaseUser", "reader"), ("DBCluster", ground.unique)):
                body = {"metadata": {"annotations": {"example.com/seen": str(written)}}}
                path = ground.path(kind, name)
                ground.kube.request("PATCH", path, body, content_type="application/merge-patch+json")
                written += 1

    with operating(ground.kube, tmp_path, *NEVER) as operator:
        eventually(operator.works, "it works")
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            ground.create_cluster()
            ground.create(ground.database())
            ground.create(ground.user())
            ground.until("DatabaseUser", "reader", "Ready")
        finally:
            has_ended.set()
            for thread in threads:
                thread.join()
        assert ground.can_log_in(ground.credentials()["password"])
        done = [line["message"] for line in operator.audit()]
        assert len(done) == len(set(done)), done
        refused = operator.metrics().get('dbtether_api_requests_total{code="409",verb="PUT"}', 0)
        print(f"{written} writes of others, {refused:.0f} of ours refused")
        assert refused > 0
        assert [line for line in operator.said() if line["level"] == "error"] == []


def test_a_secret_as_large_as_secrets_can_be_is_read_as_any_other(ground: Ground, tmp_path: Path) -> None:
    secret = ground.admin_secret(ground.unique)
    secret["stringData"]["junk"] = "x" * (1024 * 1024 - 500)
    ground.create(secret, OWN)
    with operating(ground.kube, tmp_path, *NEVER):
        ground.create(ground.cluster(ground.unique, ground.unique))
        ground.until("DBCluster", ground.unique, "Connected")
        # Its changes are told as well, and the login is taken from it anew.
        ground.patch("Secret", ground.unique, {"stringData": {"password": "wrong"}}, OWN)
        ground.until_blocked("DBCluster", ground.unique, "AuthenticationFailed")


def test_a_secret_that_the_namespace_has_no_room_for_is_told_and_stored_once_there_is(
    ground: Ground, tmp_path: Path
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}}
    ground.create({**quota, "spec": {"hard": {"count/secrets": "0"}}})
    eventually(lambda: ground.status("ResourceQuota", "full").get("hard"), "the quota is in force")
    with operating(ground.kube, tmp_path, *NEVER) as operator:
        ground.create_cluster()
        ground.create(ground.database())
        ground.create(ground.user())
        message = ground.until_blocked("DatabaseUser", "reader", "SecretRefused")
        assert f"Secret {ground.team}/reader-credentials was not stored" in message
        assert "ResourceQuotas" in message
        # A log that names it, and no status that is written at every attempt.
        before = ground.get("DatabaseUser", "reader")
        time.sleep(3)
        assert ground.get("DatabaseUser", "reader") == before
        ground.delete("ResourceQuota", "full")
        ground.until("DatabaseUser", "reader", "Ready")
        assert ground.can_log_in(ground.credentials()["password"])
        assert operator.child.returncode is None


def test_a_stored_field_that_nobody_knows_is_named_and_gone_with_the_crd_that_let_it_in(
    ground: Ground, tmp_path: Path
) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/databaseusers.dbtether.io"
    shipped = str(CRDS / "dbtether.io_databaseusers.yaml")
    lax = ground.kube.request("GET", crd).body
    spec = lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-preserve-unknown-fields"] = True
    with operating(ground.kube, tmp_path, *NEVER) as operator:
        try:
            assert ground.kube.request("PUT", crd, lax).status == 200

            def is_kept() -> bool:
                ground.kube.request("DELETE", ground.path("DatabaseUser", "reader"))
                ground.until_gone("DatabaseUser", "reader")
                ground.create(ground.user(privilegs="readonly"))
                return "privilegs" in (ground.get("DatabaseUser", "reader") or {})["spec"]

            eventually(is_kept, "the API server keeps fields that it does not know")
            ground.create_cluster()
            ground.create(ground.database())
            ground.until("Database", "app", "Ready")
            message = ground.until_blocked("DatabaseUser", "reader", "InvalidSpec")
            assert 'spec.privilegs: unknown field; did you mean "privileges"?' in message
        finally:
            # With its configuration, as `kubectl apply` had stored it: the next apply finds nothing odd.
            ground.kube.kubectl("replace", "--save-config", "-f", shipped)
        operator.stop()
        # The upgrade to the shipped CRD: the field is not served any more, and the next write drops it.
        eventually(
            lambda: "privilegs" not in (ground.get("DatabaseUser", "reader") or {})["spec"], "the CRD's rules hold"
        )
        operator.start()
        ground.until("DatabaseUser", "reader", "Ready")
        assert ground.can_log_in(ground.credentials()["password"])
