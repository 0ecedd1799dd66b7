"""The port for work that outlives a reconcile: a program of ours in a process, or a Pod, of its own.

Two implementations: child processes (`runtime.local`) and Kubernetes Jobs. A job's program is started as
`dbtether job <arguments> FOLDER --result FILE`: it finds its files in FOLDER, prints its progress line by line,
and writes its result, a small JSON text, before it ends. What the result means is between the program and
whoever asked for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from dbtether.api.resource import Key

MAX_RESULT_BYTES = 4096
"""What a container's termination message holds (Kubernetes, "Determine the Reason for Pod Failure")."""
MAX_PROGRESS_CHARACTERS = 200


@dataclass(frozen=True, slots=True, repr=False)
class JobSpec:
    """A job to be done once; its repr never shows what is in the files."""

    name: str
    subject: Key
    """The resource that it works for, which its end wakes."""
    arguments: tuple[str, ...]
    files: Mapping[str, bytes]
    """Given to the program in a folder that nobody else may read; gone once it has ended."""
    labels: Mapping[str, str] = field(default_factory=dict)
    deadline_seconds: float | None = None
    """After so long it is ended."""
    ttl_seconds: float = 3600.0
    """How long its result is kept after its end."""
    folder: str | None = None
    """A folder beside its files that it works in: a backup's local storage."""

    def __repr__(self) -> str:
        return f"JobSpec({self.name!r}, {self.subject}, files={sorted(self.files)})"


class JobPhase(StrEnum):
    """Where a job is."""

    PENDING = "Pending"
    """Known, and nothing of it runs yet."""
    RUNNING = "Running"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of a job."""

    phase: JobPhase
    progress: str = ""
    """The last line that the program printed; of one that is Pending what it waits for, once that is known."""
    result: str | None = None
    """What it left; None when it was ended before it could."""
    why: str = ""
    """How it ended without a result, as the rest of a sentence: `was killed by signal 9`."""
    was_late: bool = False
    """Whether its deadline ended it."""


class Jobs(Protocol):
    """Starts jobs and tells of them. Raises StateError when they cannot be kept, Retryable for what passes, and
    Blocked when a person must do something before a job can run.
    """

    @property
    def poll_seconds(self) -> float:
        """How often somebody who waits for a job should look at its progress; its end wakes by itself."""
        ...

    async def ensure(self, spec: JobSpec) -> None:
        """Start the job, unless one of that name is known; a name is used for one job at a time."""
        ...

    async def state(self, name: str) -> JobState | None:
        """How far it is; None when there is none of that name."""
        ...

    async def delete(self, name: str) -> bool:
        """End the job and forget it. False while it may still be running: ask again."""
        ...

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with a job's subject when it has ended, or is gone, or waits for something else."""
        ...


def printable_line(text: str) -> str:
    """The last line of a program's output that says something, short and without control characters."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return "".join(character if character.isprintable() else " " for character in line)[:MAX_PROGRESS_CHARACTERS]
