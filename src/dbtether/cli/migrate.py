"""`dbtether migrate`: what the older operator left on the servers, and who must consent before it is taken over.

It reads comments and names. A database's comment can be written by its owner, so it is a hint for the
person who decides, never a proof.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.kinds import FORCE_ADOPT
from dbtether.api.names import marker_in
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import validate_resource
from dbtether.cli import running
from dbtether.cli.exits import Exit
from dbtether.cli.output import emit, error, note, say, table, tell
from dbtether.cli.places import Place, require_kube_libraries
from dbtether.cli.settling import quiet_logs
from dbtether.cli.wanted import everything
from dbtether.controllers.directory import database_keys
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.controllers.servers import Servers
from dbtether.errors import DbtetherError
from dbtether.postgres.errors import ConnectError, classify, connect_failure
from dbtether.postgres.server.access import Server
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import OverlayStore
from dbtether.runtime.store import Store

_DATABASES = b"""
SELECT 'Database' AS what, d.datname::text AS name, s.description AS comment
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_shdescription s
    ON s.objoid = d.oid AND s.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
 WHERE pg_catalog.strpos(s.description, 'dbtether:') > 0 ORDER BY 2
"""
_ROLES = b"""
SELECT 'Role' AS what, r.rolname::text AS name, s.description AS comment
  FROM pg_catalog.pg_roles r
  LEFT JOIN pg_catalog.pg_shdescription s
    ON s.objoid = r.oid AND s.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
 WHERE r.rolcanlogin ORDER BY 2
"""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of the older operator's."""

    cluster: str
    what: str
    name: str
    resource: Key
    is_declared: bool
    """Whether that resource is there now."""
    is_adoptable: bool
    """Whether the DBCluster lets the resource's namespace take it over."""
    is_asked_for: bool
    """Whether the resource asks for it."""

    @property
    def needs(self) -> str:
        """What a person must decide."""
        if not self.is_declared:
            return f"{self.resource.kind} {self.resource.path} does not exist: declare it, or drop this by hand"
        missing = []
        if not self.is_adoptable:
            kind = "database" if self.what == "Database" else "role"
            entry = f"{{{kind}: {self.name}, namespace: {self.resource.namespace}}}"
            missing.append(f"{entry} in spec.adoptable of DBCluster {self.cluster}")
        if not self.is_asked_for:
            missing.append("spec.adopt of the resource")
        return ", and ".join(missing) or "nothing more: its resource takes it over, or its status says why not"


def migrate_command(place: Place, output: str) -> Exit:
    """Print what was left; changes nothing."""
    found, problems = running.run(_looked(place))
    if output != "table":
        emit({"items": [_document(one) for one in found]}, output)
    elif found:
        rows = [(one.cluster, one.what, one.name, one.resource.path, one.needs) for one in found]
        for line in table(("CLUSTER", "WHAT", "NAME", "RESOURCE", "NEEDS"), rows):
            say(line)
    elif not problems:
        tell("Nothing on the servers is marked in the older form.")
    if any(one.what == "Database" for one in found):
        note("a database's owner can write its comment: check who made each before you consent")
    for problem in problems:
        error(problem)
    return Exit.FAILED if problems else Exit.OK


def _document(one: Leftover) -> dict[str, object]:
    return {
        "cluster": one.cluster,
        "what": one.what,
        "name": one.name,
        "kind": one.resource.kind,
        "namespace": one.resource.namespace,
        "resource": one.resource.name,
        "declared": one.is_declared,
        "adoptable": one.is_adoptable,
        "adopts": one.is_asked_for,
        "needs": one.needs,
    }


async def _looked(place: Place) -> tuple[list[Leftover], list[str]]:
    found: list[Leftover] = []
    problems: list[str] = []
    async with _store(place) as store, quiet_logs(verbose=False):
        resources = {resource.key: resource for resource in await everything(store)}
        servers = Servers(PlatformSecrets(OverlayStore(store)), os.environ)
        try:
            for cluster in (one for one in resources.values() if one.key.kind == "DBCluster"):
                try:
                    spec = validate_resource(DBClusterSpec, cluster)
                    rows = await _rows(await servers.of(cluster, spec))
                except DbtetherError as failure:
                    problems.append(f"{cluster.key}: {str(failure).removesuffix('; trying again')}")
                    continue
                found += _leftovers(cluster.key.name, spec, rows, resources)
        finally:
            await servers.close_all()
    return found, problems


@asynccontextmanager
async def _store(place: Place) -> AsyncIterator[Store]:
    if place.cluster is None:
        with LocalStore.open(Path(place.state), read_only=True) as store:
            yield store
        return
    require_kube_libraries()
    from dbtether.cli.kube.reading import connected
    from dbtether.cli.kube.snapshot import take_snapshot

    async with connected(place.cluster) as reader:
        yield await take_snapshot(reader, place.cluster)


Row = tuple[str, str, str | None]


async def _rows(server: Server) -> list[Row]:
    """What, name and comment of each database and login. Raises Retryable or Blocked."""
    doing = "read the older markers"
    try:
        async with server.pool.connection(server.maintenance_database) as connection:
            return [
                (str(what), str(name), None if comment is None else str(comment))
                for query in (_DATABASES, _ROLES)
                for what, name, comment in await (await connection.execute(query)).fetchall()
            ]
    except ConnectError as failure:
        raise connect_failure(failure, doing) from None
    except psycopg.Error as failure:
        raise classify(failure, doing) from None


def _leftovers(
    cluster: str, spec: DBClusterSpec, rows: Sequence[Row], resources: Mapping[Key, Resource]
) -> Iterator[Leftover]:
    """What carries an older marker, and logins without any that a DatabaseUser was given by the older operator."""
    allowed = {("Database", entry.database, entry.namespace) for entry in spec.adoptable}
    allowed |= {("Role", entry.role, entry.namespace) for entry in spec.adoptable}
    older_names = dict(_older_logins(cluster, resources))
    for what, name, comment in rows:
        mark = marker_in(comment)
        if mark is not None and mark.is_older_form:
            kind = "Database" if what == "Database" else "DatabaseUser"
            key = Key(kind, mark.namespace, mark.name)
        elif mark is None and what == "Role" and name in older_names:
            key = older_names[name]
        else:
            continue
        is_adoptable = (what, name, key.namespace) in allowed
        yield Leftover(cluster, what, name, key, key in resources, is_adoptable, _asks(resources.get(key)))


def _asks(resource: Resource | None) -> bool:
    return resource is not None and (
        resource.spec.get("adopt") is True or resource.annotations.get(FORCE_ADOPT) == "true"
    )


def _older_logins(cluster: str, resources: Mapping[Key, Resource]) -> Iterator[tuple[str, Key]]:
    """The logins that the older operator would have made: it wrote `_` for `-`.

    Its specs need not be valid here (it knew a level `owner`), so they are read as they stand.
    """
    for key, resource in resources.items():
        if key.kind != "DatabaseUser":
            continue
        databases = [resources.get(database) for database in database_keys(resource)]
        if any(found is not None and _cluster_of(found) == cluster for found in databases):
            yield str(resource.spec.get("username") or key.name.replace("-", "_")), key


def _cluster_of(database: Resource) -> object:
    reference = database.spec.get("clusterRef")
    return reference.get("name") if isinstance(reference, Mapping) else None
