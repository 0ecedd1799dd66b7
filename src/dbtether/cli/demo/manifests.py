"""The demo's manifests: the README's own, with what its little server needs changed, and each change told."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from dbtether.embedded import EmbeddedServer

Body = dict[str, Any]

# An administrator of the database runs the application's migrations; the other database belongs to somebody else.
_MORE: tuple[Body, ...] = (
    {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "DatabaseUser",
        "metadata": {"name": "my-app-admin", "namespace": "default"},
        "spec": {"databaseRef": {"name": "my-app-db"}, "privileges": "admin"},
    },
    {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "billing", "namespace": "other-team"},
        "spec": {"clusterRef": {"name": "my-aurora-cluster"}, "deletionPolicy": "Delete"},
    },
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference from the README."""

    subject: str
    text: str


def readme_manifests() -> list[Body]:
    """The README's manifests in their order."""
    folder = files(__package__) / "example"
    texts = sorted((entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return [yaml.safe_load(text) for _, text in texts]


def demo_manifests(server: EmbeddedServer) -> tuple[list[Body], list[Change]]:
    """The manifests as the demo applies them, and what was changed."""
    bodies = readme_manifests()
    changes = [change for body in bodies for change in _adapt(body, server)]
    for body in _MORE:
        bodies.append(body)
        changes.append(Change(_subject(body), "added"))
    return bodies, changes


def _subject(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['name']}"


def _adapt(body: Body, server: EmbeddedServer) -> Iterator[Change]:
    subject = _subject(body)
    match body["kind"]:
        case "Secret":
            body["stringData"] = {"username": server.user, "password": server.password}
            yield Change(subject, "the superuser's password of this server")
        case "DBCluster":
            body["spec"] |= {"endpoint": server.host, "port": server.port, "tls": {"mode": "disable"}}
            yield Change(subject, f"endpoint {server.host}, port {server.port}")
            yield Change(subject, "tls.mode: disable, since this server has no TLS")
        case "Database":
            body["spec"]["extensions"].remove("uuid-ossp")
            yield Change(subject, "without extension uuid-ossp, which this server does not have")
            body["spec"]["deletionPolicy"] = "Delete"
            yield Change(subject, "deletionPolicy: Delete, so that the end of the demo leaves nothing behind")


def write_manifests(bodies: list[Body], folder: Path) -> None:
    """Write one file for each manifest; private, since one holds a password."""
    folder.mkdir(mode=0o700)
    for number, body in enumerate(bodies, 1):
        path = folder / f"{number}-{body['kind'].lower()}-{body['metadata']['name']}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(body, sort_keys=False))
