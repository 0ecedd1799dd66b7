"""`dbtether plan`: what apply would do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, error, note, say, tell
from dbtether.cli.places import Cluster, require_kube_libraries
from dbtether.cli.planning import Plan, make_plan, plan_document, plan_lines, plan_scripts, summary
from dbtether.cli.settling import quiet_logs
from dbtether.cli.wanted import Wanted, check_against, read_wanted, vanished
from dbtether.runtime.local import LocalStore, StateMissing
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.records import RecordStore

# Stands in the plan for the id that the first apply makes up.
NEW_INSTALLATION = "new-installation"


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What `plan` was asked for."""

    files: tuple[str, ...]
    state: str
    installation: str | None
    namespace: str
    wait_seconds: float
    prune: bool
    sql: bool
    output: str
    cluster: Cluster | None = None


def plan_command(options: PlanOptions) -> Exit:
    """Print the plan and tell by the exit code whether there is one."""
    if not options.files and options.cluster is None:
        raise Quit(Exit.INVALID, "name the manifests with -f, or a cluster with --kube")
    wanted = read_wanted(options.files, options.namespace) if options.files else Wanted()
    for skipped in wanted.skipped:
        note(f"{skipped.kind} {skipped.name} is none of dbtether's kinds and was skipped ({skipped.place})")
    plan = running.run(_plan_on_cluster(options, wanted) if options.cluster else plan_wanted(options, wanted))
    _print(plan, options)
    for sentence in plan.remarks:
        note(sentence)
    if plan.settled.unsettled:
        error("the time of --wait is over, so the plan may be incomplete")
        return Exit.TIMED_OUT
    if plan.blocked:
        return Exit.FAILED
    return Exit.CHANGES if plan.would_change else Exit.OK


async def plan_wanted(options: PlanOptions, wanted: Wanted) -> Plan:
    """The plan of checked manifests. Raises Quit when the state is against it."""
    with opened_to_read(options.state, options.installation) as store:
        await check_against(store, wanted)
        gone = await vanished(store, wanted) if options.prune else ()
        refuse_to_prune_all(wanted, prune=options.prune)
        async with quiet_logs(verbose=False):
            return await make_plan(store, wanted, [resource.key for resource in gone], options.wait_seconds)


async def _plan_on_cluster(options: PlanOptions, wanted: Wanted) -> Plan:
    """The plan of the manifests laid over the cluster; of the cluster alone where there are none."""
    assert options.cluster is not None, "this is the way with --kube"
    if options.prune:
        raise Quit(Exit.INVALID, "--prune is for a state directory: on a cluster, resources go with `kubectl delete`")
    require_kube_libraries()
    from dbtether.cli.kube.planning import plan_on_cluster

    async with quiet_logs(verbose=False):
        return await plan_on_cluster(options.cluster, wanted, options.wait_seconds)


@contextmanager
def opened_to_read(state: str, installation: str | None) -> Iterator[RecordStore]:
    """What was applied so far, never written; an empty store where nothing was."""
    try:
        store = LocalStore.open(Path(state), installation, read_only=True)
    except StateMissing:
        yield MemoryStore(installation=installation or NEW_INSTALLATION)
        return
    with store:
        yield store


def refuse_to_prune_all(wanted: Wanted, *, prune: bool) -> None:
    """Raises Quit when pruning by manifests that hold no resource: that is a wrong path more often than a wish."""
    if prune and not wanted.resources:
        raise Quit(
            Exit.INVALID,
            "--prune: the manifests hold no resource, so everything would be deleted; "
            "name what shall go with `dbtether delete`",
        )


def _print(plan: Plan, options: PlanOptions) -> None:
    if options.sql:
        for text in plan_scripts(plan):
            sys.stdout.write(text)
        if not plan.would_change and not plan.blocked:
            tell(summary(plan))
        for _, _, sentence in plan.blocked:
            error(sentence)
    elif options.output != "table":
        emit(plan_document(plan), options.output)
    else:
        for line in plan_lines(plan):
            say(line)
