"""What the store shows: what the watches told, with our own writes on top until the watches caught up.

Pure: no I/O and no clock. Three rules:

- A write of ours is shown as soon as it was answered; what a watch tells of before it is ignored.
- While a write is under way, what the watches tell of its key waits, since the write's own change may
  be among it: that one is told in the context of the writer, all others in a context of their own.
- A list that began after a write was answered is right whatever its versions say: after a restored
  backup of etcd they start anew from lower ones.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass

from dbtether.api.resource import Key, Resource
from dbtether.runtime.kube.objects import version_number
from dbtether.runtime.store import Change, ChangeType

Listener = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """A watch or a list shows the resource like this."""

    resource: Resource
    since: int | None = None
    """For a list: the mark when it began."""

    @property
    def version(self) -> int:
        return version_number(self.resource.resource_version)


@dataclass(frozen=True, slots=True)
class Gone:
    """A watch or a list shows that the resource is gone; `version` is that of the deletion or the list."""

    version: int
    since: int | None = None


@dataclass(frozen=True, slots=True)
class _Own:
    """Our latest answered write of a key that no watch has told yet."""

    mark: int
    version: int
    is_removal: bool


class View:
    """The resources of one kind, or the metadata of Secrets; tells listeners what changes."""

    def __init__(self, kind: str, tell: Listener) -> None:
        self.kind = kind
        self._tell = tell
        self._resources: dict[Key, Resource] = {}
        self._own: dict[Key, _Own] = {}
        self._held: dict[Key, list[Seen | Gone]] = {}
        self._mark = 0

    def __len__(self) -> int:
        return len(self._resources)

    def get(self, key: Key) -> Resource | None:
        """The resource as it is now, as far as we know."""
        return self._resources.get(key)

    def all(self) -> tuple[Resource, ...]:
        """All resources, sorted by key."""
        return tuple(sorted(self._resources.values(), key=_place))

    # -- what watches and lists tell ------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """Grows with each own write; a list remembers the mark of its beginning."""
        return self._mark

    def listed(
        self, resources: Iterable[Resource], version: int, since: int, in_scope: Callable[[Resource], bool]
    ) -> None:
        """Take in a whole list that began at the mark `since`; what is in its scope and not in it is gone."""
        there = set()
        for resource in resources:
            there.add(resource.key)
            self._offer(resource.key, Seen(resource, since))
        vanished = [r.key for r in self._resources.values() if r.key not in there and in_scope(r)]
        for key in sorted(vanished):
            self._offer(key, Gone(version, since))

    def seen(self, resource: Resource) -> None:
        """Take in what a watch shows."""
        self._offer(resource.key, Seen(resource))

    def gone(self, key: Key, version: int) -> None:
        """Take in a deletion that a watch shows."""
        self._offer(key, Gone(version))

    # -- own writes -----------------------------------------------------------------------------------

    @contextmanager
    def writing(self, key: Key) -> Iterator[None]:
        """Holds back what the watches tell of the key while it is written; one write of a key at a time."""
        self._held[key] = []
        try:
            yield
        finally:
            for event in self._held.pop(key, ()):
                self._accept(key, event)

    def wrote(self, resource: Resource) -> Resource:
        """Show what a write gave back, told in the context of the writer; inside `writing`."""
        self._put_first(resource, self._tell)
        return resource

    def removed(self, key: Key, version: int) -> None:
        """Show that a write took the resource away; `version` is the last that it had; inside `writing`."""
        self._drop_first(key, version, self._tell)

    def read(self, resource: Resource) -> None:
        """Show what the server says now, told as somebody else's change; inside `writing`."""
        self._put_first(resource, self._tell_of_others)

    def absent(self, key: Key) -> None:
        """Show that the server has no such resource now, told as somebody else's change; inside `writing`."""
        known = self._resources.get(key)
        if known is not None:
            self._drop_first(key, version_number(known.resource_version), self._tell_of_others)

    def _put_first(self, resource: Resource, tell: Listener) -> None:
        key, version = resource.key, version_number(resource.resource_version)
        self._accept_earlier(key, version)
        self._mark += 1
        self._own[key] = _Own(self._mark, version, is_removal=False)
        self._put(resource, tell)

    def _drop_first(self, key: Key, version: int, tell: Listener) -> None:
        self._accept_earlier(key, version)
        self._mark += 1
        self._own[key] = _Own(self._mark, version, is_removal=True)
        self._drop(key, tell)

    def _accept_earlier(self, key: Key, version: int) -> None:
        """Accept what is held back and older than this version; the rest stays held."""
        held = self._held[key]
        self._held[key] = [event for event in held if event.version >= version]
        for event in held:
            if event.version < version:
                self._accept(key, event)

    # -- inside ---------------------------------------------------------------------------------------

    def _offer(self, key: Key, event: Seen | Gone) -> None:
        held = self._held.get(key)
        if held is not None:
            held.append(event)
        else:
            self._accept(key, event)

    def _accept(self, key: Key, event: Seen | Gone) -> None:
        if self._is_older_than_own(key, event):
            return
        self._own.pop(key, None)
        if isinstance(event, Seen):
            self._put(event.resource, self._tell_of_others)
        else:
            self._drop(key, self._tell_of_others)

    def _is_older_than_own(self, key: Key, event: Seen | Gone) -> bool:
        own = self._own.get(key)
        if own is None or (event.since is not None and event.since >= own.mark):
            return False
        # A removal is followed by a deletion or by a later creation.
        at_removal = own.is_removal and isinstance(event, Seen) and event.version == own.version
        return event.version < own.version or at_removal

    def _put(self, resource: Resource, tell: Listener) -> None:
        key = resource.key
        old = self._resources.get(key)
        if old is not None and old.uid != resource.uid:
            # Deleted and made anew while nobody watched: two changes.
            self._drop(key, tell)
            old = None
        if old is not None and old.resource_version == resource.resource_version:
            return
        self._resources[key] = resource
        tell(Change(ChangeType.MODIFIED if old else ChangeType.ADDED, key, old, resource))

    def _drop(self, key: Key, tell: Listener) -> None:
        old = self._resources.pop(key, None)
        if old is not None:
            tell(Change(ChangeType.REMOVED, key, old=old))

    def _tell_of_others(self, change: Change) -> None:
        """Somebody else's change must not look as if the running reconcile had made it."""
        Context().run(self._tell, change)


def _place(resource: Resource) -> tuple[str, str]:
    return (resource.key.namespace, resource.key.name)
