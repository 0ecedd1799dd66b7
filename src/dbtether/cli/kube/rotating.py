"""Asks the operator of a cluster for a new password: by an annotation, which is all that a person may write."""

import asyncio
import time

from dbtether.api.kinds import ROTATE, ROTATE_NOW
from dbtether.api.resource import Key, Resource
from dbtether.cli.kube.reading import ClusterReader, connected, refusal
from dbtether.cli.places import Cluster, found
from dbtether.runtime.kube.errors import Forbidden
from dbtether.runtime.kube.objects import Object
from dbtether.runtime.kube.requests import merge_patch
from dbtether.runtime.kube.store import our_resources

_LOOK_SECONDS = 0.5


async def ask_for_rotation(key: Key, cluster: Cluster, wait_seconds: float) -> Resource | None:
    """Annotate the user, and return it with its new password; None when the operator was not done in that time.

    Raises Quit when there is no such user, or where RBAC refuses.
    """
    api = our_resources()[key.kind]
    body = {"metadata": {"annotations": {ROTATE: ROTATE_NOW}}}
    async with connected(cluster) as reader:
        before = await found(reader, key)
        try:
            await reader.client.send(merge_patch(api, key.namespace, key.name, body), Object)
        except Forbidden as error:
            raise refusal(error, "patch", api, key.namespace) from None
        return await _rotated(reader, before, wait_seconds)


async def _rotated(reader: ClusterReader, before: Resource, wait_seconds: float) -> Resource | None:
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        user = await found(reader, before.key)
        fingerprint = "passwordFingerprint"
        if ROTATE not in user.annotations and user.status.get(fingerprint) != before.status.get(fingerprint):
            return user
    return None
