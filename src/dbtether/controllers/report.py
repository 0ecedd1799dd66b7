"""Statuses and Events: what a reconcile found, written only when it differs from what is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dbtether.api.kinds import KINDS, PAUSED
from dbtether.api.model import Condition, ConditionStatus
from dbtether.api.reasons import Reason
from dbtether.api.resource import Resource
from dbtether.runtime.store import EventType, Store


class Level(StrEnum):
    """How a resource is, as kstatus and people see it."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    """Something else must happen first, or an attempt is repeated."""
    STALLED = "Stalled"
    """A person must change something."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A condition of the kind's own, beside those that every kind has."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconcile has to say about its resource."""

    phase: str
    level: Level
    reason: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The kind's own status fields, by alias. Those that are not named keep their value; None removes one."""
    warns: bool = False
    """Whether people should look although the resource is Ready."""
    remarks: tuple[Remark, ...] = ()


_PAUSED_CONDITION = "Paused"
# On the way to something: no news until it is there, or fails.
_QUIET_PHASES = frozenset({"Waiting", "Creating", "Pending", "Running"})


def next_status(resource: Resource, report: Report, generation: int, now: datetime) -> dict[str, Any]:
    """The status after the report. Pure; equal to the old one when only a clock moved on."""
    old = resource.status
    status: dict[str, Any] = {**old, **report.fields}
    status |= {
        "phase": report.phase,
        "message": report.message,
        "observedGeneration": generation,
        "conditions": _conditions(old.get("conditions", ()), report, generation, now),
    }
    return {name: value for name, value in status.items() if value is not None and value != []}


def _conditions(old: Any, report: Report, generation: int, now: datetime) -> list[dict[str, Any]]:
    """Ready, kstatus' Reconciling and Stalled, which are there only while they are true, and the kind's own."""
    wanted = [Remark("Ready", report.level is Level.READY, report.reason, report.message)]
    if report.level is Level.PROGRESSING:
        wanted.append(Remark("Reconciling", True, report.reason, report.message))
    if report.level is Level.STALLED:
        wanted.append(Remark("Stalled", True, report.reason, report.message))
    wanted += report.remarks
    known = {entry.get("type"): entry for entry in old if isinstance(entry, dict)}
    conditions = []
    for remark in wanted:
        status = ConditionStatus.TRUE if remark.holds else ConditionStatus.FALSE
        built = Condition(
            type=remark.type,
            status=status,
            reason=remark.reason,
            message=remark.message,
            last_transition_time=now,
            observed_generation=generation,
        ).dump()
        previous = known.get(remark.type)
        if previous is not None and previous.get("status") == status:
            built["lastTransitionTime"] = previous.get("lastTransitionTime", built["lastTransitionTime"])
        conditions.append(built)
    return conditions


async def write_report(store: Store, resource: Resource, report: Report, generation: int, now: datetime) -> Resource:
    """Write the status if it differs, and an Event when the reason of the Ready condition is a new one.

    `generation` is the one that was reconciled: the resource may have been changed since.
    """
    status = next_status(resource, report, generation, now)
    if status == resource.status:
        return resource
    before = ready_reason(resource.status)
    written = await store.write_status(resource, status)
    if report.reason != before and report.phase not in _QUIET_PHASES:
        type_ = EventType.NORMAL if report.level is Level.READY and not report.warns else EventType.WARNING
        await store.record_event(written, type_, report.reason, report.message)
    return written


async def report_paused(store: Store, resource: Resource, now: datetime) -> None:
    """Say that nothing is done about the resource; what was last known of it stays beside that."""
    status = paused_status(resource, now)
    if status == resource.status:
        return
    written = await store.write_status(resource, status)
    await store.record_event(written, EventType.NORMAL, Reason.PAUSED, status["message"])


def paused_status(resource: Resource, now: datetime) -> dict[str, Any]:
    """The status of a paused resource: phase and conditions as they were, and one condition more. Pure."""
    waits = "; its deletion waits" if resource.deleted is not None else ""
    message = f"Paused: nothing is changed until the annotation {PAUSED} is removed{waits}"
    known = [entry for entry in resource.status.get("conditions", ()) if isinstance(entry, dict)]
    previous = next((entry for entry in known if entry.get("type") == _PAUSED_CONDITION), None)
    condition = Condition(
        type=_PAUSED_CONDITION,
        status=ConditionStatus.TRUE,
        reason=Reason.PAUSED,
        message=message,
        last_transition_time=now,
        observed_generation=resource.generation,
    ).dump()
    if previous is not None:
        condition["lastTransitionTime"] = previous.get("lastTransitionTime", condition["lastTransitionTime"])
    others = [entry for entry in known if entry.get("type") != _PAUSED_CONDITION]
    phase = KINDS[resource.key.kind].status.model_fields["phase"].default
    return {"phase": phase, **resource.status, "message": message, "conditions": [*others, condition]}


def ready_reason(status: Mapping[str, Any]) -> str | None:
    """The reason of the Ready condition; None when there is none yet."""
    for condition in status.get("conditions", ()):
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            reason = condition.get("reason")
            return reason if isinstance(reason, str) else None
    return None
