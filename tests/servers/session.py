"""The servers of one test process: one per major shared by its tests, private ones beside, none left over."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
from tests.servers.builds import Build, NoBuild, find_build
from tests.servers.server import Server

_PREFIX = "dbtether-servers-"
_LOCK = "in-use.lock"


class Servers:
    """Starts servers on demand in one temporary folder, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builds: dict[int, Build | NoBuild] = {}
        self._shared: dict[int, Server] = {}
        self._private: list[Server] = []
        self._made = 0

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Servers"]:
        """Give servers in a new folder; at the end they are stopped and the folder is gone.

        What a killed run left behind is cleared first: its watchdogs have ended its servers, its folders
        are still there.
        """
        _sweep()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        servers = cls(folder)
        unlocked = folder / "new.lock"
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another run's sweep must never find the lock's file before it is locked.
            unlocked.rename(folder / _LOCK)
            folder.chmod(0o711)
            try:
                yield servers
            finally:
                servers._stop_all()
                shutil.rmtree(folder, ignore_errors=True)

    def build(self, major: int) -> Build:
        """Return the build of a major, looked for once. Raises NoBuild when there is none."""
        if major not in self._builds:
            try:
                self._builds[major] = find_build(major)
            except NoBuild as error:
                self._builds[major] = error
        found = self._builds[major]
        if isinstance(found, NoBuild):
            raise found
        return found

    def shared(self, major: int) -> Server:
        """Return this process's server of a major, started at its first use."""
        if major not in self._shared:
            self._shared[major] = self._make(major)
        return self._shared[major]

    def private(self, major: int) -> Server:
        """Return a new server of one's own, to stop and kill at will."""
        server = self._make(major)
        self._private.append(server)
        return server

    def discard(self, server: Server) -> None:
        """Stop a private server and remove its files."""
        self._private.remove(server)
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)

    def used(self) -> dict[int, str]:
        """Return a line for each major that was asked for: its version and source, or why it is missing."""
        return {
            major: f"MISSING: {found}" if isinstance(found, NoBuild) else f"{found.version} from {found.source}"
            for major, found in sorted(self._builds.items())
        }

    def _make(self, major: int) -> Server:
        self._made += 1
        return Server.make(self.build(major), self._folder / f"{major}-{self._made}")

    def _stop_all(self) -> None:
        for server in (*self._shared.values(), *self._private):
            server.stop()


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        # Another account's folder cannot be opened, and is not ours to clear.
        with contextlib.suppress(OSError), (folder / _LOCK).open() as lock:
            if _is_free(lock):
                for pid_file in folder.glob("*/data/postmaster.pid"):
                    _end_leftover(pid_file)
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_leftover(pid_file: Path) -> None:
    pid = int(pid_file.read_text().splitlines()[0])
    # The pid may long be another process's: only one that runs on this very folder is ours.
    with contextlib.suppress(psutil.Error):
        if str(pid_file.parent) in psutil.Process(pid).cmdline():
            os.kill(pid, signal.SIGQUIT)
