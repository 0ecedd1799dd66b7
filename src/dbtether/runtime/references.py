"""The index of references between resources: who must look again when something changed."""

from collections.abc import Iterable

from dbtether.api.resource import Key


class ReferenceIndex:
    """Which resources reference a key. A key may be referenced that does not exist, or not yet."""

    def __init__(self) -> None:
        self._targets_of: dict[Key, frozenset[Key]] = {}
        self._sources_of: dict[Key, set[Key]] = {}

    def __contains__(self, source: Key) -> bool:
        return source in self._targets_of

    def put(self, source: Key, targets: Iterable[Key]) -> None:
        """Make these the references of the source, in place of those it had."""
        wanted = frozenset(targets)
        known = self._targets_of.get(source, frozenset())
        self._targets_of[source] = wanted
        for target in known - wanted:
            self._drop_edge(source, target)
        for target in wanted - known:
            self._sources_of.setdefault(target, set()).add(source)

    def remove(self, source: Key) -> frozenset[Key]:
        """Take the source out; what comes back is what it referenced."""
        targets = self._targets_of.pop(source, frozenset())
        for target in targets:
            self._drop_edge(source, target)
        return targets

    def sources(self, target: Key) -> tuple[Key, ...]:
        """The resources that reference the target, sorted."""
        return tuple(sorted(self._sources_of.get(target, ())))

    def _drop_edge(self, source: Key, target: Key) -> None:
        sources = self._sources_of[target]
        sources.discard(source)
        if not sources:
            del self._sources_of[target]
