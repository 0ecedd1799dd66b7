"""Files of the installation that no API server reads: the image's recipe, the chart's values, Argo CD's checks."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from dbtether.api.kinds import GROUP, KINDS

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "dbtether"


_INSTRUCTIONS = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "LABEL"}


def _keys(values: Any, schema: Any, path: str = "") -> list[str]:
    """The keys that only one of the values and their schema has."""
    properties = schema.get("properties")
    if not isinstance(values, dict) or properties is None:
        return []
    found = [f"{path}{name}" for name in values.keys() ^ properties.keys() if f"{path}{name}" != "global"]
    for name in values.keys() & properties.keys():
        found.extend(_keys(values[name], properties[name], f"{path}{name}."))
    return found


def test_every_value_of_the_chart_is_in_its_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert _keys(values, json.loads((CHART / "values.schema.json").read_text())) == []


def test_argo_cd_has_a_health_check_for_each_kind() -> None:
    checks = yaml.safe_load((REPOSITORY / "config" / "argocd" / "health.yaml").read_text())["data"]
    assert checks.keys() == {f"resource.customizations.health.{GROUP}_{kind}" for kind in KINDS}


def _stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        instruction, _, rest = line.partition(" ")
        assert instruction in {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "LABEL"}, (
            line
        )
        if instruction == "FROM":
            name = rest.rpartition(" AS ")[2]
            stages[name] = []
        stages[name].append((instruction, rest.strip()))
    return stages


def test_the_image_runs_as_an_ordinary_user_with_every_client() -> None:
    stages = _stages()
    image = stages["image"]
    assert [rest for instruction, rest in image if instruction == "USER"] == ["65532:65532"]
    assert [rest for instruction, rest in image if instruction == "ENTRYPOINT"] == ['["dbtether"]']
    assert ("ARG", 'POSTGRES_MAJORS="13 14 15 16 17 18"') in image
    sources = re.findall(r"--from=(\S+)", "\n".join(rest for _, rest in image))
    assert set(sources) <= stages.keys()


def test_the_image_is_built_from_files_that_are_there() -> None:
    copied = [rest.split()[:-1] for name, rest in _stages()["build"] if name == "COPY"]
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for name in (name for names in copied for name in names):
        assert (REPOSITORY / name).exists()
        assert f"!{name}" in ignored
