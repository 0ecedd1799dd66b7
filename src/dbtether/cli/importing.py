"""`dbtether import`: rebuilds a lost state directory from the markers on the servers."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.kinds import FINALIZER
from dbtether.api.resource import Key, Resource
from dbtether.api.validation import validate_resource
from dbtether.cli import running
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import emit, item_list, note, say, table
from dbtether.cli.plan import opened_to_read
from dbtether.cli.settling import quiet_logs
from dbtether.cli.wanted import Wanted, check_against, read_wanted, write_wanted
from dbtether.controllers.importing import Rebuilt, Survey, rebuild, survey
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.controllers.servers import Servers
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import OverlayStore
from dbtether.runtime.records import RecordStore


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What `import` was asked for."""

    files: tuple[str, ...]
    state: str
    installation: str | None
    namespace: str
    cluster: str | None
    output: str


def import_command(options: ImportOptions) -> Exit:
    """Rebuild the state and print what was found."""
    wanted = read_wanted(options.files, options.namespace) if options.files else Wanted()
    # Databases and users of the manifests come with the next apply, which compares them with what is found.
    clusters = tuple(document for document in wanted.resources if document.key.kind == "DBCluster")
    resources = running.run(_import(options, Wanted(clusters, wanted.secrets)))
    if options.output != "table":
        emit(item_list(resources), options.output)
    elif resources:
        rows = [(resource.key.kind, resource.key.path, _told(resource)) for resource in resources]
        for line in table(("KIND", "NAME", "ON THE SERVER"), rows):
            say(line)
    if any(resource.key.kind == "DatabaseUser" for resource in resources):
        note("passwords cannot be read back: the next apply makes new ones and puts them into the users' Secrets")
    note("deletionPolicy, settings and Secret templates are not on the servers: apply your manifests to have them back")
    return Exit.OK


def _told(resource: Resource) -> str:
    if resource.key.kind == "Database":
        return f"database {resource.spec['databaseName']} on {resource.spec['clusterRef']['name']}"
    return f"login {resource.status['username']} on {resource.status['clusterName']}"


async def _import(options: ImportOptions, wanted: Wanted) -> tuple[Resource, ...]:
    with opened_to_read(options.state, options.installation) as base:
        await check_against(base, wanted)
        async with quiet_logs(verbose=False):
            surveys = await _surveys(base, wanted, options.cluster)
    installation = _installation(surveys, options.installation)
    rebuilt: list[Rebuilt] = []
    for surveyed in surveys:
        found = rebuild(surveyed, installation)
        rebuilt += found.resources
        for sentence in found.notes:
            note(f"{surveyed.cluster}: {sentence}")
    _refuse_twins(rebuilt)
    with LocalStore.open(Path(options.state), installation) as store:
        await _refuse_existing(store, rebuilt)
        await write_wanted(store, wanted)
        return tuple([await _write(store, item) for item in rebuilt])


async def _surveys(base: RecordStore, wanted: Wanted, only: str | None) -> list[Survey]:
    """A look at each DBCluster of the state and the manifests. Raises Quit when there is none."""
    overlay = OverlayStore(base)
    await write_wanted(overlay, wanted)
    clusters = [cluster for cluster in await overlay.list("DBCluster") if only in (None, cluster.key.name)]
    if not clusters:
        raise Quit(
            Exit.INVALID,
            f"DBCluster {only} is neither in the state nor in the manifests"
            if only
            else "give the manifests of the DBCluster and of its admin's Secret with -f",
        )
    servers = Servers(PlatformSecrets(overlay), os.environ)
    try:
        found = []
        for cluster in clusters:
            server = await servers.of(cluster, validate_resource(DBClusterSpec, cluster))
            found.append(await survey(cluster.key.name, server))
        return found
    finally:
        await servers.close_all()


def _installation(surveys: list[Survey], given: str | None) -> str:
    """The installation to rebuild. Raises Quit when the servers name none, or several and none was chosen."""
    known = sorted({name for surveyed in surveys for name in surveyed.installations})
    if given is not None:
        if given not in known:
            shown = ", ".join(known) or "none"
            raise Quit(Exit.FAILED, f"nothing on the servers is marked by installation {given}; found: {shown}")
        return given
    if len(known) == 1:
        return known[0]
    if not known:
        raise Quit(Exit.FAILED, "nothing on the servers carries a marker of dbtether; there is nothing to import")
    raise Quit(
        Exit.INVALID,
        f"the servers are used by several installations; choose one of {', '.join(known)} with --installation",
    )


def _refuse_twins(rebuilt: list[Rebuilt]) -> None:
    counts = Counter(item.key for item in rebuilt)
    twins = sorted(key for key, count in counts.items() if count > 1)
    if twins:
        raise Quit(
            Exit.FAILED,
            *(f"{key} is marked on more than one server (a copy?); choose one with --cluster" for key in twins),
        )


async def _refuse_existing(store: RecordStore, rebuilt: list[Rebuilt]) -> None:
    existing: list[Key] = [item.key for item in rebuilt if await store.get(item.key) is not None]
    if existing:
        raise Quit(Exit.FAILED, *(f"{key} is in the state already; import overwrites nothing" for key in existing))


async def _write(store: RecordStore, item: Rebuilt) -> Resource:
    created = await store.apply_resource(item.key, item.spec)
    # Else a deletion before the first apply would forget the resource and leave what it made.
    resource = await store.write_finalizers(created, (FINALIZER,))
    assert resource is not None, "it was just made, and is not being deleted"
    message = "Imported from the server; apply to have it checked"
    return await store.write_status(resource, {"phase": "Pending", "message": message, **item.status})
