"""What each kind's resources reference: changes of those wake them. Specs are not validated yet."""

from collections.abc import Iterator, Mapping
from typing import Any

from dbtether.api.kinds import SCHEDULE_LABEL
from dbtether.api.names import credentials_secret_name, per_database_secret_names
from dbtether.api.resource import Key, Resource
from dbtether.controllers.directory import Directory, database_keys
from dbtether.runtime.store import Change
from dbtether.runtime.wakeups import References


def references_of_cluster(resource: Resource) -> Iterator[Key]:
    """The Secrets with the admin's login and the TLS material."""
    tls = resource.spec.get("tls")
    parts = [resource.spec.get("credentialsSecretRef")]
    if isinstance(tls, dict):
        parts += [tls.get("caSecretRef"), tls.get("clientCertSecretRef")]
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("name"), str) and isinstance(part.get("namespace"), str):
            yield Key("Secret", part["namespace"], part["name"])


def references_of_storage(resource: Resource) -> Iterator[Key]:
    """The Secret with the store's keys."""
    part = resource.spec.get("credentialsSecretRef")
    if isinstance(part, dict) and isinstance(part.get("name"), str) and isinstance(part.get("namespace"), str):
        yield Key("Secret", part["namespace"], part["name"])


def references_of_database(resource: Resource) -> Iterator[Key]:
    """Its DBCluster, the namespace whose labels that one may ask for, and who makes the roles it names as owners."""
    yield Key("Namespace", "", resource.key.namespace)
    for owner in owners_of(resource):
        yield Key("DatabaseUser", resource.key.namespace, owner)
    part = resource.spec.get("clusterRef")
    if isinstance(part, dict) and isinstance(part.get("name"), str):
        yield Key("DBCluster", "", part["name"])


def owners_of(database: Resource) -> Iterator[str]:
    """The roles that a Database's spec names as owners, of itself and of its schemas."""
    schemas = database.spec.get("schemas")
    parts = [database.spec, *(schemas if isinstance(schemas, list) else [])]
    for part in parts:
        if isinstance(part, dict) and isinstance(owner := part.get("owner"), str):
            yield owner


def references_of_user(resource: Resource) -> Iterator[Key]:
    """Its Databases, the Secrets it writes, the one a password of one's own comes from, and its namespace."""
    yield Key("Namespace", "", resource.key.namespace)
    databases = database_keys(resource)
    yield from databases
    namespace, name = resource.key.namespace, resource.key.name
    yield Key("Secret", namespace, credentials_secret_name(name))
    if resource.spec.get("secretGeneration") == "perDatabase":
        names = per_database_secret_names(name, namespace, [(key.namespace, key.name) for key in databases])
        yield from (Key("Secret", namespace, secret_name) for secret_name in names.values())
    secret = resource.spec.get("secret")
    if isinstance(secret, dict) and isinstance(secret.get("name"), str):
        yield Key("Secret", namespace, secret["name"])
    for entry in resource.status.get("databases", ()):
        if isinstance(entry, dict) and isinstance(entry.get("secretName"), str):
            yield Key("Secret", namespace, entry["secretName"])
    own = resource.spec.get("passwordSecretRef")
    if isinstance(own, dict) and isinstance(own.get("name"), str):
        yield Key("Secret", namespace, own["name"])
    cluster = resource.status.get("clusterName")
    if isinstance(cluster, str) and cluster:
        yield Key("DBCluster", "", cluster)


def with_rivals(references: References, directory: Directory) -> References:
    """Those references, and whoever names the same database or login: when it goes, the next takes over.

    The DBCluster as well: a user that was never accepted learns of it through its Database alone, and hears
    of consent given later.
    """

    def found(resource: Resource) -> Iterator[Key]:
        yield from references(resource)
        if cluster := directory.cluster_of(resource.key):
            yield Key("DBCluster", "", cluster)
        yield from directory.rivals(resource)
        if resource.key.kind == "Database":
            for owner in owners_of(resource):
                yield from directory.claimants(resource, owner)

    return found


def schedule_of(change: Change) -> Iterator[Key]:
    """The BackupSchedule of a Backup or drill that has got another phase, is new or goes; progress is no news to it."""
    old, new = change.old, change.new
    if old is not None and new is not None and _as_its_schedule_sees(old) == _as_its_schedule_sees(new):
        return
    for backup in (old, new):
        name = None if backup is None else backup.labels.get(SCHEDULE_LABEL)
        if name:
            yield Key("BackupSchedule", change.key.namespace, name)


def _as_its_schedule_sees(backup: Resource) -> tuple[object, ...]:
    return (backup.uid, backup.deleted, backup.labels.get(SCHEDULE_LABEL), backup.status.get("phase"))


def references_of_backup(resource: Resource) -> Iterator[Key]:
    """Of a Backup or a BackupSchedule: Database, BackupStorage, and the namespace, whose labels that one asks for."""
    yield Key("Namespace", "", resource.key.namespace)
    yield from database_keys(resource)
    storage = resource.spec.get("storageRef")
    if isinstance(storage, dict) and isinstance(storage.get("name"), str):
        yield Key("BackupStorage", "", storage["name"])


def references_of_restore(resource: Resource) -> Iterator[Key]:
    """Its target, what its source names, and the namespace whose labels a storage may ask for."""
    namespace = resource.key.namespace
    yield Key("Namespace", "", namespace)
    target = _at(resource.spec, "target", "databaseRef")
    if isinstance(target.get("name"), str):
        yield Key("Database", namespace, target["name"])
    backup, latest = _at(resource.spec, "source", "backupRef"), _at(resource.spec, "source", "latestFrom")
    if isinstance(backup.get("name"), str):
        yield Key("Backup", _namespace_of(backup, namespace), backup["name"])
    database = _at(latest, "databaseRef")
    if isinstance(database.get("name"), str):
        yield Key("Database", _namespace_of(latest, namespace), database["name"])
    storage = _at(resource.spec, "source", "storageRef")
    if isinstance(storage.get("name"), str):
        yield Key("BackupStorage", "", storage["name"])


def _namespace_of(part: Mapping[str, Any], own: str) -> str:
    named = part.get("namespace")
    return named if isinstance(named, str) else own


def _at(values: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = values.get(name)
        values = found if isinstance(found, Mapping) else {}
    return values
