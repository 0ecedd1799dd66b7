"""What became of each reconcile: the labels, the counters and the result of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dbtether.api.resource import Key


class OutcomeLabel(StrEnum):
    """The four outcomes of the contract, and the two ways in which a reconcile breaks it."""

    DONE = "done"
    AGAIN = "again"
    RETRYABLE = "retryable"
    BLOCKED = "blocked"
    TIMEOUT = "timeout"
    BUG = "bug"


class RotationOutcome(StrEnum):
    """What became of an attempt to replace a password."""

    ROTATED = "rotated"
    REJECTED = "rejected"
    """The server takes no such password."""
    FAILED = "failed"
    """Tried again, from the start or from where it came to."""


@dataclass(slots=True)
class KindStatistics:
    """Counters of one kind; every outcome is there from the start, at 0."""

    outcomes: dict[OutcomeLabel, int]
    seconds_total: float = 0.0
    seconds_longest: float = 0.0

    def count(self, outcome: OutcomeLabel, seconds: float) -> None:
        """Add one reconcile."""
        self.outcomes[outcome] += 1
        self.seconds_total += seconds
        self.seconds_longest = max(self.seconds_longest, seconds)


def statistics_of_kinds(kinds: Iterable[str]) -> dict[str, KindStatistics]:
    """Counters for each kind, all at 0."""
    return {kind: KindStatistics(dict.fromkeys(OutcomeLabel, 0)) for kind in kinds}


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a run ended: what was still to be done, and what failed and waits for its next attempt."""

    unsettled: tuple[Key, ...]
    failing: tuple[Key, ...]

    @property
    def is_settled(self) -> bool:
        """Whether everything was done and nothing failed."""
        return not self.unsettled and not self.failing
