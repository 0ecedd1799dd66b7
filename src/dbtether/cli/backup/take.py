"""`dbtether backup DATABASE --to PLACE`: one backup now, without a Backup resource."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dbtether.api.backup import DEFAULT_FILENAME_TEMPLATE
from dbtether.api.backupstorage import DEFAULT_PATH_TEMPLATE
from dbtether.api.database import DatabasePhase, DatabaseSpec, database_name
from dbtether.api.resource import Key
from dbtether.api.templates import filename_problem
from dbtether.api.validation import validate_resource
from dbtether.backup.clients import find_clients
from dbtether.backup.dump import DumpRequest
from dbtether.backup.formats import format_of
from dbtether.backup.manifest import Manifest, Origin, run_key
from dbtether.backup.run import BackupRun, run_backup
from dbtether.backup.words import duration_text, size_text
from dbtether.cli import running
from dbtether.cli.backup.destinations import Destination, destination
from dbtether.cli.backup.progress import BackupProgress
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, say
from dbtether.cli.settling import quiet_logs
from dbtether.controllers.backuprun import DatabaseOnServer, expiry, prepared_run
from dbtether.controllers.backupstate import object_name
from dbtether.controllers.base import Waiting, connected_server
from dbtether.controllers.engine import opened_engine
from dbtether.runtime.local import LocalStore
from dbtether.runtime.store import Store


@dataclass(frozen=True, slots=True)
class TakeOptions:
    """What `dbtether backup` was told."""

    database: str
    namespace: str
    to: str
    filename: str | None
    state: str
    output: str
    verbose: bool
    is_quiet: bool = False
    """Whether progress is left untold."""


def take_command(options: TakeOptions) -> Exit:
    """Take the backup and tell where it is."""
    template = options.filename or DEFAULT_FILENAME_TEMPLATE
    if (problem := filename_problem(template)) is not None:
        raise Quit(Exit.INVALID, f"--filename {template!r} {problem}")
    place = destination(options.to, "--to", make=True)
    manifest = running.run(take_backup(options, template, place))
    url = place.url(manifest.key)
    if options.output == "table":
        first, *facts = taken_lines(manifest, url)
        say(first, style="green")
        for line in facts:
            say(line)
    else:
        emit({"url": url, **manifest.model_dump(mode="json", exclude_none=True)}, options.output)
    return Exit.OK


async def take_backup(options: TakeOptions, template: str, place: Destination) -> Manifest:
    """Dump the database into the place. Raises Quit when it is not Ready, and what `run_backup` raises."""
    key = Key("Database", options.namespace, options.database)
    async with quiet_logs(options.verbose), _opened(options.state, key) as (store, database):
        now = datetime.now(UTC)
        run_id = secrets.token_hex(4)
        clients = find_clients(database.server.facts.major)
        name = object_name(DEFAULT_PATH_TEMPLATE, template, database, run_id, now)
        title = f"{key}"
        with BackupProgress(title, is_quiet=options.is_quiet or options.output != "table") as progress:
            async with prepared_run(database, key, run_id, store.installation, expiry(now, None)) as prepared:
                progress.begin(prepared.source.size_bytes)
                run = BackupRun(
                    run_id=run_id,
                    installation=store.installation,
                    origin=Origin(namespace=key.namespace, name=key.name),
                    source=prepared.source,
                    key=place.key(name),
                    request=DumpRequest(
                        clients=clients,
                        parameters=prepared.parameters,
                        database=database.name,
                        format=format_of(name),
                        application_name=f"dbtether: backup of {key.path}",
                    ),
                    signing_key=run_key(store.fingerprint_key, run_id),
                    tags={"dbtether.io/database": database.name, "dbtether.io/created-by": "dbtether"},
                )
                return await run_backup(
                    place.store, run, now=lambda: datetime.now(UTC), on_progress=progress.show, environment=os.environ
                )


@asynccontextmanager
async def _opened(state: str, key: Key) -> AsyncIterator[tuple[Store, DatabaseOnServer]]:
    """The state directory and the database of a resource in it. Raises Quit when it is not there or not Ready."""
    with LocalStore.open(Path(state), read_only=True) as store:
        resource = await store.get(key)
        if resource is None:
            raise Quit(Exit.FAILED, f"{key} does not exist in {state}: apply it first")
        if resource.status.get("phase") != DatabasePhase.READY:
            why = resource.status.get("message") or "apply it first"
            raise Quit(Exit.FAILED, f"{key} is not Ready: {why}")
        spec = validate_resource(DatabaseSpec, resource)
        cluster = spec.cluster_ref.name
        async with opened_engine(store) as engine:
            try:
                _, server = await connected_server(engine.world, cluster, key.namespace, was_admitted=True)
            except Waiting as waiting:
                raise Quit(Exit.FAILED, waiting.message) from None
            yield store, DatabaseOnServer(key, cluster, database_name(spec, key.name), server)


def taken_lines(manifest: Manifest, url: str) -> list[str]:
    """What is told of a backup that was taken: one sentence, and the facts below it."""
    took = (manifest.finished_at - manifest.started_at).total_seconds()
    origin = manifest.origin
    lines = [
        f"Database {origin.namespace}/{origin.name} is backed up, in {duration_text(took)}",
        f"  object   {url}",
        f"  size     {size_text(manifest.stored.bytes)}, unpacked {size_text(manifest.plain.bytes)}",
        f"  sha256   {manifest.stored.sha256}",
    ]
    if manifest.tables is not None:
        lines.append(f"  holds    {len(manifest.tables):,} tables, {sum(manifest.tables.values()):,} rows")
    return lines
