"""The reconcile contract: a key goes in, one of four outcomes comes out.

Done and Again are returned; Retryable and Blocked (dbtether.errors) are raised. A StateError, mostly a
conflict in the store, is retried as a Retryable is. Anything else that is raised is a bug.
`runtime.controller` is the one place that tells them apart and counts them.

A key is reconciled when its resource is new or asks for something else, when what it references changed, and
when the outcome said so; never because of what its own reconcile wrote. A reconcile that wants to be
called again after its own write returns Again(0).
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from dbtether.api.resource import Key

resync_seconds: ContextVar[float | None] = ContextVar("resync_seconds", default=None)
"""The interval of the resync that alone has asked for the running reconcile; None when something happened."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing left to do until something changes."""


@dataclass(frozen=True, slots=True)
class Again:
    """Settled for now; look again after so many seconds."""

    after_seconds: float


Outcome = Done | Again


class Reconciler(Protocol):
    """What a controller offers to the loop."""

    async def reconcile(self, key: Key) -> Outcome:
        """Bring what `key` names to its desired state. Raises Retryable or Blocked."""
        ...

    def group(self, key: Key) -> str:
        """The name of the DBCluster that the key's work goes to, for fairness and limits; `""` if none."""
        ...
