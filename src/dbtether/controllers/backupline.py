"""How many backups and restores of one DBCluster run at once, and in which order the others follow."""

from dbtether.api.backup import RunPhase
from dbtether.api.resource import Key, Resource
from dbtether.controllers.report import ready_reason
from dbtether.runtime.store import Store

_KINDS = ("Backup", "Restore")


class BackupLine:
    """Decides from the statuses, so that another engine goes on with the same line."""

    def __init__(self, store: Store, at_once: int) -> None:
        self._store = store
        self._at_once = at_once
        self.clusters: dict[Key, str] = {}
        """The DBCluster of each Backup and Restore; its controller keeps it."""
        self._starting: dict[Key, str] = {}
        """Those that may start, and whose status does not say so yet."""
        self._told: set[Key] = set()
        """Those that wait, and whose status does not say so yet."""

    async def enter(self, run: Resource, cluster: str) -> int:
        """0 when it may start now (call `leave` when its status tells), else its place in the line."""
        others = [other for other in await self._all() if other.key != run.key]
        here = [other for other in others if self.clusters.get(other.key) == cluster and other.deleted is None]
        busy = {other.key for other in here if other.status.get("phase") == RunPhase.RUNNING}
        busy |= {key for key, name in self._starting.items() if name == cluster and key != run.key}
        own = (run.created, run.key)
        ahead = [
            other for other in here if self._waits(other) and other.key not in busy and (other.created, other.key) < own
        ]
        # No await from here on: nobody else decides in between.
        if len(busy) + len(ahead) < self._at_once:
            self._starting[run.key] = cluster
            return 0
        self._told.add(run.key)
        return len(ahead) + 1

    def leave(self, key: Key) -> None:
        """The status tells whether it runs, or it is looked at anew."""
        self._starting.pop(key, None)
        self._told.discard(key)

    async def waiting(self, cluster: str) -> list[Resource]:
        """Those in the line of a DBCluster, the first ones first."""
        found = [other for other in await self._all() if self.clusters.get(other.key) == cluster]
        return [other for other in sorted(found, key=lambda item: (item.created, item.key)) if self._waits(other)]

    async def _all(self) -> list[Resource]:
        return [other for kind in _KINDS for other in await self._store.list(kind)]

    def _waits(self, run: Resource) -> bool:
        is_told = run.key in self._told or ready_reason(run.status) == "InLine"
        return is_told and run.deleted is None
