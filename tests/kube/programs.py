"""Where the programs of the Kubernetes tests come from: a folder that the environment names, else Go modules.

Each folder of `go/` pins one version of Kubernetes and all it is built from. A build takes minutes once, and is
kept in the cache beside the PostgreSQL builds, under a name that changes with what it was built from.
`python -m tests.kube.programs` builds all that is missing, both versions at a time.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.servers.npm import cache_folder, exclusive

NEWEST = "1.36"
VERSIONS = (NEWEST, "1.31")
"""What is tested: the newest Kubernetes and the oldest one that dbtether promises to run on."""

_MODULES = Path(__file__).parent / "go"
_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v3/cmd/helm",
}
_OF_THE_VERSION = ("kube-apiserver", "kube-controller-manager")
"""The other programs serve any version, and are built once, from the newest one's module."""
_BUILD_TIMEOUT_SECONDS = 3600


class NoPrograms(Exception):
    """A program that cannot be had here; the message names each source and why it did not serve."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one version of Kubernetes, each looked for when it is first asked for."""

    version: str

    def find(self, name: str) -> Path:
        """Return the program's path, built first when neither the environment nor the cache has it.

        Raises NoPrograms when there is no way to it.
        """
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        # The folder holds one version, the newest; and only etcd, kube-apiserver and kubectl, as a rule.
        if assets and self.version == NEWEST and (Path(assets) / name).exists():
            return Path(assets) / name
        try:
            return _built(self.version if name in _OF_THE_VERSION else NEWEST, name)
        except NoPrograms as error:
            told = f"KUBEBUILDER_ASSETS={assets} does not hold it" if assets else "KUBEBUILDER_ASSETS is not set"
            raise NoPrograms(f"{name} of Kubernetes {self.version} cannot be had: {told}; {error}") from None

    @property
    def source(self) -> str:
        """Say in a few words where the API server came from."""
        program = self.find("kube-apiserver")
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return f"{said} from {'Go modules' if program.is_relative_to(cache_folder()) else program.parent}"


def _built(version: str, name: str) -> Path:
    module = _MODULES / version
    release = _release(module)
    told = b"".join((module / file).read_bytes() for file in ("go.mod", "go.sum"))
    folder = cache_folder() / "kubernetes" / f"{release}-{hashlib.sha256(told).hexdigest()[:12]}"
    program = folder / name
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / "build.lock"):
        if not program.exists():
            unfinished = folder / f".{name}.{os.getpid()}"
            try:
                _build(module, release, _PACKAGES[name], unfinished)
                unfinished.rename(program)
            finally:
                unfinished.unlink(missing_ok=True)
    return program


def _release(module: Path) -> str:
    found = re.search(r"^(?:require)?\s*k8s\.io/kubernetes (v\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise NoPrograms(f"{module / 'go.mod'} does not require k8s.io/kubernetes")
    return found[1]


def _build(module: Path, release: str, package: str, target: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise NoPrograms("Go is not installed to build it")
    version = "k8s.io/component-base/version"
    major, minor, _ = release.removeprefix("v").split(".", 2)
    helm = "helm.sh/helm/v3/pkg/chartutil"
    # Without them the server names itself v0.0.0, and helm takes every cluster for a Kubernetes 1.20.
    stamps = (
        *(f"{version}.gitVersion={release}", f"{version}.gitMajor={major}", f"{version}.gitMinor={minor}"),
        *(f"{helm}.k8sVersionMajor={major}", f"{helm}.k8sVersionMinor={minor}"),
    )
    flags = " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])
    try:
        ended = subprocess.run(
            [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", target, package],
            cwd=module,
            env={**os.environ, "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoPrograms(f"go build {package} did not end in {_BUILD_TIMEOUT_SECONDS} seconds") from None
    if ended.returncode != 0:
        raise NoPrograms(f"go build {package} failed: {ended.stderr.strip()[-500:]}")


def main() -> int:
    """Build what is missing; 1 when something cannot be had, which is then named."""

    def build(version: str) -> list[str]:
        problems = []
        for name in _PACKAGES:
            try:
                Programs(version).find(name)
            except NoPrograms as error:
                problems.append(str(error))
        return problems

    # One after the other would leave the machine idle while the last packages of a build are linked.
    with ThreadPoolExecutor(len(VERSIONS)) as threads:
        problems = [problem for found in threads.map(build, VERSIONS) for problem in found]
    print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
