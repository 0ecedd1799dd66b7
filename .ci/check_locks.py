"""Fails when a lock file no longer fits pyproject.toml, or names where a package was fetched from."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"


def main() -> int:
    """Print each finding and return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {})
    needed = project["project"]["dependencies"]
    everything = [
        *needed,
        *project["dependency-groups"]["dev"],
        *(each for extra in extras.values() for each in extra),
    ]
    everything += project["build-system"]["requires"]
    found = [
        *_unfit(RUNTIME, needed),
        *_unfit(DEVELOPMENT, everything),
        *_different(),
        *(f"{name} names a host" for name in (RUNTIME, DEVELOPMENT) if "://" in (ROOT / name).read_text()),
    ]
    for finding in found:
        print(f"{finding}: run `make lock`", file=sys.stderr)
    return 1 if found else 0


def _unfit(lock: str, requirements: list[str]) -> Iterator[str]:
    pinned = _pinned(lock)
    for requirement in map(Requirement, requirements):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{lock} lacks {requirement}"
        elif version not in requirement.specifier:
            yield f"{lock} has {requirement.name} {version}, pyproject.toml wants {requirement.specifier}"


def _different() -> Iterator[str]:
    development = _pinned(DEVELOPMENT)
    for name, version in _pinned(RUNTIME).items():
        if development.get(name) != version:
            yield f"{DEVELOPMENT} has {name} {development.get(name)}, {RUNTIME} has {version}"


def _pinned(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


if __name__ == "__main__":
    sys.exit(main())
