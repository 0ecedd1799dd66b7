"""Secrets: read directly each time, written only over the version that was seen.

No error of this module repeats the server's sentences, which may quote a value.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dbtether.api.resource import Key, Owner, Secret
from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client, decode
from dbtether.runtime.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from dbtether.runtime.kube.objects import Metadata, OwnerReference, PartialObject, SecretObject, to_secret
from dbtether.runtime.kube.requests import SECRETS, create, delete, get, replace

ApiVersionOf = Callable[[str], str]
"""The apiVersion of a kind of owner."""


class SecretApi:
    """The Secrets of one API server."""

    def __init__(self, client: Client, api_version_of: ApiVersionOf) -> None:
        self._client = client
        self._api_version_of = api_version_of

    async def read(self, namespace: str, name: str) -> Secret | None:
        """The Secret as it is now, or None. Raises StateError."""
        found = await self._read_raw(namespace, name)
        return to_secret(found[1]) if found else None

    async def create(self, secret: Secret) -> Secret:
        """The Secret as it was created. Raises StateError when there is one already."""
        metadata: dict[str, Any] = {"name": secret.name, "namespace": secret.namespace}
        body = {"metadata": metadata, "type": secret.type, "data": dict(secret.data)}
        _put_labels(metadata, secret)
        if secret.owner:
            metadata["ownerReferences"] = [self._reference(secret.owner)]
        try:
            answer = await self._client.send(create(SECRETS, secret.namespace, body), SecretObject)
        except AlreadyExists:
            raise StateError(f"{key_of(secret)} exists already") from None
        except ApiError as error:
            raise error.without_message() from None
        return to_secret(answer)

    async def replace(self, secret: Secret) -> Secret:
        """The Secret as it is stored now; an equal one is not written. Raises StateError when it is stale.

        What a Secret holds beyond our struct (finalizers, other owners, `immutable`) stays.
        """
        found = await self._read_raw(secret.namespace, secret.name)
        if found is None:
            raise StateError(f"{key_of(secret)} was deleted meanwhile")
        raw, stored = found
        current = to_secret(stored)
        if (current.uid, current.resource_version) != (secret.uid, secret.resource_version):
            raise StateError(f"{key_of(secret)} was changed meanwhile")
        if current == secret:
            return current
        metadata = raw["metadata"]
        _put_labels(metadata, secret)
        if current.owner != secret.owner:
            self._put_owner(metadata, stored.metadata, secret.owner)
        body = {**raw, "type": secret.type, "data": dict(secret.data)}
        try:
            answer = await self._client.send(replace(SECRETS, secret.namespace, secret.name, body), SecretObject)
        except NotFound:
            raise StateError(f"{key_of(secret)} was deleted meanwhile") from None
        except Conflict:
            raise StateError(f"{key_of(secret)} was changed meanwhile") from None
        except ApiError as error:
            raise error.without_message() from None
        return to_secret(answer)

    async def delete(self, secret: Secret) -> bool:
        """Whether this very Secret was there and was deleted. Raises StateError when it was changed meanwhile."""
        request = delete(
            SECRETS, secret.namespace, secret.name, uid=secret.uid, resource_version=secret.resource_version
        )
        try:
            await self._client.send_raw(request)
        except NotFound:
            return False
        except Conflict:
            found = await self._client.send(
                get(SECRETS, secret.namespace, secret.name, metadata_only=True), PartialObject
            )
            if found.metadata.uid != secret.uid:
                return False
            raise StateError(f"{key_of(secret)} was changed meanwhile") from None
        except ApiError as error:
            raise error.without_message() from None
        return True

    async def _read_raw(self, namespace: str, name: str) -> tuple[dict[str, Any], SecretObject] | None:
        request = get(SECRETS, namespace, name)
        try:
            body = await self._client.send_raw(request)
        except NotFound:
            return None
        return decode(request, body, dict[str, Any]), decode(request, body, SecretObject)

    def _put_owner(self, metadata: dict[str, Any], stored: Metadata, owner: Owner | None) -> None:
        """Put our controller in the place of the one there was; other owners stay."""
        others = [msgspec.to_builtins(one) for one in stored.owner_references or () if not one.controller]
        metadata["ownerReferences"] = others + ([self._reference(owner)] if owner else [])

    def _reference(self, owner: Owner) -> Mapping[str, Any]:
        return owner_reference(owner, self._api_version_of(owner.kind))


def owner_reference(owner: Owner, api_version: str) -> Mapping[str, Any]:
    """The controller's owner reference of an object."""
    reference = OwnerReference(
        api_version=api_version,
        kind=owner.kind,
        name=owner.name,
        uid=owner.uid,
        controller=True,
        block_owner_deletion=True,
    )
    found: Mapping[str, Any] = msgspec.to_builtins(reference)
    return found


def key_of(secret: Secret) -> Key:
    """The Secret's key."""
    return Key("Secret", secret.namespace, secret.name)


def _put_labels(metadata: dict[str, Any], secret: Secret) -> None:
    metadata["labels"] = dict(secret.labels)
    metadata["annotations"] = dict(secret.annotations)
