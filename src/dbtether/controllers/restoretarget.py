"""The database that a Restore puts its source into, as its Database resource wants it."""

from dataclasses import dataclass, replace

from dbtether.api.database import DatabasePhase, DatabaseSpec
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.resource import Key, Resource
from dbtether.api.restore import OnConflict, RestoreSpec
from dbtether.api.validation import check
from dbtether.controllers.base import Waiting, World, connected_server
from dbtether.controllers.databaseadopt import known_owners
from dbtether.controllers.databasedesired import desired_database
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredDatabase
from dbtether.postgres.restores.model import Restores
from dbtether.postgres.server.access import Server
from dbtether.postgres.server.looking import look_from_outside


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A target with everything that its resource leads to."""

    resource: Resource
    spec: DatabaseSpec
    cluster: str
    cluster_spec: DBClusterSpec
    server: Server
    desired: DesiredDatabase

    @property
    def key(self) -> Key:
        """The Database resource."""
        return self.resource.key

    @property
    def name(self) -> str:
        """In PostgreSQL."""
        return self.desired.name

    async def restores(self) -> Restores:
        """What restores have left on the server. Raises Retryable or Blocked."""
        desired = self.desired
        return await self.server.restores(self.name, desired.marker, desired.roles, desired.known_owners)


def target_key(restore: Resource, spec: RestoreSpec) -> Key:
    """The Database that a Restore names: one of its own namespace."""
    return Key("Database", restore.key.namespace, spec.target.database_ref.name)


async def restored_database(
    world: World, restore: Resource, spec: RestoreSpec, *, is_under_way: bool = False
) -> RestoredDatabase:
    """The target on its server. Raises Waiting until it can be restored into, Retryable, or Blocked.

    A run that `is_under_way` may find it closed, which is its own doing; but not gone.
    """
    key = target_key(restore, spec)
    resource = await world.store.get(key)
    wanted = None if resource is None else check(DatabaseSpec, key, resource.spec)[0]
    if resource is None or resource.deleted is not None:
        if is_under_way:
            raise Blocked("DatabaseNotFound", f"{key}, the target, was deleted meanwhile")
        raise Waiting("DatabaseNotFound", f"{key} does not exist")
    if wanted is None or (not is_under_way and resource.status.get("phase") != DatabasePhase.READY):
        why = resource.status.get("message")
        raise Waiting("DatabaseNotReady", f"{key} is not ready" + (f": {why}" if why else ""))
    cluster = wanted.cluster_ref.name
    cluster_spec, server = await connected_server(world, cluster, key.namespace, was_admitted=is_under_way)
    desired = desired_database(resource, wanted, cluster_spec, world.store.installation)
    outside = await look_from_outside(server, desired)
    owners = known_owners(world, resource, cluster_spec, desired, outside)
    desired = replace(desired, known_owners=owners)
    return RestoredDatabase(resource, wanted, cluster, cluster_spec, server, desired)


def refuse_protected(target: RestoredDatabase, spec: RestoreSpec) -> None:
    """Raises Blocked where deletionProtection keeps what is there."""
    if target.spec.deletion_protection and spec.on_conflict is not OnConflict.FAIL:
        raise Blocked(
            "DeletionProtected",
            f"{target.key} has spec.deletionProtection, which refuses a Restore with onConflict: {spec.on_conflict}: "
            "nothing was changed; take it off for the restore, or restore into another Database",
        )
