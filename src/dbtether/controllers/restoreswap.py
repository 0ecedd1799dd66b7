"""A restored database takes its target's place, or is given up."""

from datetime import timedelta

from dbtether.api.resource import Resource
from dbtether.api.restore import RestoreSpec
from dbtether.controllers.base import World
from dbtether.controllers.databaseswap import Place, change_places, tell_database
from dbtether.controllers.restorerun import drop_staging
from dbtether.controllers.restorestate import Run
from dbtether.controllers.restoretarget import RestoredDatabase
from dbtether.postgres.restores.looking import look_at_swap
from dbtether.postgres.restores.model import Completed, DesiredSwap, staging_name
from dbtether.postgres.restores.plan import plan_open


async def swap(world: World, restore: Resource, spec: RestoreSpec, target: RestoredDatabase, run: Run) -> None:
    """Put the restored database in the target's place, unless that is done. Raises Retryable or Blocked."""
    desired = _desired(world, spec, target, run)
    async with target.server.lock(target.desired.roles.owner):
        await change_places(world, Place(restore.key, target.cluster, target.server), desired)
        await tell_database(world, target.resource, await target.restores())


async def abandon(world: World, restore: Resource, spec: RestoreSpec, target: RestoredDatabase, run: Run) -> bool:
    """Open the target again and drop the database beside it. True when that one has taken its place already.

    A drill has never closed the target: whoever has may be in the middle of it. Raises Retryable or Blocked.
    """
    if spec.verify_only:
        async with target.server.lock(target.desired.roles.owner):
            await drop_staging(world, restore, target, run)
        return False
    desired = _desired(world, spec, target, run)
    async with target.server.lock(target.desired.roles.owner):
        observed = await look_at_swap(target.server, desired)
        if observed.is_done:
            return True
        await world.executor.run(restore.key, target.cluster, target.server, plan_open(desired, observed))
        await drop_staging(world, restore, target, run)
    return False


def _desired(world: World, spec: RestoreSpec, target: RestoredDatabase, run: Run) -> DesiredSwap:
    return DesiredSwap(
        database=target.name,
        marker=target.desired.marker,
        roles=target.desired.roles,
        run_id=run.id,
        incoming=staging_name(target.name, run.id),
        expires=world.now() + timedelta(seconds=spec.keep_replaced_for.seconds),
        completed=Completed(run.spec_hash, run.id),
        known_owners=target.desired.known_owners,
    )
