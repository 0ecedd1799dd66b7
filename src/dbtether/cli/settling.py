"""Runs the engine over a store until everything is settled, and gathers what became of each resource."""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from dbtether.api.kinds import PAUSED, SCHEDULE_LABEL
from dbtether.api.reasons import EXPLANATIONS
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_of
from dbtether.cli.failures import DEBUG, is_debugging
from dbtether.controllers.base import name_label
from dbtether.controllers.engine import opened_engine
from dbtether.controllers.executor import Executor
from dbtether.controllers.rotation import OVERDUE_SPREAD
from dbtether.errors import Retryable
from dbtether.runtime.jobs import Jobs
from dbtether.runtime.local import LocalJobs
from dbtether.runtime.outcomes import OutcomeLabel
from dbtether.runtime.store import Store

# Below the shortest checkInterval of a DBCluster (5 s), which would otherwise never count as settled.
_HORIZON_SECONDS = 2.0
NamespaceLabels = Callable[[str], Awaitable[Mapping[str, str]]]
"""The labels of a namespace."""

_READY_PHASES = frozenset({"Ready", "Connected", "Completed", "Active", "Suspended"})
_READY_BUT = ("GrantsIncomplete", "DriftDetected", "BackupOverdue", "RetentionIncomplete")


@dataclass(slots=True)
class Settled:
    """How a run ended."""

    unsettled: tuple[Key, ...] = ()
    failing: tuple[Key, ...] = ()
    bugs: dict[Key, str] = field(default_factory=dict)
    last_errors: dict[Key, Retryable] = field(default_factory=dict)
    """Why the last attempt failed, where the next one was under way when the time was over."""


@asynccontextmanager
async def quiet_logs(verbose: bool) -> AsyncIterator[None]:
    """Send our logs to stderr: warnings, and with `verbose` the audit lines; psycopg's own say nothing."""
    handler = _Lines()
    logger = logging.getLogger("dbtether")
    audit = logging.getLogger("dbtether.audit")
    logging.getLogger("psycopg").setLevel(logging.CRITICAL + 1)
    # A cancelled query of a closed pool is no news either.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    before = logger.level, logger.propagate, audit.level
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    audit.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        audit.setLevel(before[2])


class _Lines(logging.Handler):
    """One line a record, through the console, so that a live display stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        from dbtether.cli.output import printable, tell

        if record.exc_info and not is_debugging():
            # The result tells of it; the traceback is for who asks.
            return
        tell(printable(f"{record.getMessage()}{_where(record.__dict__)}"), style="dim")
        if record.exc_info:
            tell(logging.Formatter().formatException(record.exc_info))


def _where(fields: dict[str, Any]) -> str:
    """Where an audited statement ran, and how long its transaction took."""
    if "duration_seconds" not in fields:
        return ""
    return f"  [{fields['database'] or 'shared catalogs'}, {fields['duration_seconds'] * 1000:.0f} ms]"


async def settle(
    store: Store,
    wait_seconds: float,
    *,
    executor: Executor | None = None,
    namespace_labels: NamespaceLabels = name_label,
    secret_namespaces: frozenset[str] | None = None,
    local_root: Path | None = None,
    overdue_spread: timedelta = OVERDUE_SPREAD,
    jobs: Jobs | None = None,
) -> Settled:
    """Reconcile everything in the store until it is settled or the time is over."""
    settled = Settled()

    def on_outcome(key: Key, label: OutcomeLabel, error: BaseException | None, seconds: float) -> None:
        del seconds
        if isinstance(error, Retryable):
            settled.last_errors[key] = error
        else:
            settled.last_errors.pop(key, None)
        if label in (OutcomeLabel.BUG, OutcomeLabel.TIMEOUT):
            settled.bugs[key] = type(error).__name__
        else:
            settled.bugs.pop(key, None)

    async with opened_engine(
        store,
        executor=executor,
        on_outcome=on_outcome,
        namespace_labels=namespace_labels,
        secret_namespaces=secret_namespaces,
        local_root=local_root,
        overdue_spread=overdue_spread,
        jobs=jobs,
    ) as engine:
        settlement = await engine.loop.run_until_settled(wait_seconds, horizon_seconds=_HORIZON_SECONDS)
    settled.unsettled, settled.failing = settlement.unsettled, settlement.failing
    return settled


def local_jobs(state: str) -> LocalJobs:
    """The jobs of a state directory; only for whoever has it open to write."""
    return LocalJobs(Path(state).expanduser().absolute() / "jobs")


def local_storage_root(state: str) -> Path:
    """The folder that BackupStorages with `local` may use: the one that holds the state, unless another is named."""
    named = os.environ.get("DBTETHER_LOCAL_STORAGE_ROOT")
    return Path(named) if named else Path(state).absolute().parent


_SUCCESSES = {"Backup": "lastSuccessfulBackup", "Restore": "lastVerifiedRestore"}
"""Where a BackupSchedule tells when a run of its own was last good, by the run's kind."""


def is_ready(resource: Resource) -> bool:
    """Whether the resource is as its newest spec wants it."""
    return (
        resource.status.get("phase") in _READY_PHASES
        and _condition(resource, "Ready").get("status") == "True"
        and resource.status.get("observedGeneration") == resource.generation
        and resource.deleted is None
    )


def stuck(resources: Iterable[Resource], among: Iterable[Resource] | None = None) -> list[Resource]:
    """Those that are not as they should be, in their order; `among` has all that is known, where that is more.

    A pause is a person's wish, and a failed Backup or drill is history once a later one of its schedule was good.
    """
    resources = list(resources)
    history = _history(resources if among is None else among)
    return [one for one in resources if not (is_ready(one) or is_paused(one) or one.key in history)]


def _history(resources: Iterable[Resource]) -> frozenset[Key]:
    resources = list(resources)
    last = {
        (kind, one.key.namespace, one.key.name): instant_of(one.status, field)
        for one in resources
        if one.key.kind == "BackupSchedule"
        for kind, field in _SUCCESSES.items()
    }
    failed = [one for one in resources if one.key.kind in _SUCCESSES and one.status.get("phase") == "Failed"]
    found = []
    for run in failed:
        success = last.get((run.key.kind, run.key.namespace, run.labels.get(SCHEDULE_LABEL, "")))
        if success is not None and success > (instant_of(run.status, "completedAt") or run.created):
            found.append(run.key)
    return frozenset(found)


def is_paused(resource: Resource) -> bool:
    """Whether a person wants the resource left alone."""
    return resource.annotations.get(PAUSED) == "true"


def phase_of(resource: Resource) -> str:
    """The phase; Pending while nothing has looked at the resource."""
    return str(resource.status.get("phase") or "Pending")


def reason_of(resource: Resource) -> str:
    """The reason of the Ready condition; empty when there is none yet."""
    return str(_condition(resource, "Ready").get("reason") or "")


def _condition(resource: Resource, type_: str) -> dict[str, Any]:
    conditions = resource.status.get("conditions") or ()
    return next((entry for entry in conditions if isinstance(entry, dict) and entry.get("type") == type_), {})


def complaint(resource: Resource, settled: Settled) -> str:
    """One line on a resource that is not ready: what is wrong and what to do next."""
    if (bug := settled.bugs.get(resource.key)) is not None:
        return f"{resource.key}: a bug in dbtether ({bug}): run it again with {DEBUG}=1 and report what it prints"
    message = str(resource.status.get("message") or "nothing has looked at it yet")
    reason = reason_of(resource)
    if (error := settled.last_errors.get(resource.key)) is not None:
        message, reason = error.message, error.reason
    # What the engine would try again, a command that has ended does not.
    message = message.removesuffix("; trying again")
    step = _next_step(reason, message)
    return f"{resource.key}: {message}{f' ({reason})' if reason else ''}{step}"


def _next_step(reason: str, message: str) -> str:
    """The reason's own advice, unless the message brings one already."""
    explanation = next((text for known, text in EXPLANATIONS.items() if known.value == reason), None)
    if explanation is None or any(mark in message for mark in (": ", "; ")):
        return ""
    return f". {explanation.next_step}"


def remark(resource: Resource) -> str | None:
    """One line on a resource that is ready, but not all that was asked for; None when there is nothing to say."""
    if not is_ready(resource) or (reason := reason_of(resource)) not in _READY_BUT:
        return None
    return f"{resource.key}: {resource.status.get('message')} ({reason})"


def missing_privileges(resource: Resource) -> tuple[str, ...]:
    """The statements that a DBA must run for a DBCluster's admin, one sentence each; advice is in `describe`."""
    entries = resource.status.get("missingPrivileges") or ()
    return tuple(
        f"{resource.key}: the admin lacks {entry['privilege']}; let a DBA run: {entry['statement']};"
        for entry in entries
        if isinstance(entry, dict) and entry.get("severity") != "Advice"
    )
