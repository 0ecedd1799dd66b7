"""`dbtether restore undo DATABASE`: what the last restore has replaced comes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtether.api.kinds import UNDO_RESTORE
from dbtether.api.resource import Key, Resource
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, error, say
from dbtether.cli.restore.run import opened
from dbtether.cli.settling import is_ready, quiet_logs
from dbtether.runtime.local import LocalStore

_WAIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """What `dbtether restore undo` was told."""

    database: str
    namespace: str
    state: str
    output: str
    verbose: bool

    @property
    def key(self) -> Key:
        """The Database."""
        return Key("Database", self.namespace, self.database)


@dataclass(frozen=True, slots=True)
class Undone:
    """How it ended."""

    database: Resource
    before: Mapping[str, Any]
    """The entry of the database that was to come back."""

    @property
    def is_done(self) -> bool:
        """Whether the database from before is back, and Ready."""
        return UNDO_RESTORE not in self.database.annotations and is_ready(self.database)

    @property
    def replaced(self) -> tuple[Mapping[str, Any], ...]:
        """What is kept now."""
        return tuple(self.database.status.get("replaced", ()))


def undo_command(options: UndoOptions) -> Exit:
    """Put it back and tell what is there now."""
    undone = running.run(undo_restore(options))
    if options.output != "table":
        emit(
            {
                "database": {"namespace": options.namespace, "name": options.database},
                "undone": {"name": undone.before["name"], "runId": undone.before["runId"]},
                "isReady": undone.is_done,
                "replaced": [dict(entry) for entry in undone.replaced],
            },
            options.output,
        )
    elif undone.is_done:
        first, *facts = undone_lines(options.key, undone)
        say(first, style="green")
        for line in facts:
            say(line)
    if undone.is_done:
        return Exit.OK
    error(f"{options.key}: {undone.database.status.get('message')}")
    return Exit.FAILED


async def undo_restore(options: UndoOptions) -> Undone:
    """Have the Database's own reconcile swap the two databases. Raises Quit where there is nothing to go back to."""
    with LocalStore.open(Path(options.state)) as store:
        resource = await store.get(options.key)
        if resource is None:
            raise Quit(Exit.FAILED, f"{options.key} does not exist in {options.state}")
        replaced = resource.status.get("replaced", ())
        if not replaced:
            raise Quit(
                Exit.FAILED,
                f"{options.key} has no database from before a restore: none was replaced, or its time is over and it "
                "was dropped",
            )
        before = replaced[0]
        async with quiet_logs(options.verbose), opened(store, options.state) as engine:
            annotations = {**resource.annotations, UNDO_RESTORE: str(before["runId"])}
            await store.apply_resource(options.key, resource.spec, resource.labels, annotations)
            await engine.loop.run_until_settled(_WAIT_SECONDS, horizon_seconds=2.0)
        found = await store.get(options.key)
        assert found is not None, "nobody else deletes it"
        return Undone(found, before)


def undone_lines(key: Key, undone: Undone) -> list[str]:
    """What is told of a restore that was undone: one sentence, and the facts below it."""
    lines = [f"{key} is as it was before run {undone.before['runId']}"]
    lines += [f"  kept     database {entry['name']}, until {entry['until']}" for entry in undone.replaced]
    return lines
