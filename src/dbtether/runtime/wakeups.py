"""From a change in the store to the keys that must be looked at again.

A resource is looked at when it is new, when somebody else changed what it asks for (spec, labels,
annotations, finalizers, deletion), when anything that it references changed, when something that belongs to it
has news for it, and when it waits for its deletion and something that referenced it is gone. Never because of
its own status, and never because of what its own reconcile wrote: that reconcile knows it already.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace

from dbtether.api.resource import Key, Resource
from dbtether.runtime.references import ReferenceIndex
from dbtether.runtime.store import Change, ChangeType

logger = logging.getLogger(__name__)

References = Callable[[Resource], Iterable[Key]]
"""What a resource references. It sees specs that nobody has validated yet."""

Wakes = Callable[[Change], Iterable[Key]]
"""Whom a change of a resource concerns besides those that reference it. It sees specs and statuses as they are."""

reconciling: ContextVar[Key | None] = ContextVar("reconciling", default=None)
"""The key whose reconcile is running in this context: the author of the changes that the store tells."""


def asks_for_something_else(old: Resource, new: Resource) -> bool:
    """Whether more than the status changed."""
    return (
        old.generation != new.generation
        or old.uid != new.uid
        or old.deleted != new.deleted
        or old.finalizers != new.finalizers
        or old.labels != new.labels
        or old.annotations != new.annotations
    )


class WakeUps:
    """Keeps the index of references and tells which keys a change concerns."""

    def __init__(self, references: Mapping[str, References], wakes: Mapping[str, Wakes]) -> None:
        """`references` gives for each reconciled kind what a resource of it references, `wakes` whom else it wakes."""
        self._references = references
        self._wakes = wakes
        self._index = ReferenceIndex()
        self._waiting_for_deletion: set[Key] = set()

    def learn(self, resource: Resource) -> None:
        """Take in a resource that a list gave, unless a change of it was seen already."""
        if resource.key not in self._index:
            self._put(resource)

    def after(self, change: Change) -> tuple[Key, ...]:
        """The keys to look at after the change, each once."""
        keys: dict[Key, None] = {}
        if _concerns_those_that_reference(change):
            keys |= dict.fromkeys(self._index.sources(change.key))
        if (wakes := self._wakes.get(change.key.kind)) is not None:
            keys |= dict.fromkeys(wakes(change))
        # A resource that references itself must not be woken by its own status.
        keys.pop(change.key, None)
        if change.key.kind in self._references:
            if change.type is ChangeType.REMOVED:
                keys |= dict.fromkeys(self._remove(change.key))
            elif change.new is not None:
                self._put(change.new)
            if _concerns_the_resource_itself(change):
                keys[change.key] = None
        author = reconciling.get()
        return tuple(key for key in keys if key != author)

    def _put(self, resource: Resource) -> None:
        self._index.put(resource.key, self._references_of(resource))
        if resource.deleted:
            self._waiting_for_deletion.add(resource.key)
        else:
            self._waiting_for_deletion.discard(resource.key)

    def _remove(self, key: Key) -> list[Key]:
        """Take the resource out; what comes back waits for its deletion and was referenced by it."""
        targets = self._index.remove(key)
        self._waiting_for_deletion.discard(key)
        return sorted(self._waiting_for_deletion & targets)

    def _references_of(self, resource: Resource) -> tuple[Key, ...]:
        try:
            return tuple(self._references[resource.key.kind](resource))
        except Exception:
            # Specs are not validated here. The store's write must not fail over one that is malformed;
            # its reconcile, which is woken as well, tells the person what is wrong.
            logger.exception("the references of %s cannot be read", resource.key)
            return ()


def _concerns_those_that_reference(change: Change) -> bool:
    """Whether more than the finalizers changed, which nobody else depends on."""
    old, new = change.old, change.new
    if change.type is not ChangeType.MODIFIED or old is None or new is None:
        return True
    return replace(old, finalizers=(), resource_version="") != replace(new, finalizers=(), resource_version="")


def _concerns_the_resource_itself(change: Change) -> bool:
    if change.type is not ChangeType.MODIFIED or change.old is None or change.new is None:
        return True
    return asks_for_something_else(change.old, change.new)
