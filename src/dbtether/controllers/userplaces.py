"""Where a DatabaseUser belongs: the Databases that it refers to, their consent, and their one DBCluster."""

from dataclasses import dataclass

from dbtether.api.database import DatabasePhase, DatabaseSpec, database_name
from dbtether.api.databaseuser import DatabaseUserSpec, Target
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.base import Waiting, World
from dbtether.errors import Blocked


@dataclass(frozen=True, slots=True)
class Place:
    """A target of a user with the database behind it."""

    target: Target
    database: str
    """Its name in PostgreSQL."""


async def find_places(world: World, user: Resource, spec: DatabaseUserSpec) -> tuple[str, tuple[Place, ...]]:
    """The name of the DBCluster, and the databases.

    Raises Waiting until all are there, admit the user and are Ready, Blocked when they are on two DBClusters.
    """
    found = [(target, *await _database(world, user, target)) for target in spec.targets(user.key.namespace)]
    clusters = {database_spec.cluster_ref.name: database.key for _, database, database_spec in found}
    if len(clusters) > 1:
        first, second, *_ = clusters.values()
        raise Blocked("ClustersDiffer", f"{first} and {second} are on different DBClusters; create a user for each")
    (cluster,) = clusters
    known = user.status.get("clusterName")
    if known not in (None, cluster):
        raise Blocked(
            "ClustersDiffer",
            f"The login is on DBCluster {known} and {clusters[cluster]} is on {cluster}; create another user for it",
        )
    for _, database, _ in found:
        _refuse_unready(database)
    places = (Place(target, database_name(s, database.key.name)) for target, database, s in found)
    return cluster, tuple(places)


async def _database(world: World, user: Resource, target: Target) -> tuple[Resource, DatabaseSpec]:
    key = Key("Database", target.namespace, target.name)
    database = await world.store.get(key)
    spec = None if database is None else check(DatabaseSpec, key, database.spec)[0]
    own = target.namespace == user.key.namespace
    if database is None or (not own and (spec is None or not spec.allows(target.namespace, user.key.namespace))):
        # One sentence for both: a refusal does not tell whether the target exists.
        refused = "" if own else f' or does not allow the namespace "{user.key.namespace}"'
        raise Waiting("DatabaseNotFound", f"{key} does not exist{refused}")
    if spec is None:
        raise Waiting("DatabaseNotReady", f"{key} is not valid: see its status")
    return database, spec


def _refuse_unready(database: Resource) -> None:
    if database.deleted is not None:
        raise Waiting("DatabaseNotReady", f"{database.key} is being deleted")
    # A newer spec that is not applied yet changes nothing for a user: name and groups stay.
    if database.status.get("phase") != DatabasePhase.READY:
        why = database.status.get("message")
        raise Waiting("DatabaseNotReady", f"{database.key} is not ready" + (f": {why}" if why else ""))


def refuse_too_high(cluster: DBClusterSpec, places: tuple[Place, ...], namespace: str) -> None:
    """Raise Blocked for privileges beyond what the DBCluster allows users of the namespace."""
    limit = cluster.privileges_limit(namespace)
    if limit is None:
        return
    for place in places:
        if place.target.privileges.rank > limit.rank:
            raise Blocked(
                "PrivilegesTooHigh",
                f"{place.target.privileges} on database {place.database}: the DBCluster allows at most "
                f"{limit} for users of namespace {namespace} (its spec.maxPrivileges)",
            )
