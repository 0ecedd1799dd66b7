"""What `apply` would do: the engine over a store in memory, with statements written down instead of run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.text import Text

from dbtether.api.resource import Key, Resource
from dbtether.cli.output import printable
from dbtether.cli.settling import NamespaceLabels, Settled, complaint, is_paused, is_ready, reason_of, remark, settle
from dbtether.cli.wanted import Wanted, everything, write_wanted
from dbtether.controllers.base import name_label
from dbtether.controllers.executor import Planned, Recording
from dbtether.postgres.statement import Statement, script
from dbtether.runtime.overlay import OverlayStore
from dbtether.runtime.store import Store

# Users go before their databases, and what is made comes in the order of the references.
_DELETION_ORDER = {"DatabaseUser": 0, "Database": 1, "DBCluster": 2}
_CREATION_ORDER = {"DBCluster": 3, "Database": 4, "DatabaseUser": 5}


class Change(StrEnum):
    """What happens to a resource or Secret in the state."""

    NEW = "new"
    CHANGED = "changed"
    DELETED = "deleted"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that would happen."""

    changes: dict[Key, Change]
    planned: tuple[Planned, ...]
    blocked: tuple[tuple[Key, str, str], ...]
    """Key, reason and sentence of what could not be planned."""
    settled: Settled = field(default_factory=Settled)
    remarks: tuple[str, ...] = ()
    """What would be ready, but not all that was asked for."""

    @property
    def statements(self) -> tuple[tuple[Planned, Statement], ...]:
        """Every statement with the plan it is of."""
        return tuple((planned, statement) for planned in self.planned for statement in planned.statements)

    @property
    def destructive(self) -> int:
        """How many statements take something away for good."""
        return sum(statement.destructive for _, statement in self.statements)

    @property
    def would_change(self) -> bool:
        """Whether apply would do anything, on a server or in the state."""
        return bool(self.planned) or any(change is not Change.UNCHANGED for change in self.changes.values())


async def make_plan(
    base: Store,
    wanted: Wanted,
    deletions: Iterable[Key],
    wait_seconds: float,
    *,
    namespace_labels: NamespaceLabels = name_label,
    secret_namespaces: frozenset[str] | None = None,
) -> Plan:
    """The plan of applying `wanted` and deleting `deletions`; nothing is written anywhere."""
    overlay = OverlayStore(base)
    before = {resource.key: resource for resource in await everything(base)}
    changes = {document.key: await _secret_change(base, document.key, wanted) for document in wanted.secrets}
    await write_wanted(overlay, wanted)
    for document in wanted.resources:
        changes[document.key] = _change(before.get(document.key), await overlay.get(document.key))
    for key in deletions:
        changes[key] = Change.DELETED
        await overlay.request_deletion(key)
    recording = Recording()
    settled = await settle(
        overlay,
        wait_seconds,
        executor=recording,
        namespace_labels=namespace_labels,
        secret_namespaces=secret_namespaces,
    )
    blocked = [
        (resource.key, reason_of(resource), complaint(resource, settled))
        for resource in await everything(overlay)
        if not is_ready(resource) and not is_paused(resource)
    ]
    planned = sorted(recording.planned.values(), key=lambda item: _order(item, changes, before))
    remarks = tuple(sentence for resource in await everything(overlay) if (sentence := remark(resource)) is not None)
    return Plan(changes, tuple(planned), tuple(blocked), settled, remarks)


def _order(item: Planned, changes: dict[Key, Change], before: dict[Key, Resource]) -> tuple[Any, ...]:
    known = before.get(item.key)
    is_deletion = changes.get(item.key) is Change.DELETED or (known is not None and known.deleted is not None)
    order = _DELETION_ORDER if is_deletion else _CREATION_ORDER
    return (order[item.key.kind], item.cluster, item.key)


def _change(before: Resource | None, after: Resource | None) -> Change:
    if before is None:
        return Change.NEW
    return Change.UNCHANGED if after is not None and after == before else Change.CHANGED


async def _secret_change(base: Store, key: Key, wanted: Wanted) -> Change:
    stored = await base.get_secret(key.namespace, key.name)
    if stored is None:
        return Change.NEW
    secret = next(document.secret for document in wanted.secrets if document.key == key)
    assert secret is not None, "these are the documents with a Secret"
    return Change.UNCHANGED if dict(stored.data) == dict(secret.data) else Change.CHANGED


# ---- how a plan is shown


_MARKS = {Change.NEW: ("+", "green"), Change.CHANGED: ("~", "yellow"), Change.DELETED: ("-", "bold red")}


def plan_lines(plan: Plan) -> Iterator[Text]:
    """The plan for people: resources with what would be run for each, and why others are stuck."""
    by_key = {planned.key: planned for planned in plan.planned}
    shown = [key for key, change in plan.changes.items() if change is not Change.UNCHANGED and key not in by_key]
    for key in shown:
        yield _resource_line(key, plan.changes[key], "nothing to run on a server")
    if shown and by_key:
        yield Text()
    for index, planned in enumerate(plan.planned):
        if index:
            yield Text()
        yield _resource_line(planned.key, plan.changes.get(planned.key, Change.UNCHANGED), f"on {planned.cluster}")
        yield from _statement_lines(planned)
    if plan.blocked:
        if shown or plan.planned:
            yield Text()
        yield Text("Cannot be planned:", style="bold")
        for _, _, sentence in plan.blocked:
            yield Text("  ").append("x ", style="bold red").append(printable(sentence))
    if not plan.would_change and plan.blocked:
        return
    if plan.would_change:
        yield Text()
    yield summary(plan)


def _resource_line(key: Key, change: Change, remark: str) -> Text:
    mark, style = _MARKS.get(change, ("~", "yellow"))
    word = "differs" if change is Change.UNCHANGED else change.value
    line = Text(f"{mark} ", style=style).append(str(key), style="bold")
    return line.append(f"  {word}, {remark}", style="dim")


def _statement_lines(planned: Planned) -> Iterator[Text]:
    database = None
    for statement in planned.statements:
        name = statement.database or planned.maintenance_database
        if name != database:
            database = name
            yield Text(f"    in database {printable(name)}", style="dim")
        line = Text("      ")
        if statement.destructive:
            yield line.append(f"{statement.purpose}  [destructive]", style="bold red")
        else:
            yield line.append(statement.purpose)


def summary(plan: Plan) -> Text:
    """The last line of a plan."""
    counts = {change: sum(found is change for found in plan.changes.values()) for change in Change}
    if not plan.would_change:
        return Text("Nothing to do: the servers are as the manifests say.", style="green")
    statements = len(plan.statements)
    parts = [f"{statements} statement{'' if statements == 1 else 's'}"]
    if plan.destructive:
        parts.append(f"{plan.destructive} of them destructive")
    resources = ", ".join(f"{count} {change.value}" for change, count in counts.items() if count)
    return Text(f"Plan: {', '.join(parts)}; resources: {resources or 'none'}.", style="bold")


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan for machines."""
    return {
        "changes": [
            {"kind": key.kind, "namespace": key.namespace, "name": key.name, "change": change.value}
            for key, change in plan.changes.items()
        ],
        "statements": [
            {
                "kind": planned.key.kind,
                "namespace": planned.key.namespace,
                "name": planned.key.name,
                "cluster": planned.cluster,
                "database": statement.database or planned.maintenance_database,
                "purpose": statement.purpose,
                "destructive": statement.destructive,
                "role": statement.as_role,
                "sql": statement.text,
            }
            for planned, statement in plan.statements
        ],
        "blocked": [
            {"kind": key.kind, "namespace": key.namespace, "name": key.name, "reason": reason, "message": sentence}
            for key, reason, sentence in plan.blocked
        ],
        "wouldChange": plan.would_change,
        "destructive": plan.destructive,
    }


def plan_scripts(plan: Plan) -> Iterator[str]:
    """A psql script for each cluster, secrets masked."""
    for cluster in sorted({planned.cluster for planned in plan.planned}):
        mine = [planned for planned in plan.planned if planned.cluster == cluster]
        yield f"-- DBCluster {printable(cluster)}; passwords are masked, so the script does not run as it is\n"
        for planned in mine:
            yield f"-- {planned.key}\n{script(planned.statements, planned.maintenance_database)}"
