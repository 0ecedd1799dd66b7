"""Who names what: the databases and logins that resources claim, kept from the store's changes.

Specs are read here before anybody has validated them, so a malformed one claims nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dbtether.api.databaseuser import RotationStrategy
from dbtether.api.names import second_login
from dbtether.api.resource import Key, Resource
from dbtether.controllers.rotation import recorded_logins
from dbtether.runtime.store import Change, ChangeType, Store


class Directory:
    """Clusters of resources, and who else names a database or login. Open it before the control loop runs."""

    def __init__(self) -> None:
        self._resources: dict[Key, Resource] = {}
        self._by_name: dict[tuple[str, str], set[Key]] = {}
        self._granting: dict[Key, set[Key]] = {}

    async def open(self, store: Store) -> None:
        """Take in what is there and follow the changes."""
        store.subscribe(self._take_in)
        for kind in ("Database", "DatabaseUser"):
            for resource in await store.list(kind):
                self._put(resource)

    def cluster_of(self, key: Key) -> str:
        """The name of the DBCluster that a resource's work goes to; empty when nothing tells."""
        if key.kind == "DBCluster":
            return key.name
        resource = self._resources.get(key)
        if resource is None:
            return ""
        if key.kind == "Database":
            return _text(_part(resource.spec, "clusterRef"), "name")
        for target in database_keys(resource):
            if cluster := self.cluster_of(target):
                return cluster
        return _text(resource.status, "clusterName")

    def holder(self, key: Key, cluster: str, name: str) -> Resource | None:
        """The other resource of the kind that has this name on this cluster already.

        First come, first served: who was accepted first, not who was written down first. A resource that the
        cluster or a Database does not admit could otherwise keep a name from everybody.
        """
        found = [other for other in self._others(key, name) if self._holds(other, cluster, name)]
        return min(found, key=lambda other: (other.created, other.key), default=None)

    def rivals(self, resource: Resource) -> tuple[Key, ...]:
        """The other resources of the kind that name the same thing on the same cluster, sorted."""
        cluster = self.cluster_of(resource.key)
        others = {other.key for name in claimed_names(resource) for other in self._others(resource.key, name)}
        return tuple(sorted(other for other in others if self.cluster_of(other) == cluster))

    def claimants(self, database: Resource, login: str) -> tuple[Key, ...]:
        """The DatabaseUsers of the Database's namespace and cluster that claim a login, sorted."""
        cluster, namespace = self.cluster_of(database.key), database.key.namespace
        keys = self._by_name.get(("DatabaseUser", login), set())
        return tuple(sorted(key for key in keys if key.namespace == namespace and self.cluster_of(key) == cluster))

    def is_leaving(self, database: Resource, login: str) -> bool:
        """Whether a DatabaseUser of the Database's namespace that claims a login is being deleted."""
        return any(self._resources[key].deleted is not None for key in self.claimants(database, login))

    def _others(self, key: Key, name: str) -> list[Resource]:
        return [self._resources[other] for other in self._by_name.get((key.kind, name), ()) if other != key]

    def _holds(self, resource: Resource, cluster: str, name: str) -> bool:
        if resource.key.kind == "Database":
            return self.cluster_of(resource.key) == cluster and resource.status.get("databaseName") == name
        return resource.status.get("clusterName") == cluster and name in recorded_logins(resource.status)

    def users_of_cluster(self, cluster: str) -> tuple[Resource, ...]:
        """The Databases and DatabaseUsers of a cluster, sorted by key."""
        return tuple(self._resources[key] for key in sorted(self._resources) if self.cluster_of(key) == cluster)

    def users_with_grants(self, database: Key) -> tuple[Resource, ...]:
        """The DatabaseUsers that refer to a Database and have additionalGrants, the oldest first."""
        found = [self._resources[user] for user in self._granting.get(database, ())]
        return tuple(sorted(found, key=lambda user: (user.created, user.key)))

    def _take_in(self, change: Change) -> None:
        if change.key.kind not in ("Database", "DatabaseUser"):
            return
        if change.type is ChangeType.REMOVED:
            self._forget(change.key)
        elif change.new is not None:
            self._put(change.new)

    def _put(self, resource: Resource) -> None:
        self._forget(resource.key)
        self._resources[resource.key] = resource
        for name in claimed_names(resource):
            self._by_name.setdefault((resource.key.kind, name), set()).add(resource.key)
        for database in _databases_of_grants(resource):
            self._granting.setdefault(database, set()).add(resource.key)

    def _forget(self, key: Key) -> None:
        known = self._resources.pop(key, None)
        if known is None:
            return
        for name in claimed_names(known):
            self._by_name.get((key.kind, name), set()).discard(key)
        for database in _databases_of_grants(known):
            self._granting.get(database, set()).discard(key)


def claimed_names(resource: Resource) -> tuple[str, ...]:
    """The names in PostgreSQL that a Database or DatabaseUser has, or claims while it has none.

    Two where logins take turns.
    """
    if resource.key.kind == "Database":
        return (_text(resource.spec, "databaseName") or resource.key.name.replace("-", "_"),)
    name = _text(resource.status, "username") or _text(resource.spec, "username") or resource.key.name
    takes_turns = _text(_part(resource.spec, "rotation"), "strategy") == RotationStrategy.OVERLAP
    return (name, second_login(name)) if takes_turns or resource.status.get("secondLogin") else (name,)


def _databases_of_grants(resource: Resource) -> tuple[Key, ...]:
    if resource.key.kind != "DatabaseUser" or not resource.spec.get("additionalGrants"):
        return ()
    return database_keys(resource)


def database_keys(user: Resource) -> tuple[Key, ...]:
    """The Databases that a DatabaseUser refers to, in the spec's order."""
    return tuple(dict.fromkeys(_database_keys(user)))


def _database_keys(user: Resource) -> Iterator[Key]:
    listed = user.spec.get("databases")
    entries = [user.spec.get("databaseRef"), user.spec.get("database")]
    for entry in [*entries, *(listed if isinstance(listed, list) else [])]:
        if isinstance(entry, Mapping) and (name := _text(entry, "name")):
            yield Key("Database", _text(entry, "namespace") or user.key.namespace, name)


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""
