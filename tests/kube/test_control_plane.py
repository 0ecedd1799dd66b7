"""The Kubernetes that other tests stand on behaves as promised."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest
from tests.kube.kube import Kube
from tests.servers.processes import ends_within

_STARTS_AND_WAITS = """
from tests.kube.programs import NEWEST
from tests.kube.session import Kubes
with Kubes.opened() as kubes:
    kube = kubes.shared(NEWEST)
    print(*(child.pid for child in kube.plane._children.values()), flush=True)
    input()
"""


def test_the_server_has_the_version_asked_for(kube: Kube) -> None:
    version = kube.request("GET", "/version").body
    assert f"{version['major']}.{version['minor']}" == kube.plane.programs.version


def test_it_listens_on_loopback_alone(kube: Kube) -> None:
    connections = psutil.Process(kube.plane.api_server.pid).net_connections("inet")
    assert {each.laddr.ip for each in connections if each.status == "LISTEN"} == {"127.0.0.1"}


def test_a_service_account_has_only_the_rights_it_was_given(kube: Kube, namespace: str) -> None:
    kube.kubectl("-n", namespace, "create", "serviceaccount", "reader")
    kube.kubectl(
        "-n", namespace, "create", "rolebinding", "r", "--clusterrole=view", f"--serviceaccount={namespace}:reader"
    )
    config = kube.service_account_kubeconfig(namespace, "reader")
    assert kube.kubectl("-n", namespace, "get", "configmaps", kubeconfig=config).returncode == 0
    refused = kube.kubectl("-n", namespace, "get", "secrets", kubeconfig=config, check=False)
    assert f"system:serviceaccount:{namespace}:reader" in refused.stderr
    assert "forbidden" in refused.stderr


def test_a_person_logs_in_with_a_certificate(kube: Kube) -> None:
    config = kube.user_kubeconfig("jane", ["developers"])
    said = kube.kubectl(
        "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}", kubeconfig=config
    )
    assert said.stdout.startswith('jane ["developers"')


def test_the_controllers_run(kube: Kube, namespace: str) -> None:
    kube.kubectl("-n", namespace, "create", "job", "j", "--image=none")
    kube.kubectl("-n", namespace, "wait", "--for=create", "pod", "-l", "job-name=j", "--timeout=60s")


def test_a_killed_api_server_comes_back_where_it_was(fresh_kube: Callable[[], Kube]) -> None:
    kube = fresh_kube()
    url, name = kube.url, kube.create_namespace()
    kube.plane.api_server.send(signal.SIGKILL)
    kube.plane.api_server.wait()
    kube.plane.start_api_server()
    assert kube.url == url
    assert kube.request("GET", f"/api/v1/namespaces/{name}").status == 200


@pytest.mark.usefixtures("kube")
def test_nothing_outlives_a_test_run_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS_AND_WAITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert len(pids) == 3
    assert all(ends_within(pid, 10) for pid in pids)
