"""`dbtether run` and `dbtether tick`: how time passes for a state directory, in the foreground or from cron."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Never

from dbtether.api.resource import Resource
from dbtether.cli import running
from dbtether.cli.apply import Applied, report
from dbtether.cli.exits import Exit
from dbtether.cli.output import printable, say, tell
from dbtether.cli.progress import Progress
from dbtether.cli.settling import local_jobs, local_storage_root, quiet_logs, settle
from dbtether.cli.wanted import everything
from dbtether.controllers.engine import opened_engine
from dbtether.runtime.local import LocalStore
from dbtether.runtime.store import EventType


@dataclass(frozen=True, slots=True)
class TimeOptions:
    """What `run` or `tick` was asked for."""

    state: str
    wait_seconds: float
    verbose: bool


class TellingStore(LocalStore):
    """Prints a line for each Event as it happens."""

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Remember what happened, and say it."""
        await super().record_event(resource, type_, reason, message)
        say(printable(f"{self._time():%Y-%m-%dT%H:%M:%SZ}  {resource.key}  {reason}: {message}"))


def tick_command(options: TimeOptions) -> Exit:
    """Do what is due, and tell by the exit code whether all is Ready."""
    return running.run(_tick(options))


async def _tick(options: TimeOptions) -> Exit:
    LocalStore.open(Path(options.state), read_only=True).close()
    with TellingStore.open(Path(options.state)) as store:
        progress = Progress(store, is_quiet=True)
        async with quiet_logs(options.verbose):
            with progress.shown():
                async with local_jobs(options.state) as jobs:
                    # Nobody is there within the next hour: what is overdue is due.
                    settled = await settle(
                        store,
                        options.wait_seconds,
                        local_root=local_storage_root(options.state),
                        overdue_spread=timedelta(),
                        jobs=jobs,
                    )
        left = await everything(store)
    kept = tuple(resource for resource in left if resource.deleted is None)
    gone = tuple(resource for resource in left if resource.deleted is not None)
    return report(Applied(kept, gone, (), settled))


def run_command(options: TimeOptions) -> Exit:
    """Keep everything in the state as it should be, until a signal."""
    try:
        running.run(_run(options))
    except running.Interrupted:
        tell("stopped; the state is as it should be, and another process may use it")
    return Exit.OK


async def _run(options: TimeOptions) -> Never:
    LocalStore.open(Path(options.state), read_only=True).close()
    with TellingStore.open(Path(options.state)) as store:
        async with quiet_logs(options.verbose):
            count = len(await everything(store))
            tell(
                f"keeping {count} resources of {options.state} as they should be; Ctrl-C ends it. To apply or delete, "
                f"stop it, do that, and start it again"
            )
            root = local_storage_root(options.state)
            async with local_jobs(options.state) as jobs, opened_engine(store, local_root=root, jobs=jobs) as engine:
                await engine.loop.run_forever()
