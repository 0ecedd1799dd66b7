"""Tells when Secrets change, without ever holding their content or those of the whole cluster.

Two kinds of watches, both of metadata only, which never overlap:

- those that dbtether made, by their label, over all watched namespaces;
- those that it merely reads (admin credentials, a user's own password): from the first read on, the
  Secrets without the label of that Secret's namespace. A namespace nobody reads such a Secret in any more
  stays watched; there are few.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Never

from dbtether.api.resource import Key, Resource
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.informer import Informer, InformerSettings
from dbtether.runtime.kube.requests import SECRETS, Collection
from dbtether.runtime.kube.supervisor import Supervisor
from dbtether.runtime.kube.view import View
from dbtether.runtime.store import Change

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_US = "dbtether"


class SecretWatches:
    """Watches the Secrets that somebody here depends on."""

    def __init__(
        self,
        client: Client,
        supervisor: Supervisor,
        tell: Callable[[Change], None],
        settings: InformerSettings | None = None,
        *,
        settle_seconds: float = 1.0,
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._settings = settings
        self._tell = tell
        self._settle_seconds = settle_seconds
        self._read: set[Key] = set()
        self._watched: set[str] = set()
        self._news = asyncio.Event()
        self.others: list[Informer] = []
        """The informers of Secrets that are merely read."""
        self.view = View("Secret", self._tell_of_what_was_read)

    def labelled(self, namespaces: Iterable[str]) -> list[Informer]:
        """The informers of the Secrets that dbtether made."""
        selector = f"{MANAGED_BY}={MANAGED_BY_US}"
        return [
            self._informer(
                Collection(SECRETS, namespace, label_selector=selector, metadata_only=True),
                _ours_of(namespace),
            )
            for namespace in namespaces
        ]

    def depend_on(self, key: Key) -> None:
        """Tell of changes of this Secret from now on, also of its creation."""
        if key not in self._read:
            self._read.add(key)
            self._news.set()

    def forget(self, key: Key) -> None:
        """Nobody here depends on this Secret any more: we deleted it."""
        self._read.discard(key)

    async def run(self) -> Never:
        """Open the watches of namespaces as they become necessary, until cancelled."""
        while True:
            await self._news.wait()
            # A Secret that is read before we create it gets its label meanwhile, and needs no watch.
            await asyncio.sleep(self._settle_seconds)
            self._news.clear()
            for namespace in sorted(self._namespaces_to_watch() - self._watched):
                self._watched.add(namespace)
                informer = self._of_others(namespace)
                self.others.append(informer)
                self._supervisor.start(informer.run, name=f"watch of Secrets of {namespace}")

    def _namespaces_to_watch(self) -> set[str]:
        found = {key: self.view.get(key) for key in self._read}
        return {key.namespace for key, known in found.items() if known is None or not _is_ours(known)}

    def _of_others(self, namespace: str) -> Informer:
        selector = f"{MANAGED_BY}!={MANAGED_BY_US}"
        collection = Collection(SECRETS, namespace, label_selector=selector, metadata_only=True)
        return self._informer(collection, lambda known: known.key.namespace == namespace and not _is_ours(known))

    def _informer(self, collection: Collection, in_scope: Callable[[Resource], bool]) -> Informer:
        return Informer(self._client, collection, self.view, self._settings, trim=trimmed, in_scope=in_scope)

    def _tell_of_what_was_read(self, change: Change) -> None:
        known = change.new or change.old
        if change.key in self._read or (known is not None and _is_ours(known)):
            # Who wants to know what is in it reads it.
            self._tell(Change(change.type, change.key))


def _ours_of(namespace: str) -> Callable[[Resource], bool]:
    return lambda known: _is_ours(known) and namespace in ("", known.key.namespace)


def trimmed(resource: Resource) -> Resource:
    """What must be known of a Secret that is not read: which version it has, and whether it is ours."""
    labels = {MANAGED_BY: MANAGED_BY_US} if _is_ours(resource) else {}
    return replace(resource, labels=labels, annotations={}, finalizers=())


def _is_ours(resource: Resource) -> bool:
    return resource.labels.get(MANAGED_BY) == MANAGED_BY_US
