"""driftPolicy Report: what differs on the server is told, not undone; one rule for databases and logins."""

from collections.abc import Mapping, Sequence

from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.resource import Resource
from dbtether.controllers.base import World
from dbtether.controllers.report import Level, Report
from dbtether.postgres.statement import Statement
from dbtether.runtime.store import EventType

NO_DRIFT: Mapping[str, None] = {"drift": None, "driftCount": None}
"""The status fields of a resource that is as its spec wants it."""


def is_drift(resource: Resource) -> bool:
    """Whether what differs now is drift: this very spec was applied before. Else it is a wish, and applied."""
    return bool(resource.status.get("appliedGeneration") == resource.generation)


async def report_drift(
    world: World,
    resource: Resource,
    what: str,
    statements: Sequence[Statement],
    fields: Mapping[str, object],
    cure: str,
) -> None:
    """Write down what differs, one sentence each, with an Event for what was not told before."""
    drift = [statement.purpose for statement in statements]
    message = (
        f"{what} differs from the spec in {len(drift)} point{'s' if len(drift) > 1 else ''}, "
        f"see status.drift: {cure} to have it undone"
    )
    shown = drift[:MAX_STATUS_ENTRIES]
    known = resource.status.get("drift")
    # The first time, the changed reason of the condition makes the Event.
    new = [sentence for sentence in shown if sentence not in known] if known else []
    if new:
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        await world.store.record_event(resource, EventType.WARNING, "DriftDetected", f"{new[0]}{more}")
    told = {**fields, "drift": shown, "driftCount": len(drift)}
    await world.write(resource, Report("Ready", Level.READY, "DriftDetected", message, told, warns=True))
