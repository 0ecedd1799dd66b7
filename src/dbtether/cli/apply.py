"""`dbtether apply`: brings the servers to what the manifests say."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dbtether.api.kinds import KINDS
from dbtether.api.resource import Key, Resource
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, error, item_list, note, say, tell
from dbtether.cli.plan import refuse_to_prune_all
from dbtether.cli.planning import make_plan, plan_lines
from dbtether.cli.progress import Progress
from dbtether.cli.settling import (
    Settled,
    complaint,
    is_paused,
    local_jobs,
    local_storage_root,
    missing_privileges,
    quiet_logs,
    remark,
    settle,
    stuck,
)
from dbtether.cli.tables import resource_table
from dbtether.cli.wanted import (
    Wanted,
    check_against,
    everything,
    needs_time,
    read_wanted,
    vanished,
    write_wanted,
)
from dbtether.runtime.local import LocalStore
from dbtether.runtime.records import RecordStore


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """What `apply` was asked for."""

    files: tuple[str, ...]
    state: str
    installation: str | None
    namespace: str
    wait_seconds: float
    prune: bool
    yes: bool
    output: str
    verbose: bool
    is_quiet: bool = False
    """Whether changes of phase are left untold where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How it ended: the resources of the manifests, those that should be gone, and the rest of the state."""

    resources: tuple[Resource, ...]
    remaining: tuple[Resource, ...]
    others: tuple[Resource, ...]
    settled: Settled


def apply_command(options: ApplyOptions) -> Exit:
    """Apply, print the tables, and tell by the exit code whether all is Ready."""
    wanted = read_wanted(options.files, options.namespace)
    refuse_to_prune_all(wanted, prune=options.prune)
    for skipped in wanted.skipped:
        note(f"{skipped.kind} {skipped.name} is none of dbtether's kinds and was skipped ({skipped.place})")
    for sentence in needs_time(wanted.resources):
        note(sentence)
    applied = running.run(apply_wanted(options, wanted))
    _print(applied, options)
    return report(applied)


async def apply_wanted(options: ApplyOptions, wanted: Wanted) -> Applied:
    """Apply checked manifests. Raises Quit when the state is against it."""
    with LocalStore.open(Path(options.state), options.installation) as store:
        await check_against(store, wanted)
        gone = [resource.key for resource in await vanished(store, wanted)]
        async with quiet_logs(options.verbose):
            if gone and options.prune:
                await _confirm_prune(store, wanted, gone, options)
            elif gone:
                note(_left_alone(gone))
            await write_wanted(store, wanted)
            doomed = gone if options.prune else []
            applied = await apply_to(store, wanted.keys, doomed, options)
    remaining = {resource.key for resource in applied.remaining}
    for key in sorted(set(doomed) - remaining):
        tell(f"{key} deleted")
    return applied


class Running(Protocol):
    """What a command that runs the engine was asked for."""

    @property
    def state(self) -> str: ...
    @property
    def wait_seconds(self) -> float: ...
    @property
    def is_quiet(self) -> bool: ...


async def apply_to(store: RecordStore, keys: frozenset[Key], doomed: list[Key], options: Running) -> Applied:
    """Run the engine over the store after the deletion of `doomed` was asked for."""
    progress = Progress(store, is_quiet=options.is_quiet)
    before = await everything(store)
    progress.watch(resource for resource in before if resource.key in keys or resource.key in doomed)
    for key in doomed:
        await store.request_deletion(key)
    root = local_storage_root(options.state)
    with progress.shown():
        async with local_jobs(options.state) as jobs:
            settled = await settle(store, options.wait_seconds, local_root=root, jobs=jobs)
    left = await everything(store)
    return Applied(
        tuple(resource for resource in left if resource.key in keys),
        tuple(resource for resource in left if resource.deleted is not None),
        tuple(resource for resource in left if resource.key not in keys and resource.deleted is None),
        settled,
    )


async def _confirm_prune(store: RecordStore, wanted: Wanted, gone: list[Key], options: ApplyOptions) -> None:
    """Show what would be deleted and ask. Raises Quit when the answer is no, or nobody can be asked."""
    plan = await make_plan(store, wanted, gone, options.wait_seconds)
    for line in plan_lines(plan):
        tell(line)
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise Quit(Exit.INVALID, "--prune needs --yes where nobody can be asked; nothing was changed")
    tell(f"Delete {len(gone)} resource{'' if len(gone) == 1 else 's'} and go on? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Quit(Exit.FAILED, "not confirmed; nothing was changed")


def _left_alone(gone: list[Key]) -> str:
    names = ", ".join(map(str, gone[:3])) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
    return f"in the state, but in none of these manifests: {names}; left as it is (--prune deletes)"


def _print(applied: Applied, options: ApplyOptions) -> None:
    if options.output != "table":
        emit(item_list(applied.resources), options.output)
        return
    say_tables(applied.resources)


def say_tables(resources: tuple[Resource, ...]) -> None:
    """Print a table for each kind that has resources, a blank line between them."""
    first = True
    for kind in KINDS:
        mine = [resource for resource in resources if resource.key.kind == kind]
        if not mine:
            continue
        if not first:
            say()
        first = False
        for line in resource_table(kind, mine, with_namespace=True):
            say(line)


def report(applied: Applied) -> Exit:
    """Print a line for each failure and give the exit code."""
    for resource in applied.resources:
        for sentence in missing_privileges(resource):
            note(sentence)
        if (more := remark(resource)) is not None:
            note(more)
        if is_paused(resource):
            note(f"{resource.key} is paused (annotation dbtether.io/paused) and was left as it is")
    everywhere = (*applied.resources, *applied.others)
    left = stuck(applied.resources, everywhere)
    left += [resource for resource in applied.remaining if resource not in left]
    for resource in left:
        error(complaint(resource, applied.settled))
    if others := stuck(applied.others, everywhere):
        note(f"{len(others)} other resource(s) of the state are not ready either: dbtether status")
    if not left:
        return Exit.OK
    keys = {resource.key for resource in left}
    if keys & set(applied.settled.unsettled):
        error("the time of --wait is over before everything was settled; apply again to go on")
        return Exit.TIMED_OUT
    return Exit.FAILED
