"""Whether a process that another program started is still the same one: ids are given out again."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Positions after the command's name in /proc/<pid>/stat (proc_pid_stat(5): fields 3 and 22)."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process and its time of start, in the system's own words."""

    pid: int
    started: str

    def text(self) -> str:
        """As it is written down."""
        return f"{self.pid}\n{self.started}\n"

    @classmethod
    def parse(cls, text: str) -> "ProcessId | None":
        """What was written down; None when that is something else."""
        pid, _, started = text.partition("\n")
        return cls(int(pid), started.strip()) if pid.isascii() and pid.isdigit() and int(pid) > 1 else None


def process_id(pid: int) -> ProcessId:
    """The identity of a process that runs now."""
    return ProcessId(pid, _started(pid) or "")


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs; one that waits to be reaped does not."""
    started = _started(process.pid)
    return started is not None and started == process.started


def _started(pid: int) -> str | None:
    if not _PROC.joinpath("self", "stat").exists():
        return _started_by_ps(pid)
    try:
        fields = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Ticks since the boot: with the boot's own id, so that a pid of before a restart is no match.
    boot = _PROC.joinpath("sys", "kernel", "random", "boot_id").read_text().strip()
    return None if fields[_STATE] in "ZX" else f"{fields[_STARTED]} {boot}"


def _started_by_ps(pid: int) -> str | None:
    """Where there is no /proc, as on macOS."""
    said = subprocess.run(
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not said or said.startswith("Z") else said.partition(" ")[2].strip()
