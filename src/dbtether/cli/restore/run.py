"""`dbtether restore DATABASE --from SOURCE`: a Restore that is made for this command, done, and taken away again."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtether.api.database import DatabasePhase
from dbtether.api.resource import Key, Resource
from dbtether.api.restore import RestoreSpec
from dbtether.api.validation import check
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, error, note, say
from dbtether.cli.restore.progress import RestoreProgress
from dbtether.cli.restore.source import Asked, asked_source
from dbtether.cli.settling import local_jobs, local_storage_root, quiet_logs
from dbtether.controllers.engine import Engine, opened_engine
from dbtether.runtime.local import LocalStore
from dbtether.runtime.records import RecordStore

COMMAND_LABEL = "dbtether.io/command"
_OPTIONS = {
    "source": "--from",
    "target": "DATABASE",
    "onConflict": "--on-conflict",
    "keepReplacedFor": "--keep-replaced-for",
}
_HORIZON_SECONDS = 2.0
_TAKING_AWAY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What `dbtether restore` was told."""

    database: str
    namespace: str
    source: str
    on_conflict: str
    keep: str
    wait_seconds: float
    state: str
    output: str
    verbose: bool
    is_quiet: bool = False
    """Whether progress is left untold."""
    verify_only: bool = False
    """Whether nothing but the proof is wanted."""

    @property
    def key(self) -> Key:
        """The target."""
        return Key("Database", self.namespace, self.database)


@dataclass(frozen=True, slots=True)
class Restored:
    """How it ended."""

    restore: Resource
    database: Resource | None

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, well or badly."""
        return "completedAt" in self.restore.status

    @property
    def is_good(self) -> bool:
        """Whether the database is restored."""
        return bool(self.restore.status.get("phase") == "Completed")

    @property
    def replaced(self) -> Mapping[str, Any] | None:
        """The database from before, where it is kept."""
        status = {} if self.database is None else self.database.status
        run_id = self.restore.status.get("runId")
        return next((entry for entry in status.get("replaced", ()) if entry.get("runId") == run_id), None)


def restore_command(options: RestoreOptions) -> Exit:
    """Do the restore and tell what is there now."""
    restored = running.run(restore_database(options))
    if options.output != "table":
        emit(_document(options, restored), options.output)
    elif restored.is_good:
        first, *facts = restored_lines(options, restored)
        say(first, style="green")
        for line in facts:
            say(line)
    if restored.is_good:
        return Exit.OK
    status = restored.restore.status
    message = str(status.get("message") or "nothing has looked at it yet")
    if not restored.is_over:
        error(f"{message}; the time of --wait is over, or it must wait: the same command goes on with it")
        return Exit.TIMED_OUT
    what = "The backup was not verified" if options.verify_only else f"{options.key} was not restored"
    error(f"{what}: {message}")
    return Exit.FAILED


async def restore_database(options: RestoreOptions) -> Restored:
    """Make a Restore, have it done, and take it away again once it is over. Raises Quit."""
    with LocalStore.open(Path(options.state)) as store:
        await _refuse_unready(store, options)
        asked = await asked_source(store, options.key, options.source)
        restore = await _restore(store, options, asked)
        progress = RestoreProgress(
            store, restore, str(options.key), is_quiet=options.is_quiet or options.output != "table"
        )
        async with quiet_logs(options.verbose), opened(store, options.state, asked.folder) as engine:
            with progress.shown():
                await engine.loop.run_until_settled(options.wait_seconds, horizon_seconds=_HORIZON_SECONDS)
            found = await store.get(restore)
            assert found is not None, "nobody else deletes it"
            restored = Restored(found, await store.get(options.key))
            if restored.is_over:
                await _take_away(store, engine, restore, asked.storage)
        return restored


@asynccontextmanager
async def opened(store: RecordStore, state: str, folder: Path | None = None) -> AsyncIterator[Engine]:
    """An engine over the state, with its jobs."""
    async with (
        local_jobs(state) as jobs,
        opened_engine(store, local_root=local_storage_root(state), own_folder=folder, jobs=jobs) as engine,
    ):
        yield engine


async def _refuse_unready(store: RecordStore, options: RestoreOptions) -> None:
    resource = await store.get(options.key)
    if resource is None:
        raise Quit(Exit.FAILED, f"{options.key} does not exist in {options.state}: apply it first")
    if resource.status.get("phase") != DatabasePhase.READY and not await _under_way(store, options):
        why = resource.status.get("message") or "apply it first"
        raise Quit(Exit.FAILED, f"{options.key} is not Ready: {why}")


async def _restore(store: RecordStore, options: RestoreOptions, asked: Asked) -> Key:
    """The Restore of this command: the one that an earlier command began, or a new one. Raises Quit."""
    spec = {
        "source": asked.source,
        "target": {"databaseRef": {"name": options.database}},
        "onConflict": options.on_conflict,
        "keepReplacedFor": options.keep,
        **({"verifyOnly": True} if options.verify_only else {}),
    }
    if options.verify_only and options.on_conflict != "fail":
        raise Quit(Exit.INVALID, "--verify-only: it replaces nothing; leave --on-conflict out")
    key = Key("Restore", options.namespace, f"{options.database[:200]}-{secrets.token_hex(4)}")
    _, problems = check(RestoreSpec, key, spec)
    if problems:
        raise Quit(Exit.INVALID, *(f"{_option(problem.path)}: {problem.sentence}" for problem in problems))
    for earlier in await _under_way(store, options):
        if earlier.spec == spec:
            note(f"going on with the restore that began at {earlier.status.get('startedAt') or earlier.created}")
            key = earlier.key
        else:
            raise Quit(
                Exit.FAILED,
                f"{earlier.key} restores into {options.key} and has not ended: run the command that began it again, "
                f"or `dbtether delete restore {earlier.key.name} -n {earlier.key.namespace}`",
            )
    if asked.storage is not None and asked.storage_spec is not None:
        await store.apply_resource(asked.storage, asked.storage_spec, {COMMAND_LABEL: "restore"})
    await store.apply_resource(key, spec, {COMMAND_LABEL: "restore"})
    return key


def _option(path: tuple[str | int, ...]) -> str:
    """The option that a field of the spec comes from."""
    return next((_OPTIONS[str(part)] for part in path if part in _OPTIONS), "--from")


async def _under_way(store: RecordStore, options: RestoreOptions) -> list[Resource]:
    """The Restores of earlier commands into the same target that have not ended."""
    return [
        found
        for found in await store.list("Restore")
        if found.labels.get(COMMAND_LABEL) == "restore"
        and found.key.namespace == options.namespace
        and found.spec.get("target") == {"databaseRef": {"name": options.database}}
        and "completedAt" not in found.status
        and found.deleted is None
    ]


async def _take_away(store: RecordStore, engine: Engine, restore: Key, storage: Key | None) -> None:
    """Nobody has applied them, so nobody would delete them."""
    await store.request_deletion(restore)
    others = [other for other in await store.list("Restore") if other.key != restore]
    if storage is not None and not any(_names(other, storage.name) for other in others):
        await store.request_deletion(storage)
    await engine.loop.run_until_settled(_TAKING_AWAY_SECONDS, horizon_seconds=_HORIZON_SECONDS)


def _names(restore: Resource, storage: str) -> bool:
    source = restore.spec.get("source")
    return isinstance(source, dict) and source.get("storageRef") == {"name": storage}


def restored_lines(options: RestoreOptions, restored: Restored) -> list[str]:
    """What is told of a restore that is done: one sentence, and the facts below it."""
    status = restored.restore.status
    done = "was not touched; its backup is good, verified" if options.verify_only else "is restored,"
    lines = [
        f"{options.key} {done} in {status.get('duration') or 'no time'}",
        f"  source   {status.get('sourcePath')}",
    ]
    if status.get("tables") is not None:
        lines.append(f"  holds    {status['tables']:,} tables, {status.get('rows') or 0:,} rows")
    if (replaced := restored.replaced) is not None:
        lines.append(f"  before   database {replaced['name']}, kept until {replaced['until']}")
        where = "" if options.namespace == "default" else f" -n {options.namespace}"
        lines.append(f"  undo     dbtether restore undo {options.database}{where}")
    return lines


def _document(options: RestoreOptions, restored: Restored) -> dict[str, Any]:
    names = ("phase", "message", "runId", "sourcePath", "way", "duration", "startedAt", "completedAt", "tables", "rows")
    status = restored.restore.status
    told = {name: status[name] for name in names if name in status}
    replaced = restored.replaced
    database = {"namespace": options.namespace, "name": options.database}
    return {"database": database, **told, **({} if replaced is None else {"replaced": dict(replaced)})}
