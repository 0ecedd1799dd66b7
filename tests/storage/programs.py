"""Where the object stores of the tests come from: Go modules and npm, built or installed once into the cache.

They stand beside the PostgreSQL builds, under names that carry their versions.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.servers.npm import cache_folder, exclusive

_GO = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
}
_AZURITE = "azurite@3.37.0"
_TIMEOUT_SECONDS = 1800


class NoStore(Exception):
    """An object store that cannot be had here; the message says why."""


def go_program(name: str) -> Path:
    """Return the path of a program that Go builds. Raises NoStore."""
    package = _GO[name]

    def build(folder: Path) -> None:
        go = shutil.which("go")
        if go is None:
            raise NoStore(f"{name} cannot be had: Go is not installed to build it")
        environment = {**os.environ, "GOBIN": str(folder), "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
        _run([go, "install", "-trimpath", "-ldflags", "-s -w", package], folder, environment, name)

    return _cached(f"{name}-{package.rpartition('@')[2]}", build) / name


def azurite() -> list[str | Path]:
    """Return how Azurite's blob service is started. Raises NoStore."""
    node = shutil.which("node")
    if node is None:
        raise NoStore("azurite cannot be had: Node.js is not installed")

    def install(folder: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise NoStore("azurite cannot be had: npm is not installed")
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), _AZURITE]
        _run(command, folder, dict(os.environ), "azurite")

    folder = _cached(_AZURITE.replace("@", "-"), install)
    return [node, folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"]


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, made first when it is not there; never a half-made one."""
    folder = cache_folder() / "stores" / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.with_name(f"{name}.lock")):
        if not folder.exists():
            unfinished = folder.with_name(f".{name}.{os.getpid()}")
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _run(command: list[str], folder: Path, environment: dict[str, str], name: str) -> None:
    try:
        ended = subprocess.run(
            ["nice", *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoStore(f"{name} cannot be had: {command[0]} did not end in {_TIMEOUT_SECONDS} seconds") from None
    if ended.returncode != 0:
        raise NoStore(f"{name} cannot be had: {(ended.stdout + ended.stderr).strip()[-300:]}")
