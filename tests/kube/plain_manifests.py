"""The plain manifests of config/rbac and config/manager, as the chart gives them with its default values.

`python -m tests.kube.plain_manifests` writes them; a test tells when they are out of date.
"""

import re
import subprocess
from pathlib import Path

from tests.kube.programs import NEWEST, Programs

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "dbtether"
NAMESPACE = "postgres-operator-system"

_FOLDERS = {
    "service-account.yaml": "rbac",
    "manager-role.yaml": "rbac",
    "namespace-roles.yaml": "rbac",
    "user-roles.yaml": "rbac",
    "deployment.yaml": "manager",
    "metrics.yaml": "manager",
    "admission-policies.yaml": "manager",
}
"""Where the objects of each template go; a template that is not here must give none by default."""

_HEADER = "# Made from charts/dbtether by `make crds`. Do not edit: change the chart.\n"
_OF_HELM = re.compile(r"^\s+(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: dbtether/templates/(\S+)\n", re.MULTILINE)

# Named so that kubectl applies it before what is in it.
_NAMESPACE_FILE = "rbac/00-namespace.yaml"
_NAMESPACE_TEXT = f"""\
{_HEADER}apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/name: dbtether
    pod-security.kubernetes.io/enforce: restricted
"""


def plain_manifests() -> dict[str, str]:
    """The text of each file by its path below config/. Raises NoPrograms when there is no helm."""
    told = subprocess.run(
        [
            *(str(Programs(NEWEST).find("helm")), "template", "dbtether", str(CHART)),
            *("--namespace", NAMESPACE, "--set", "crds.install=false"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = {_NAMESPACE_FILE: _NAMESPACE_TEXT}
    for document in re.split(r"^---\n", told, flags=re.MULTILINE):
        source = _SOURCE.search(document)
        if source is None:
            continue
        path = f"{_FOLDERS[source[1]]}/{source[1]}"
        text = _OF_HELM.sub("", _SOURCE.sub("", document)).strip() + "\n"
        files[path] = f"{files[path]}---\n{text}" if path in files else _HEADER + text
    return files


def main() -> None:
    """Write the files."""
    for path, text in plain_manifests().items():
        target = REPOSITORY / "config" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
