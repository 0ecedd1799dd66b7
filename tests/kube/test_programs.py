"""Programs come from where the environment says, else from Go; what cannot be had is said, never passed over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kube.programs import NEWEST, VERSIONS, NoPrograms, Programs


def test_a_folder_that_the_environment_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert Programs(NEWEST).find("etcd") == tmp_path / "etcd"


@pytest.mark.parametrize("version", VERSIONS)
def test_without_any_source_the_sentence_names_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("DBTETHER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPrograms) as raised:
        Programs(version).find("kube-apiserver")
    assert str(raised.value) == (
        f"kube-apiserver of Kubernetes {version} cannot be had: KUBEBUILDER_ASSETS is not set; "
        "Go is not installed to build it"
    )


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 error"), ("", "1 skipped")], ids=["in CI", "elsewhere"])
def test_a_run_without_kubernetes_says_so(tmp_path: Path, ci: str, outcome: str) -> None:
    test = f"{Path(__file__).with_name('test_control_plane.py')}::test_a_person_logs_in_with_a_certificate"
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "DBTETHER_CACHE": str(tmp_path), "CI": ci}
    for name in ("KUBEBUILDER_ASSETS", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        environment.pop(name, None)
    if Path("/usr/bin/go").exists():
        environment["PATH"] = str(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in ended.stdout
    assert f"{NEWEST}: MISSING: etcd of Kubernetes {NEWEST} cannot be had" in ended.stdout
    assert (ended.returncode == 0) is (not ci)
