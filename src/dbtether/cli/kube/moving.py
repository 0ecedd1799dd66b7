"""Creates in a cluster what a state directory holds. Overwrites nothing: it looks at everything first.

Statuses go along, so that nothing is forgotten that only they know: which server it was, which settings
were applied, when a password was made.
"""

from typing import Any

from dbtether.api.kinds import FINALIZER
from dbtether.api.resource import Key, Resource, Secret
from dbtether.cli.exits import Exit, Quit
from dbtether.cli.export import FINGERPRINT_SECRET, Handover, resource_document, secret_document
from dbtether.cli.kube.reading import ClusterReader, connected, refusal
from dbtether.cli.kube.specs import is_same_spec
from dbtether.cli.places import Cluster
from dbtether.runtime.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden
from dbtether.runtime.kube.objects import Object, SecretObject
from dbtether.runtime.kube.requests import NAMESPACES, SECRETS, ApiResource, create, replace
from dbtether.runtime.kube.store import our_resources

# They speak of the state directory's engine; the operator's first look writes them anew.
_NOT_MOVED = frozenset({"phase", "message", "conditions", "observedGeneration"})
_MESSAGE = "Moved in from a state directory; the operator looks at it next"


async def move_in(handover: Handover, cluster: Cluster) -> list[str]:
    """Create everything that is missing; a line for each object. Raises Quit before anything would be overwritten."""
    async with connected(cluster) as reader:
        namespaces = [name for name in handover.namespaces if not await reader.has_namespace(name)]
        secrets = [one for one in handover.secrets if not await _is_there(reader, one)]
        resources = [one for one in handover.resources if not await _is_there_already(reader, one)]
        mover = _Mover(reader)
        for name in namespaces:
            await mover.namespace(name)
        for secret in secrets:
            await mover.secret(secret)
        for resource in resources:
            await mover.resource(resource)
        kept = len(handover.namespaces) + len(handover.secrets) + len(handover.resources) - len(mover.lines)
        return [*mover.lines, *([f"{kept} objects were there already, with the same content"] if kept else [])]


async def _is_there(reader: ClusterReader, secret: Secret) -> bool:
    """Whether the cluster has this Secret. Raises Quit when it has another one of the name."""
    key = Key("Secret", secret.namespace, secret.name)
    try:
        stored = await reader.secret(secret.namespace, secret.name)
    except Forbidden as error:
        raise refusal(error, "get", SECRETS, secret.namespace) from None
    if stored is None:
        return False
    if dict(stored.data) == dict(secret.data) and stored.type == secret.type:
        return True
    if secret.name == FINGERPRINT_SECRET:
        raise Quit(
            Exit.FAILED,
            f"an operator has started in namespace {secret.namespace} already and made {key}: stop it, delete that "
            "Secret if the operator keeps nothing yet, and export again",
        )
    raise Quit(Exit.FAILED, f"{key} is in the cluster already with another content; nothing was changed")


async def _is_there_already(reader: ClusterReader, resource: Resource) -> bool:
    """Whether the cluster has this resource. Raises Quit when it has another one of the name."""
    stored = await reader.get(resource.key)
    if stored is None:
        return False
    if is_same_spec(resource.key, stored.spec, resource.spec):
        return True
    raise Quit(Exit.FAILED, f"{resource.key} is in the cluster already with another spec; nothing was changed")


class _Mover:
    """Creates objects one after the other, and keeps a line on each."""

    def __init__(self, reader: ClusterReader) -> None:
        self._client = reader.client
        self.lines: list[str] = []

    async def namespace(self, name: str) -> None:
        """Create a namespace."""
        await self._create(NAMESPACES, "", {"metadata": {"name": name}}, f"Namespace {name}")

    async def secret(self, secret: Secret) -> None:
        """Create a Secret."""
        body = secret_document(secret)
        try:
            await self._client.send(create(SECRETS, secret.namespace, body), SecretObject)
        except Forbidden as error:
            raise refusal(error, "create", SECRETS, secret.namespace) from None
        except ApiError as error:
            raise error.without_message() from None
        self.lines.append(f"Secret {secret.namespace}/{secret.name} created")

    async def resource(self, resource: Resource) -> None:
        """Create a resource with what its status knows."""
        api, key = our_resources()[resource.key.kind], resource.key
        body = resource_document(resource)
        # Else a deletion before the operator's first look would leave on the server what was made there.
        body["metadata"]["finalizers"] = [FINALIZER]
        created = await self._create(api, key.namespace, body, str(key))
        known = {name: value for name, value in resource.status.items() if name not in _NOT_MOVED}
        if not known:
            return
        metadata = {"name": key.name, "uid": created.metadata.uid, "resourceVersion": created.metadata.resource_version}
        if key.namespace:
            metadata["namespace"] = key.namespace
        whole = {"metadata": metadata, "status": {"phase": "Pending", "message": _MESSAGE, **known}}
        try:
            await self._client.send(replace(api, key.namespace, key.name, whole, subresource="status"), Object)
        except Conflict:
            # An operator is at work already and knows more by now.
            return
        except Forbidden as error:
            raise refusal(error, "update the status of", api, key.namespace) from None

    async def _create(self, api: ApiResource, namespace: str, body: dict[str, Any], what: str) -> Object:
        try:
            created = await self._client.send(create(api, namespace, body), Object)
        except Forbidden as error:
            raise refusal(error, "create", api, namespace) from None
        except AlreadyExists:
            raise Quit(Exit.FAILED, f"{what} was created by somebody else meanwhile; export again") from None
        self.lines.append(f"{what} created")
        return created
