"""A PostgreSQL server as a child process: made, started and ended by its own pid.

It runs any server from 13 on, given the folder of its programs, and listens on loopback only. It never
looks for a server to stop by name or by port, and never puts a password into an argument or the environment.

No server outlives the process that started it, however that one ends: a small watchdog holds the other end
of a pipe, and stops the server once the pipe closes.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dbtether.errors import DbtetherError

HOST = "127.0.0.1"
SUPERUSER = "postgres"

# C.UTF-8 sorts by code point and still knows every letter; only Linux is sure to have it.
_LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 30.0
_PORT_ATTEMPTS = 5
_POLL_SECONDS = 0.01
_READY_LINE = 7  # of postmaster.pid: the postmaster writes "ready" there once it takes connections

# $1 is the server's pid, $2 its postmaster.pid. `read` returns when every writer of the pipe is gone; the
# file is compared first, so that a pid which was given to another process since is left alone.
_WATCHDOG = 'read -r _; [ "$(head -n 1 "$2" 2>/dev/null)" = "$1" ] && kill -QUIT "$1"'


class EmbeddedServerError(DbtetherError):
    """A server that could not be made or started; the message ends with what the server itself said."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that a server runs as."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the account to run a server as, or None when the current one will do.

    PostgreSQL refuses to run as root. `nobody` is there on every system and owns no other server's data,
    as `postgres` may.
    """
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def run_program(program: Path, arguments: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the server's account and return how it ended, with its output."""
    account = server_account()
    return subprocess.run(
        [str(program), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def usable_programs(programs: Path, copies: Path) -> Path:
    """Return a folder of the same programs that the server's account can run.

    Root's own folders are often closed to others, with a virtual environment inside: then the installation
    is copied under `copies`. The person's folders keep their modes.
    """
    try:
        run_program(programs / "postgres", ["--version"], cwd=Path("/"))
    except PermissionError:
        return _copied_programs(programs, copies)
    return programs


def _copied_programs(programs: Path, copies: Path) -> Path:
    installation = programs.parent
    package = installation.parent
    # Another version in the same place is another copy.
    copy = copies / f"programs-{(programs / 'postgres').stat().st_mtime_ns:x}"
    if not copy.exists():
        unfinished = copies / f".{copy.name}.{os.getpid()}"
        shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
        # A wheel's programs look for their libraries beside the package, by a relative path.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        _give_to_server_account(unfinished)
        unfinished.rename(copy)
    return copy / package.name / installation.name / programs.name


def prepare_directory(directory: Path) -> None:
    """Make the folder of a server if it is missing, and let the server's account pass through it.

    Raises EmbeddedServerError when a folder above is closed to that account.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = server_account()
    if account is None:
        return
    directory.chmod(directory.stat().st_mode | 0o011)
    entered = run_program(Path("/bin/sh"), ["-c", 'cd "$1"', "sh", str(directory)], cwd=Path("/"))
    if entered.returncode != 0:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and {account.name} cannot enter {directory}: choose a folder "
            "whose parents are open to all, for example under /tmp or /var/lib, or run as an ordinary user"
        )


def write_password_file(path: Path, password: str) -> None:
    """Write a password to a new file that only the server's account can read."""
    account = server_account()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account is not None:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(password + "\n")


def make_cluster(programs: Path, data: Path, password_file: Path) -> None:
    """Make a new data folder whose superuser has the password in the file; every login needs SCRAM.

    The folder appears under its name only when it is whole. Raises EmbeddedServerError when initdb fails.
    """
    unfinished = data.with_name(data.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account = server_account()
    if account is not None:
        os.chown(unfinished, account.uid, account.gid)
    arguments = [
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        f"--locale={_LOCALE}",
        "--no-sync",
    ]
    ended = run_program(programs / "initdb", arguments, cwd=data.parent)
    if ended.returncode != 0:
        raise EmbeddedServerError(f"initdb failed: {_last_lines(ended.stderr)}")
    unfinished.rename(data)


@dataclass(slots=True)
class PostgresProcess:
    """A running server, child of this process, with the watchdog that ends it should this process die."""

    port: int
    data: Path
    log: Path
    _process: "subprocess.Popen[bytes]" = field(repr=False)
    _watchdog: "subprocess.Popen[bytes]" = field(repr=False)

    @classmethod
    def start(cls, programs: Path, data: Path, log: Path, settings: Mapping[str, str], port: int | None = None) -> Self:
        """Start the server and return it once it takes connections, on a free port when none is given.

        Raises EmbeddedServerError when it does not start; the message ends with its last log lines.
        """
        if port is not None:
            return cls._start_at(port, programs, data, log, settings)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                return cls._start_at(_free_port(), programs, data, log, settings)
            except EmbeddedServerError as error:
                # Between asking for a free port and taking it, another process may have been quicker.
                if "could not bind" not in str(error) or attempt == _PORT_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def _start_at(cls, port: int, programs: Path, data: Path, log: Path, settings: Mapping[str, str]) -> Self:
        fixed = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "lc_messages": "C",
        }
        options = [part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}")]
        account = server_account()
        log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data), *options],
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal reaches the whole group: the server must outlive our own cleaning up.
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        server = cls(port, data, log, process, _start_watchdog(process.pid, data))
        try:
            server._wait_until_ready(log_start)
        except BaseException:
            server.stop(signal.SIGQUIT)
            raise
        return server

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the postmaster still runs."""
        return self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server and return once it has ended; doing it twice does nothing.

        PostgreSQL's documentation, "Shutting Down the Server": SIGINT ends the sessions and writes a
        checkpoint, SIGQUIT ends at once and leaves the rest to the recovery at the next start.
        """
        if self.is_running:
            self._process.send_signal(how)
            try:
                self._process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._watchdog.kill()
        self._watchdog.wait()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()

    def _wait_until_ready(self, log_start: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not self._says_ready():
            if not self.is_running:
                raise EmbeddedServerError(f"PostgreSQL did not start: {_log_tail(self.log, log_start)}")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"PostgreSQL was not ready in {_START_TIMEOUT_SECONDS:.0f} seconds: "
                    f"{_log_tail(self.log, log_start)}"
                )
            time.sleep(_POLL_SECONDS)

    def _says_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _READY_LINE and lines[0] == str(self.pid) and lines[_READY_LINE].strip() == "ready"


def _give_to_server_account(folder: Path) -> None:
    account = server_account()
    if account is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _start_watchdog(pid: int, data: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "dbtether-watchdog", str(pid), str(data / "postmaster.pid")],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _log_tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return _last_lines(file.read().decode(errors="replace"))


def _last_lines(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-5:]) or "it said nothing"
