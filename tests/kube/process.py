"""A program as a child process that never outlives the process that started it.

It is ended by its own pid. Should the process that started it be killed, a small shell that holds the other end
of a pipe ends it as soon as the pipe closes.
"""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
_STOP_TIMEOUT_SECONDS = 30.0

# $1 is the pid, $2 a text among the program's arguments that no other process has: a pid that was given to
# another process since is left alone. `ps` is for systems without /proc.
_WATCHDOG = """
read -r _
{ tr '\\0' ' ' < "/proc/$1/cmdline" || ps -p "$1" -o args=; } 2>/dev/null | grep -qF -- "$2" && kill -KILL "$1"
"""


class Child:
    """A running program, its output in a file; `mark` is a text among its arguments that no other process has."""

    def __init__(
        self, arguments: Sequence[str | Path], log: Path, mark: str, env: Mapping[str, str] | None = None
    ) -> None:
        if not any(mark in str(argument) for argument in arguments):
            raise ValueError(f"{mark} is not among the arguments of {arguments[0]}")
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(argument) for argument in arguments],
                cwd=log.parent,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal reaches the whole group: the program must outlive our own cleaning up.
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "dbtether-watchdog", str(self._process.pid), mark],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the program ended; None while it runs."""
        return self._process.poll()

    def send(self, how: signal.Signals) -> None:
        """Send a signal, if the program still runs."""
        self._process.send_signal(how)

    def wait(self, seconds: float = _STOP_TIMEOUT_SECONDS) -> int:
        """Return the exit code once the program has ended. Raises TimeoutExpired when it does not."""
        return self._process.wait(seconds)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the program and return once it has ended; doing it twice does nothing."""
        if self.returncode is None:
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

    def last_lines(self, count: int = 8) -> str:
        """Return the end of what the program said."""
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-count:]) or "it said nothing"


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
