"""A cluster as it is at one moment, as a Store: what a plan is laid over. It cannot write."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from dbtether.api.kinds import KINDS
from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.kube.deployment import operator_options
from dbtether.cli.kube.reading import ClusterReader
from dbtether.cli.output import note
from dbtether.cli.places import Cluster
from dbtether.errors import Blocked, StateError
from dbtether.runtime.kube.errors import Forbidden
from dbtether.runtime.kube.installation import FINGERPRINT_SECRET
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US
from dbtether.runtime.records import FROM_MANIFEST_LABEL
from dbtether.runtime.store import Change, EventType

_NO_KEY = bytes(32)


class Snapshot:
    """Resources as they were listed once; Secrets as they were at their first read."""

    def __init__(
        self,
        reader: ClusterReader,
        resources: Mapping[Key, Resource],
        *,
        namespaces: Mapping[str, Mapping[str, str]],
        installation: str,
        fingerprint_key: bytes,
        secret_namespaces: frozenset[str] | None,
        watch_namespaces: tuple[str, ...] = (),
    ) -> None:
        self._reader = reader
        self._resources = resources
        self._namespaces = namespaces
        self._secrets: dict[tuple[str, str], Secret | None] = {}
        self.refused: set[tuple[str, str]] = set()
        """The Secrets that RBAC keeps from the person."""
        self.installation = installation
        self.fingerprint_key = fingerprint_key
        self.secret_namespaces = secret_namespaces
        """Whose Secrets the operator reads for DBClusters; None when its options are not known."""
        self.watch_namespaces = watch_namespaces
        """Whose resources the operator serves, and this holds; empty for all."""
        self._reading = asyncio.Lock()

    async def get(self, key: Key) -> Resource | None:
        """The resource."""
        return self._resources.get(key)

    async def list(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, sorted by key."""
        return tuple(self._resources[key] for key in sorted(self._resources) if key.kind == kind)

    async def get_secret(self, namespace: str, name: str) -> Secret | None:
        """The Secret. Raises Blocked when RBAC does not let the person read it."""
        place = (namespace, name)
        async with self._reading:
            if place not in self._secrets and place not in self.refused:
                try:
                    self._secrets[place] = await self._reader.secret(namespace, name)
                except Forbidden:
                    self.refused.add(place)
        if place in self.refused:
            raise Blocked(
                "Forbidden", f"RBAC does not let you get Secret {namespace}/{name}, which this is planned from"
            )
        return self._secrets[place]

    async def allow_change(self, namespace: str, name: str) -> None:
        """Let a plan replace this Secret as one of a manifest, unless the operator made it. Raises Blocked."""
        secret = await self.get_secret(namespace, name)
        if secret is not None and secret.labels.get(MANAGED_BY) != MANAGED_BY_US:
            labels = {**secret.labels, FROM_MANIFEST_LABEL: "true"}
            self._secrets[namespace, name] = replace(secret, labels=labels)

    def secrets_read(self) -> tuple[Secret, ...]:
        """The Secrets that were read so far."""
        return tuple(secret for secret in self._secrets.values() if secret is not None)

    async def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; of one that is not there yet, the one that it will have."""
        return self._namespaces.get(name, {"kubernetes.io/metadata.name": name})

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Nothing will ever change."""
        del listener

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Resource:
        """Refuse."""
        del status
        self._refuse(resource.key)

    async def write_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource | None:
        """Refuse."""
        del finalizers
        self._refuse(resource.key)

    async def write_annotation(self, resource: Resource, name: str, value: str | None) -> Resource:
        """Refuse."""
        del name, value
        self._refuse(resource.key)

    async def create_resource(
        self, key: Key, spec: Mapping[str, Any], *, labels: Mapping[str, str], owner: Owner
    ) -> Resource:
        """Refuse."""
        del spec, labels, owner
        self._refuse(key)

    async def delete_resource(self, resource: Resource) -> None:
        """Refuse."""
        self._refuse(resource.key)

    async def write_secret(self, secret: Secret) -> Secret:
        """Refuse."""
        self._refuse(Key("Secret", secret.namespace, secret.name))

    async def delete_secret(self, secret: Secret) -> None:
        """Refuse."""
        self._refuse(Key("Secret", secret.namespace, secret.name))

    async def record_event(self, resource: Resource, type_: EventType, reason: str, message: str) -> None:
        """Refuse."""
        del type_, reason, message
        self._refuse(resource.key)

    def _refuse(self, key: Key) -> NoReturn:
        raise StateError(f"{key} is not written: this process only reads")


async def take_snapshot(reader: ClusterReader, cluster: Cluster) -> Snapshot:
    """The cluster as it is now. Raises Quit where RBAC keeps resources back."""
    operator = await operator_options(reader.client, cluster.operator_namespace)
    scopes = operator.watch_namespaces or (None,)
    lists = await asyncio.gather(
        *(
            _listed(reader, kind, namespace)
            for kind in KINDS
            for namespace in (scopes if KINDS[kind].namespaced else (None,))
        )
    )
    known = operator.credentials_namespaces
    return Snapshot(
        reader,
        {resource.key: resource for listed in lists for resource in listed},
        namespaces=await _namespaces(reader),
        installation=await reader.installation(cluster.installation or operator.installation),
        fingerprint_key=await _fingerprint_key(reader, cluster.operator_namespace),
        secret_namespaces=None if known is None else frozenset({cluster.operator_namespace, *known}),
        watch_namespaces=operator.watch_namespaces,
    )


async def _listed(reader: ClusterReader, kind: str, namespace: str | None) -> tuple[Resource, ...]:
    try:
        return await reader.list(kind, namespace)
    except Quit as refusal:
        # No statement depends on them.
        if kind not in ("BackupStorage", "Backup", "BackupSchedule", "Restore"):
            raise
        note(f"{refusal.messages[0]}: each one in the manifests is taken for new")
        return ()


async def _namespaces(reader: ClusterReader) -> Mapping[str, Mapping[str, str]]:
    try:
        return await reader.namespaces()
    except Quit as refusal:
        note(f"{refusal.messages[0]}: a namespaceSelector is taken to see the namespace's name alone")
        return {}


async def _fingerprint_key(reader: ClusterReader, namespace: str) -> bytes:
    try:
        secret = await reader.secret(namespace, FINGERPRINT_SECRET)
    except Forbidden:
        raise Quit(
            Exit.STATE,
            f"RBAC does not let you get Secret {namespace}/{FINGERPRINT_SECRET}, which a plan is made from; "
            f"it needs get on the Secrets of the operator's namespace and of the users' namespaces",
        ) from None
    if secret is None:
        note(f"no operator has started in namespace {namespace} yet (another one? --operator-namespace)")
        return _NO_KEY
    return secret.data.get("key", _NO_KEY)
