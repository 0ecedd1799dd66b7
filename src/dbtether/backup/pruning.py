"""Retention carried out on a store: looks, lets the pure rules decide, looks again, and only then deletes.

Nothing is deleted when a listing or a manifest could not be read, when a backup that the decision counts on is not
there any more, or when what would go has changed. The object goes first and its manifest last: a crash between the
two leaves a manifest without an object, which the next round finishes, and never an object that nothing tells of.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from dbtether.backup.catalog import HOLD_SUFFIX, Entry, State
from dbtether.backup.keys import release_of
from dbtether.backup.manifest import Trust, manifest_key
from dbtether.backup.retention import DatabaseId, Policy, RetentionPlan, Stored, plan_retention
from dbtether.errors import Retryable
from dbtether.storage.errors import StorageError
from dbtether.storage.store import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class Rule:
    """Whose backups are judged, and by what."""

    schedule: str | None
    """`namespace/name`; None for those that a person asked for."""
    database: DatabaseId
    policies: Mapping[str | None, Policy]
    """Of every schedule of the database, this one among them."""
    confirmed: str | None = None
    """How many may go at once, where those are more than half of many."""
    held: Collection[str] = ()
    """Keys that stay whatever the rules say, such as those that are being restored."""
    any_signature: bool = False
    """Whether a manifest that this installation did not sign is believed as well."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes and what stays, and what it was decided from."""

    plan: RetentionPlan
    leftovers: tuple[str, ...]
    """Keys of manifests whose object an earlier round deleted before it was cut off."""
    entries: Mapping[str, Entry] = field(repr=False)

    @property
    def to_delete(self) -> tuple[str, ...]:
        """The keys that may go now, the oldest first."""
        return (*self.leftovers, *reversed(self.plan.to_delete)) if self.plan.refusal is None else ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a decision."""

    deleted: tuple[str, ...]
    failure: StorageError | None = None
    """The first reason why not everything is gone; what is left is tried again next time."""


def decide(rule: Rule, entries: Sequence[Entry], now: datetime) -> Decision:
    """What goes and what stays of what the store's catalog has. Pure."""
    objects = [_stored(entry, rule) for entry in entries]

    def planned(those: Sequence[Stored]) -> RetentionPlan:
        return plan_retention(rule.schedule, rule.database, rule.policies, those, now, rule.confirmed)

    # An object that somebody else took away stays told of: only what the rules would not keep is a leftover.
    gone = {entry.key for entry in entries if entry.state is State.NO_OBJECT}
    as_before = planned([replace(one, is_complete=True) if one.key in gone else one for one in objects])
    leftovers = tuple(judged.key for judged in reversed(as_before.removed) if judged.key in gone)
    return Decision(planned(objects), leftovers, {entry.key: entry for entry in entries})


async def prune(
    store: ObjectStore, folder: str, decision: Decision, *, on_delete: Callable[[str], None] = lambda _: None
) -> Pruned:
    """Delete what may go, if the store is still as the decision saw it.

    Raises StorageError when it cannot be listed, and Retryable when it has changed: nothing was deleted then.
    """
    if not decision.to_delete:
        return Pruned(())
    listed = {found.key: found for found in await store.list(folder)}
    for key in _counted_on(decision):
        if not _is_as_seen(decision.entries[key], listed):
            raise Retryable(
                "BackupsChanged",
                f"{store.url}/{key} was changed or deleted while retention decided: nothing was deleted, and the next "
                "round decides anew",
            )
    deleted: list[str] = []
    failure: StorageError | None = None
    for key in decision.to_delete:
        if f"{key}{HOLD_SUFFIX}" in listed:
            continue
        try:
            await _delete(store, decision.entries[key])
        except StorageError as error:
            failure = failure or error
            if error.fault.passes:
                break
            # One object that may not go, such as a locked one, keeps no other.
            continue
        deleted.append(key)
        on_delete(key)
    return Pruned(tuple(deleted), failure)


def databases_of(entries: Sequence[Entry], *, any_signature: bool) -> tuple[DatabaseId, ...]:
    """The databases that believable manifests tell of, sorted."""
    return tuple(sorted({found for entry in entries if (found := _database(entry, any_signature)) is not None}))


def _stored(entry: Entry, rule: Rule) -> Stored:
    manifest, database = entry.manifest, _database(entry, rule.any_signature)
    if manifest is None or database is None:
        return Stored(entry.key)
    origin = manifest.origin
    return Stored(
        entry.key,
        database,
        None if origin.schedule is None else f"{origin.namespace}/{origin.schedule}",
        manifest.snapshot_at,
        is_complete=entry.state is State.COMPLETE,
        is_held=entry.is_held or entry.key in rule.held,
    )


def _database(entry: Entry, any_signature: bool) -> DatabaseId | None:
    manifest = entry.manifest
    if manifest is None or (entry.trust is not Trust.OURS and not any_signature):
        return None
    return DatabaseId(manifest.installation, manifest.source.cluster, manifest.source.database)


def _counted_on(decision: Decision) -> Iterator[str]:
    """What must be as it was: all that stays because of a rule, and all that goes."""
    yield from (judged.key for judged in decision.plan.kept)
    yield from decision.to_delete


def _is_as_seen(entry: Entry, listed: Mapping[str, ObjectInfo]) -> bool:
    found, told = listed.get(entry.key), listed.get(manifest_key(entry.key))
    if told is None or told.last_modified != entry.last_modified:
        return False
    return (None if found is None else found.size) == entry.size


async def _delete(store: ObjectStore, entry: Entry) -> None:
    await store.delete(entry.key)
    await store.delete(manifest_key(entry.key))
    if entry.manifest is not None:
        await release_of(store, entry.key, entry.manifest.run_id)
