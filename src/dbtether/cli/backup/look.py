"""`dbtether backup list | show | verify`: what a store has, told from the store alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from dbtether.api.times import instant_text
from dbtether.backup.catalog import Entry, catalog, read_entry
from dbtether.backup.formats import DumpFormat, format_of
from dbtether.backup.manifest import Manifest
from dbtether.backup.scanner import DumpDamaged
from dbtether.backup.verify import Expected, Verified, verify
from dbtether.backup.words import size_text
from dbtether.cli import running
from dbtether.cli.backup.destinations import Destination, destination
from dbtether.cli.exits import Exit
from dbtether.cli.output import emit, error, note, say, table
from dbtether.errors import StateError
from dbtether.runtime.local import LocalStore


@dataclass(frozen=True, slots=True)
class LookOptions:
    """What a command that looks at a store was told."""

    place: str
    state: str
    output: str


def list_command(options: LookOptions, database: str | None) -> Exit:
    """Print the dumps of a store, of one database if it is named; FAILED when one of them is broken."""
    place = destination(options.place, "--from")
    found = running.run(catalog(place.store, place.prefix, installation_key(options.state)))
    entries = [entry for entry in found if database is None or is_of(entry, database)]
    if options.output == "table":
        if not entries:
            say(f"No backups{f' of {database}' if database else ''} in {place.url(place.prefix)}")
        for line in backup_table(entries):
            say(line)
        for entry in entries:
            if entry.problem:
                error(entry.problem)
    else:
        emit({"items": [_document(place, entry) for entry in entries]}, options.output)
    return Exit.FAILED if any(entry.problem for entry in entries) else Exit.OK


def backup_table(entries: Sequence[Entry]) -> list[Text]:
    """The lines of `dbtether backup list`; none without backups."""
    if not entries:
        return []
    return table(("KEY", "DATABASE", "CLUSTER", "TAKEN", "SIZE", "STATE"), map(_row, entries))


def show_command(options: LookOptions, key: str) -> Exit:
    """Print everything that is known of one dump."""
    place = destination(options.place, "--from")
    entry = running.run(read_entry(place.store, place.key(key), installation_key(options.state)))
    if options.output == "table":
        for name, value in _facts(place, entry):
            say(f"{name.ljust(14)}{value}")
        if entry.problem:
            error(entry.problem)
    else:
        emit(_document(place, entry), options.output)
    return Exit.FAILED if entry.problem else Exit.OK


def verify_command(options: LookOptions, key: str) -> Exit:
    """Read one dump from end to end and compare it with its manifest."""
    place = destination(options.place, "--from")
    entry, found, problem = running.run(verify_entry(place, place.key(key), installation_key(options.state)))
    if options.output != "table":
        told = {} if found is None else {"tables": dict(found.rows or {}), "sha256": found.object_sha256}
        emit({"url": place.url(entry.key), "sound": problem is None, "problem": problem, **told}, options.output)
    elif problem is not None:
        error(problem if place.store.url in problem else f"{place.url(entry.key)}: {problem}")
    elif found is not None:
        _print_verified(place, entry, found)
    return Exit.OK if problem is None else Exit.FAILED


async def verify_entry(
    place: Destination, key: str, installation_key: bytes | None
) -> tuple[Entry, Verified | None, str | None]:
    """The dump at a key, what reading all of it told, and what is wrong with it. Raises StorageError."""
    entry = await read_entry(place.store, key, installation_key)
    if entry.problem is not None:
        return entry, None, entry.problem
    manifest = entry.manifest
    format_: DumpFormat = format_of(key) if manifest is None else manifest.format
    try:
        return entry, await verify(place.store.stream(key), format_, _expected(manifest)), None
    except DumpDamaged as damage:
        return entry, None, str(damage)


def _expected(manifest: Manifest | None) -> Expected:
    if manifest is None:
        return Expected()
    return Expected(
        object_bytes=manifest.stored.bytes,
        object_sha256=manifest.stored.sha256,
        plain_bytes=manifest.plain.bytes,
        plain_sha256=manifest.plain.sha256,
        rows=manifest.tables,
    )


def _print_verified(place: Destination, entry: Entry, found: Verified) -> None:
    say(f"{place.url(entry.key)} is sound", style="green")
    counted = "" if found.rows is None else f", {len(found.rows):,} tables, {sum(found.rows.values()):,} rows"
    say(f"  read     {size_text(found.object_bytes)}, unpacked {size_text(found.plain_bytes)}{counted}")
    say(f"  sha256   {found.object_sha256}")
    if entry.manifest is None:
        note("there is no manifest: this says that the dump is complete, not that it is what was once written")


def installation_key(state: str) -> bytes | None:
    """The key of the state directory where there is one: it tells whether a manifest is our own."""
    try:
        with LocalStore.open(Path(state), read_only=True) as store:
            return store.fingerprint_key
    except StateError:
        return None


def is_of(entry: Entry, database: str) -> bool:
    if entry.manifest is None:
        return database in entry.key.split("/")[:-1]
    return database in (entry.manifest.source.database, entry.manifest.source.resource)


def _row(entry: Entry) -> tuple[str, ...]:
    source = None if entry.manifest is None else entry.manifest.source
    return (
        entry.key,
        "" if source is None else source.database,
        "" if source is None else source.cluster,
        instant_text(entry.taken),
        "" if entry.size is None else size_text(entry.size),
        entry.state.value,
    )


def _facts(place: Destination, entry: Entry) -> list[tuple[str, str]]:
    facts = [("object", place.url(entry.key)), ("state", entry.state.value)]
    if entry.size is not None:
        facts.append(("size", size_text(entry.size)))
    manifest = entry.manifest
    if manifest is None:
        return [*facts, ("written", entry.last_modified.isoformat(timespec="seconds"))]
    source = manifest.source
    facts += [
        (
            "database",
            f"{source.database} (Database {source.namespace}/{source.resource}) on DBCluster {source.cluster}",
        ),
        ("taken", manifest.snapshot_at.isoformat(timespec="seconds")),
        ("by", f"pg_dump {manifest.client_version} of server {source.server_version}, run {manifest.run_id}"),
        ("signed", "by this installation" if entry.trust.value == "ours" else "by nobody whose key is here"),
        ("sha256", manifest.stored.sha256),
        ("unpacked", size_text(manifest.plain.bytes)),
        ("encoding", f"{source.encoding}, {source.collation.collate} ({source.collation.provider})"),
        ("owner", source.owner),
    ]
    if source.extensions:
        facts.append(("extensions", ", ".join(f"{item.name} {item.version}" for item in source.extensions)))
    if manifest.tables is not None:
        facts.append(("holds", f"{len(manifest.tables):,} tables, {sum(manifest.tables.values()):,} rows"))
    return facts


def _document(place: Destination, entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"url": place.url(entry.key), "key": entry.key, "state": entry.state.value}
    found |= {"size": entry.size, "taken": entry.taken.isoformat(timespec="seconds"), "trust": entry.trust.value}
    if entry.problem is not None:
        found["problem"] = entry.problem
    if entry.manifest is not None:
        found["manifest"] = entry.manifest.model_dump(mode="json", exclude_none=True)
    return found
