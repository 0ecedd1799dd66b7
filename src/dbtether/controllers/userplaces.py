"""Where a DatabaseUser belongs: the Databases that it refers to, their consent, their one DBCluster; and what
is left of that when consent is withdrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from dbtether.api.database import DatabasePhase, DatabaseSpec, DriftPolicy, database_name
from dbtether.api.databaseuser import DatabaseUserSpec, Target, UserDatabaseStatus
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.references import Privileges
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import check
from dbtether.controllers.base import Waiting, World
from dbtether.controllers.consent import admitting_database
from dbtether.controllers.grants import grant_group_for, highest_level
from dbtether.errors import Blocked


@dataclass(frozen=True, slots=True)
class Place:
    """A target of a user with the database behind it."""

    target: Target
    database: str
    """Its name in PostgreSQL."""
    grant_role: str | None = None
    """The role for the user's additional grants there."""
    only_reports: bool = False
    """Whether the Database has drift reported, not repaired."""

    @property
    def key(self) -> Key:
        """The Database resource."""
        return Key("Database", self.target.namespace, self.target.name)


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
    return cluster, tuple(
        _place(spec, target, database_name(s, database.key.name), s.drift_policy is DriftPolicy.REPORT)
        for target, database, s in found
    )


def _place(spec: DatabaseUserSpec, target: Target, database: str, only_reports: bool = False) -> Place:
    group = grant_group_for(spec.additional_grants, target.privileges, database)
    return Place(target, database, None if group is None else group.name, only_reports)


async def _database(world: World, user: Resource, target: Target) -> tuple[Resource, DatabaseSpec]:
    key = Key("Database", target.namespace, target.name)
    database, spec = await admitting_database(world, key, user.key.namespace)
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


def refuse_too_high(cluster: DBClusterSpec, spec: DatabaseUserSpec, places: tuple[Place, ...], namespace: str) -> None:
    """Raise Blocked for privileges beyond what the DBCluster allows users of the namespace."""
    limit = cluster.privileges_limit(namespace)
    if limit is None:
        return
    highest = highest_level(spec.additional_grants)
    if highest is not None and highest.rank > limit.rank:
        raise Blocked(
            "PrivilegesTooHigh",
            f"spec.additionalGrants asks for what {highest} users have: the DBCluster allows at most {limit} for "
            f"users of namespace {namespace} (its spec.maxPrivileges)",
        )
    for place in places:
        if place.target.privileges.rank > limit.rank:
            raise Blocked(
                "PrivilegesTooHigh",
                f"{place.target.privileges} on database {place.database}: the DBCluster allows at most "
                f"{limit} for users of namespace {namespace} (its spec.maxPrivileges)",
            )


# ---- consent that is withdrawn

_Places = dict[tuple[str, str], Place]
"""By namespace and name of the Database."""


async def remaining_places(
    world: World, user: Resource, spec: DatabaseUserSpec | None, cluster: DBClusterSpec
) -> tuple[Place, ...] | None:
    """What a refused user may keep of what it has; None when nobody took his consent back.

    A Database that is away, invalid or not Ready takes nothing back. With an invalid spec (None) the status
    alone tells what the user has: nobody keeps access by breaking his own resource.
    """
    namespace = user.key.namespace
    if not cluster.allows(namespace, await world.namespace_labels(namespace)):
        return ()
    limit = cluster.privileges_limit(namespace)
    asked = {(target.namespace, target.name): target for target in (spec.targets(namespace) if spec else ())}
    has = _recorded(user)
    if _is_cut(user):
        has |= {key: place for key, place in (await _ready_places(world, asked)).items() if key not in has}
    refused = {key for key in {**asked, **has} if await _is_refused(world, user, key)}
    levels = [target.privileges for target in (*asked.values(), *(place.target for place in has.values()))]
    highest = highest_level(spec.additional_grants) if spec else None
    if limit is not None and highest is not None:
        levels.append(highest)
    is_too_high = limit is not None and any(level.rank > limit.rank for level in levels)
    if not refused and not is_too_high:
        return None
    kept = [key for key in has if key not in refused and (spec is None or key in asked)]
    places = [_lowered(has[key], asked.get(key), limit) for key in kept]
    if spec is None or (limit is not None and highest is not None and highest.rank > limit.rank):
        return tuple(places)
    # The additional grants stay where the login has them already: see `limit_login`.
    return tuple(_place(spec, place.target, place.database) for place in places)


def _lowered(place: Place, asked: Target | None, limit: Privileges | None) -> Place:
    """The place with the lowest of what the user has, asks for and may have."""
    levels = [place.target.privileges, limit, None if asked is None else asked.privileges]
    lowest = min((level for level in levels if level is not None), key=lambda level: level.rank)
    return replace(place, target=replace(place.target, privileges=lowest))


def _recorded(user: Resource) -> _Places:
    """What the user had when it was Ready, as its status tells."""
    found: _Places = {}
    for entry in user.status.get("databases", ()):
        # The older operator left the user's own namespace out, and knew a level more.
        complete = {"namespace": user.key.namespace, **(entry if isinstance(entry, Mapping) else {})}
        try:
            known = UserDatabaseStatus.model_validate(complete)
        except ValidationError:
            continue
        if known.database_name is not None and known.privileges is not None:
            target = Target(known.namespace, known.name, known.privileges)
            found[(target.namespace, target.name)] = Place(target, known.database_name)
    return found


def _is_cut(user: Resource) -> bool:
    """Whether the status has no room for all of the user's databases."""
    return bool(user.status.get("databasesCount", 0) > len(user.status.get("databases", ())))


async def _ready_places(world: World, targets: Mapping[tuple[str, str], Target]) -> _Places:
    found: _Places = {}
    for (namespace, name), target in targets.items():
        key = Key("Database", namespace, name)
        database = await world.store.get(key)
        spec = None if database is None else check(DatabaseSpec, key, database.spec)[0]
        if database is not None and spec is not None and database.status.get("phase") == DatabasePhase.READY:
            found[(namespace, name)] = Place(target, database_name(spec, name))
    return found


async def _is_refused(world: World, user: Resource, target: tuple[str, str]) -> bool:
    """Whether the Database is there and does not allow the user's namespace."""
    key = Key("Database", *target)
    database = await world.store.get(key)
    spec = None if database is None else check(DatabaseSpec, key, database.spec)[0]
    return spec is not None and not spec.allows(key.namespace, user.key.namespace)
