"""What restores have left beside a database: kept for its time, put back when asked, dropped when nobody needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.kinds import UNDO_RESTORE
from dbtether.api.names import short_id
from dbtether.api.resource import Key, Resource
from dbtether.controllers.base import Waiting, World
from dbtether.controllers.databaseswap import Place, change_places, replaced_entries, tell_database
from dbtether.controllers.restorerights import users_of
from dbtether.controllers.restorestate import is_drill, recorded_run
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.restores.looking import look_at_drop, look_at_swap
from dbtether.postgres.restores.model import DesiredSwap, Replaced, Restores, Staging
from dbtether.postgres.restores.plan import plan_drop_replaced, plan_drop_staging, plan_open
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement
from dbtether.runtime.store import EventType

_KEPT_AFTER_UNDO = timedelta(hours=24)
_RUN_DIGITS = 8
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Beside:
    """A database of a resource, and the server where others may lie beside it."""

    resource: Resource
    cluster: str
    server: Server
    desired: DesiredDatabase

    async def restores(self) -> Restores:
        """What restores have left. Raises Retryable or Blocked."""
        desired = self.desired
        return await self.server.restores(desired.name, desired.marker, desired.roles, desired.known_owners)

    def swap(self, incoming: str, run_id: str, expires: datetime) -> DesiredSwap:
        """The swap by which another one takes the database's place."""
        desired = self.desired
        return DesiredSwap(
            database=desired.name,
            marker=desired.marker,
            roles=desired.roles,
            run_id=run_id,
            incoming=incoming,
            expires=expires,
            known_owners=desired.known_owners,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept beside a database, as its status tells."""

    entries: Sequence[dict[str, Any]] = ()
    next: datetime | None = None
    """When the next one is to be dropped."""

    @property
    def fields(self) -> dict[str, object]:
        """The status field."""
        return {"replaced": list(self.entries) or None}


async def restore_under_way(world: World, database: Key, *, with_drills: bool = True) -> Resource | None:
    """The Restore that works on a Database now, or beside it, as drills do."""
    for restore in await world.store.list("Restore"):
        run = recorded_run(restore)
        if is_drill(restore) and not with_drills:
            continue
        if run is not None and not run.is_over and restore.key.namespace == database.namespace:
            target = restore.spec.get("target")
            if isinstance(target, dict) and target.get("databaseRef") == {"name": database.name}:
                return restore
    return None


async def keep_replaced(world: World, beside: Beside) -> Kept:
    """Drop what has been kept for its time, and what no Restore loads into any more. Raises Retryable or Blocked."""
    status = beside.resource.status
    if not status.get("replaced") and status.get("appliedGeneration") is not None:
        # A Restore that has left something says so, and so does a Database that knows nothing yet.
        return Kept()
    restores = await beside.restores()
    if await restore_under_way(world, beside.resource.key) is None:
        for staging in restores.staging:
            await _drop(world, beside, await _plan_staging(beside, staging))
    now = world.now()
    kept = [item for item in restores.replaced if item.expires > now]
    for item in restores.replaced:
        if item not in kept and await _drop(world, beside, await _plan_replaced(beside, item)):
            text = f"Database {item.database} was kept for its time after run {item.run_id}, and is dropped"
            await world.store.record_event(beside.resource, EventType.NORMAL, "ReplacedDatabaseDropped", text)
    entries = replaced_entries(Restores(restores.record, (), tuple(kept)))
    return Kept(entries, min((item.expires for item in kept), default=None))


async def drop_everything_beside(world: World, beside: Beside) -> None:
    """Drop what lies beside a database that is to be dropped itself. Raises Waiting, Retryable or Blocked."""
    if (restore := await restore_under_way(world, beside.resource.key)) is not None:
        raise Waiting("InUse", f"{restore.key} restores into it and is being ended", again_seconds=_AGAIN_SECONDS)
    restores = await beside.restores()
    for item in _swapping(restores):
        await _open(world, beside, item)
    for staging in restores.staging:
        await _drop(world, beside, await _plan_staging(beside, staging))
    for replaced in restores.replaced:
        await _drop(world, beside, await _plan_replaced(beside, replaced))


async def go_on_after_swap(world: World, beside: Beside, observed: ObservedDatabase) -> bool:
    """Open a database again that a swap has closed which nobody goes on with. True when it was opened.

    Raises Waiting while somebody does.
    """
    database = observed.database
    if database is None or database.allows_connections or UNDO_RESTORE in beside.resource.annotations:
        return False
    restores = await beside.restores()
    swapping = _swapping(restores)
    if not swapping:
        return False
    if (restore := await restore_under_way(world, beside.resource.key, with_drills=False)) is not None:
        text = f"{restore.key} is putting its database in the place of {beside.desired.name}"
        raise Waiting("Waiting", text, again_seconds=_AGAIN_SECONDS)
    for item in swapping:
        await _open(world, beside, item)
    return True


async def undo_restore(world: World, beside: Beside) -> None:
    """Put back what a restore has replaced, and take the wish off. Raises Waiting, Retryable or Blocked.

    The caller holds the lock of the database.
    """
    resource, wanted = beside.resource, beside.resource.annotations[UNDO_RESTORE]
    if (restore := await restore_under_way(world, resource.key, with_drills=False)) is not None:
        raise Waiting("InLine", f"{restore.key} restores into it; the undo follows", again_seconds=_AGAIN_SECONDS)
    restores = await beside.restores()
    entry = next((item for item in restores.replaced if item.run_id == wanted), None)
    # The same one each time, so that an undo that was cut off is gone on with.
    own = short_id("undo", wanted, digits=_RUN_DIGITS)
    if entry is None and not any(item.run_id == own for item in restores.replaced):
        raise Blocked(
            "RestoreExpired",
            f"The database from before run {wanted[:63]} is not kept any more, or never was: nothing was changed; take "
            f"the annotation {UNDO_RESTORE} off",
        )
    if entry is not None:
        expires = max(entry.expires, world.now() + _KEPT_AFTER_UNDO)
        place = Place(resource.key, beside.cluster, beside.server)
        await change_places(world, place, beside.swap(entry.database, own, expires))
    await tell_database(world, resource, await beside.restores())
    latest = await world.store.get(resource.key)
    if latest is not None and latest.uid == resource.uid:
        latest = await world.store.write_annotation(latest, UNDO_RESTORE, None)
        text = f"Database {beside.desired.name} is as it was before run {wanted}"
        await world.store.record_event(latest, EventType.NORMAL, "RestoreUndone", text)
    for user in await users_of(world, resource.key):
        world.verified_logins.forget(user.key)
        world.unproven_logins.add(user.key)
        world.wake(user.key)


def _swapping(restores: Restores) -> tuple[Staging | Replaced, ...]:
    found: tuple[Staging | Replaced, ...] = (*restores.staging, *restores.replaced)
    return tuple(item for item in found if item.is_swapping)


async def _open(world: World, beside: Beside, item: Staging | Replaced) -> None:
    desired = beside.swap(item.database, item.run_id, world.now())
    observed = await look_at_swap(beside.server, desired)
    await world.executor.run(beside.resource.key, beside.cluster, beside.server, plan_open(desired, observed))


async def _plan_staging(beside: Beside, item: Staging) -> tuple[Statement, ...]:
    desired = beside.desired
    observed = await look_at_drop(beside.server, item.database, desired.roles)
    return plan_drop_staging(desired.name, item.run_id, desired.roles, observed)


async def _plan_replaced(beside: Beside, item: Replaced) -> tuple[Statement, ...]:
    desired = beside.desired
    observed = await look_at_drop(beside.server, item.database, desired.roles, desired.known_owners)
    return plan_drop_replaced(desired.name, desired.marker, desired.roles, observed)


async def _drop(world: World, beside: Beside, statements: tuple[Statement, ...]) -> bool:
    await world.executor.run(beside.resource.key, beside.cluster, beside.server, statements)
    return bool(statements)
