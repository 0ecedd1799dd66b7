"""The control planes of one test process: one per version shared by its tests, private ones beside, none left over."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kube.control_plane import ControlPlane
from tests.kube.kube import Kube
from tests.kube.programs import NoPrograms, Programs

_PREFIX = "dbtether-kube-"
_LOCK = "in-use.lock"


class Kubes:
    """Starts control planes on demand in one temporary folder, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: dict[str, Kube] = {}
        self._all: list[Kube] = []
        self.used: dict[str, str] = {}
        """A line for each version that was asked for: where it came from, or why it is missing."""

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Kubes"]:
        """Give control planes in a new folder; at the end they are stopped and the folder is gone."""
        _sweep()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        unlocked = folder / "new.lock"
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another run's sweep must never find the lock's file before it is locked.
            unlocked.rename(folder / _LOCK)
            kubes = cls(folder)
            try:
                yield kubes
            finally:
                for kube in kubes._all:
                    kube.plane.stop()
                shutil.rmtree(folder, ignore_errors=True)

    def shared(self, version: str) -> Kube:
        """Return this process's Kubernetes of a version, started at its first use."""
        if version not in self._shared:
            self._shared[version] = self.private(version)
        return self._shared[version]

    def private(self, version: str) -> Kube:
        """Return a new Kubernetes of one's own, to stop and kill at will. Raises NoPrograms when it cannot be had."""
        programs = Programs(version)
        folder = self._folder / f"{version}-{len(self._all)}"
        folder.mkdir(exist_ok=True)
        try:
            kube = Kube(ControlPlane.started(programs, folder))
        except NoPrograms as error:
            self.used[version] = f"MISSING: {error}"
            raise
        self.used[version] = programs.source
        self._all.append(kube)
        return kube

    def discard(self, kube: Kube) -> None:
        """Stop a private Kubernetes and remove its files."""
        kube.plane.stop()
        shutil.rmtree(kube.plane.folder, ignore_errors=True)


def _sweep() -> None:
    """Clear what a killed run left behind: its watchdogs have ended its processes, its folders are still there."""
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        # Another account's folder cannot be opened, and is not ours to clear.
        with contextlib.suppress(OSError), (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
