"""`dbtether diagnose`: a bundle for a ticket, which holds no value of any Secret."""

import os
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg

from dbtether import __version__
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.resource import Key, Resource, Secret
from dbtether.api.validation import validate_resource
from dbtether.cli import running
from dbtether.cli.bundle import event_documents, resource_documents, secret_texts, write_bundle
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.output import note, say
from dbtether.cli.places import Place, require_kube_libraries
from dbtether.cli.planning import make_plan, plan_document
from dbtether.cli.settling import NamespaceLabels, Settled, complaint, quiet_logs, stuck
from dbtether.cli.wanted import Wanted, everything
from dbtether.controllers.base import name_label
from dbtether.controllers.platformsecrets import PlatformSecrets
from dbtether.controllers.servers import Servers
from dbtether.errors import DbtetherError
from dbtether.runtime.events import Event
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import OverlayStore
from dbtether.runtime.store import Store

_PACKAGES = ("psycopg", "pydantic", "PyYAML", "typer", "rich", "aiohttp", "msgspec", "cryptography")


@dataclass(frozen=True, slots=True)
class Material:
    """What a bundle is made from."""

    store: Store
    place: Mapping[str, Any]
    events: tuple[Event, ...]
    secret_names: tuple[Key, ...]
    read: Callable[[], Awaitable[tuple[Secret, ...]]]
    """Every Secret whose values are in this process, asked for at the end."""
    namespace_labels: NamespaceLabels = name_label
    secret_namespaces: frozenset[str] | None = None
    gaps: tuple[str, ...] = field(default=())
    """What could not be read, a sentence each."""


def diagnose_command(place: Place, output: str | None, wait_seconds: float) -> Exit:
    """Write the bundle and say where it is."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = Path(output or f"dbtether-diagnose-{stamp}.tar.gz")
    if target.exists():
        raise Quit(Exit.INVALID, f"-o {target}: it exists already, and nothing is overwritten")
    files, secrets = running.run(_diagnosed(place, wait_seconds))
    write_bundle(target, files, secrets)
    for gap in files["about"]["gaps"]:
        note(gap)
    say(str(target))
    note("it holds no password; it names hosts, databases, users and Secrets: look through it before you send it")
    return Exit.OK


async def _diagnosed(place: Place, wait_seconds: float) -> tuple[dict[str, Any], frozenset[str]]:
    async with _material(place) as material, quiet_logs(verbose=False):
        resources = await everything(material.store)
        servers = await _servers(material.store, resources)
        plan = await _plan(material, wait_seconds)
        secrets = await material.read()
    files = {
        "about": {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "installation": material.store.installation,
            **material.place,
            "versions": _versions(),
            "gaps": list(material.gaps),
        },
        "resources": resource_documents(resources),
        "problems": [complaint(one, Settled()) for one in stuck(resources)],
        "events": event_documents(material.events),
        "secrets": [key.path for key in material.secret_names],
        "servers": servers,
        "plan": plan,
    }
    return files, secret_texts(secrets, resources, _variables(resources))


@asynccontextmanager
async def _material(place: Place) -> AsyncIterator[Material]:
    if place.cluster is not None:
        require_kube_libraries()
        from dbtether.cli.kube.diagnosing import cluster_material

        async with cluster_material(place.cluster) as material:
            yield material
        return
    with LocalStore.open(Path(place.state), read_only=True) as store:
        events = [event for one in await everything(store) for event in store.events(one.key)]
        names = tuple(Key("Secret", one.namespace, one.name) for one in await store.list_secrets())
        yield Material(store, {"state": place.state}, tuple(events), names, store.list_secrets)


async def _servers(store: Store, resources: Iterable[Resource]) -> dict[str, Any]:
    """The facts of every DBCluster's server, or why there are none."""
    servers = Servers(PlatformSecrets(OverlayStore(store)), os.environ)
    found: dict[str, Any] = {}
    try:
        for cluster in (one for one in resources if one.key.kind == "DBCluster"):
            try:
                server = await servers.of(cluster, validate_resource(DBClusterSpec, cluster))
                found[cluster.key.name] = asdict(server.facts)
            except DbtetherError as error:
                found[cluster.key.name] = {"error": str(error)}
    finally:
        await servers.close_all()
    return found


async def _plan(material: Material, wait_seconds: float) -> dict[str, Any]:
    try:
        plan = await make_plan(
            material.store,
            Wanted(),
            (),
            wait_seconds,
            namespace_labels=material.namespace_labels,
            secret_namespaces=material.secret_namespaces,
        )
    except DbtetherError as error:
        return {"error": str(error)}
    return {**plan_document(plan), "unsettled": [str(key) for key in plan.settled.unsettled]}


def _variables(resources: Iterable[Resource]) -> Iterable[str]:
    """The values of the variables that DBClusters name."""
    for resource in resources:
        names = resource.spec.get("credentialsFromEnv") or {}
        if value := os.environ.get(str(names.get("password", ""))):
            yield value


def _versions() -> dict[str, str]:
    found = {
        "dbtether": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "libpq": str(psycopg.pq.version()),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
