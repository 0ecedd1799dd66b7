"""Objects as the API sends them, and our light structs made of them. Pure.

What is not named here is skipped while decoding and costs no memory: managedFields above all.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from dbtether.api.resource import Key, Owner, Resource, Secret

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for a time that nobody told."""


class OwnerReference(msgspec.Struct, rename="camel", omit_defaults=True):
    """Kubernetes' `metav1.OwnerReference`."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(msgspec.Struct, rename="camel"):
    """The parts of `metav1.ObjectMeta` that we look at."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: list[OwnerReference] | None = None


class Object(msgspec.Struct):
    """A custom resource, or the metadata of anything."""

    metadata: Metadata
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class PartialObject(msgspec.Struct):
    """Only the metadata, also where the server sent everything."""

    metadata: Metadata


class ListMetadata(msgspec.Struct, rename="camel"):
    """Kubernetes' `metav1.ListMeta`."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ObjectList(msgspec.Struct):
    """One page of a list."""

    metadata: ListMetadata
    # An empty list may come as null.
    items: list[Object] | None = None


class PartialObjectList(msgspec.Struct):
    """One page of a list of metadata."""

    metadata: ListMetadata
    items: list[PartialObject] | None = None


class WatchEvent(msgspec.Struct):
    """One line of a watch; what `object` is depends on the type."""

    type: str
    object: msgspec.Raw


class SecretObject(msgspec.Struct):
    """A Secret; msgspec decodes the base64 of `data`."""

    metadata: Metadata
    data: dict[str, bytes | None] | None = None
    type: str = "Opaque"

    def __repr__(self) -> str:
        return f"SecretObject({self.metadata.namespace}/{self.metadata.name})"


def to_resource(kind: str, found: Object | PartialObject) -> Resource:
    """The light struct of an object."""
    metadata = found.metadata
    annotations = metadata.annotations or {}
    # kubectl's copy of the whole object: it would double the cache, and nothing of ours reads it.
    annotations.pop(_LAST_APPLIED, None)
    spec: Mapping[str, Any] = {}
    status: Mapping[str, Any] = {}
    if isinstance(found, Object):
        spec, status = found.spec or {}, found.status or {}
    return Resource(
        key=Key(kind, metadata.namespace, metadata.name),
        uid=metadata.uid,
        generation=metadata.generation,
        resource_version=metadata.resource_version,
        created=metadata.creation_timestamp or NEVER,
        spec=spec,
        status=status,
        labels=metadata.labels or {},
        annotations=annotations,
        finalizers=metadata.finalizers or (),
        deleted=metadata.deletion_timestamp,
    )


def to_secret(found: SecretObject) -> Secret:
    """The Secret with its controller as the owner."""
    metadata = found.metadata
    owners = [reference for reference in metadata.owner_references or () if reference.controller]
    return Secret(
        namespace=metadata.namespace,
        name=metadata.name,
        data={name: value or b"" for name, value in (found.data or {}).items()},
        type=found.type,
        labels=metadata.labels or {},
        annotations=metadata.annotations or {},
        owner=Owner(owners[0].kind, owners[0].name, owners[0].uid) if owners else None,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def version_number(resource_version: str) -> int:
    """The version as a number: those of one resource type can be compared.

    Kubernetes: "API concepts", "Resource versions"; guaranteed since 1.35, and so in every older
    server that keeps its objects in etcd. What is no number is older than everything.
    """
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else 0
