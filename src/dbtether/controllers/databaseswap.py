"""Two databases change places, and whoever works in them is told. Nothing here knows a Restore."""

import asyncio
from dataclasses import dataclass
from typing import Any

from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.controllers.base import World
from dbtether.controllers.restorerights import users_of
from dbtether.errors import Retryable
from dbtether.postgres.restores.guards import swap_blocked
from dbtether.postgres.restores.looking import look_at_swap
from dbtether.postgres.restores.model import DesiredSwap, Restores
from dbtether.postgres.restores.plan import plan_open, plan_swap
from dbtether.postgres.server.access import Server

_TRIES = 8
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where two databases change places, and for which resource."""

    key: Key
    """Of the resource that asks for it."""
    cluster: str
    server: Server


async def change_places(world: World, place: Place, desired: DesiredSwap) -> None:
    """Run the swap, again at once while clients come in between. Raises Retryable or Blocked: then all is as before.

    The caller holds the lock of the database.
    """
    for attempt in range(1, _TRIES + 1):
        observed = await look_at_swap(place.server, desired)
        if observed.is_done:
            return
        if (blocked := swap_blocked(desired, observed)) is not None:
            await world.executor.run(place.key, place.cluster, place.server, plan_open(desired, observed))
            raise blocked
        try:
            await world.executor.run(place.key, place.cluster, place.server, plan_swap(desired, observed))
        except Retryable:
            if attempt == _TRIES:
                observed = await look_at_swap(place.server, desired)
                await world.executor.run(place.key, place.cluster, place.server, plan_open(desired, observed))
                raise
            await asyncio.sleep(_PAUSE_SECONDS * 2 ** min(attempt, 5))
        else:
            return


async def tell_database(world: World, database: Resource, restores: Restores) -> None:
    """Have the Database's status list what is kept, and what it and its users find be no drift but a wish."""
    await world.record(database, {"replaced": replaced_entries(restores) or None, "appliedGeneration": None})
    for user in await users_of(world, database.key):
        await world.record(user, {"appliedGeneration": None})


def replaced_entries(restores: Restores) -> list[dict[str, Any]]:
    """The status entries of the databases that are kept, the newest first: those that a person put away by an undo
    are in no record.
    """
    order = {done.run_id: number for number, done in enumerate(restores.record)}
    kept = sorted(restores.replaced, key=lambda item: (order.get(item.run_id, -1), item.database))
    entries: list[dict[str, Any]] = [
        {"name": item.database, "runId": item.run_id, "until": instant_text(item.expires)} for item in kept
    ]
    return entries[:MAX_STATUS_ENTRIES]
