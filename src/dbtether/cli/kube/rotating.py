"""Asks the operator of a cluster for a new password: by an annotation, which is all that a person may write."""

from dbtether.api.kinds import ROTATE, ROTATE_NOW
from dbtether.api.resource import Key
from dbtether.cli.kube.reading import connected, refusal
from dbtether.cli.places import Cluster, found
from dbtether.runtime.kube.errors import Forbidden
from dbtether.runtime.kube.objects import Object
from dbtether.runtime.kube.requests import merge_patch
from dbtether.runtime.kube.store import our_resources


async def ask_for_rotation(key: Key, cluster: Cluster) -> None:
    """Annotate the user. Raises Quit when there is none, or where RBAC refuses."""
    api = our_resources()[key.kind]
    body = {"metadata": {"annotations": {ROTATE: ROTATE_NOW}}}
    async with connected(cluster) as reader:
        await found(reader, key)
        try:
            await reader.client.send(merge_patch(api, key.namespace, key.name, body), Object)
        except Forbidden as error:
            raise refusal(error, "patch", api, key.namespace) from None
