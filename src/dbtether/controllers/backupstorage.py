"""The controller of BackupStorages: finds out whether the store can be used, and says so."""

from dataclasses import replace

from dbtether.api.backupstorage import BackupStoragePhase, BackupStorageSpec
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.api.validation import check, validate_resource
from dbtether.controllers.base import Controller
from dbtether.controllers.report import Level, Remark, Report
from dbtether.controllers.storages import failure_of
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.storage.errors import StorageError
from dbtether.storage.probe import Findings

AGAIN_SECONDS = 1800.0
"""A store is looked at calmly: whoever uses it finds out at once what is wrong with it."""


class BackupStorageController(Controller):
    """Keeps a BackupStorage's status true to its store."""

    kind = "BackupStorage"

    def group(self, key: Key) -> str:
        """The storage itself: what waits for one store must not hold up another, nor any server."""
        return str(key)

    async def ensure(self, resource: Resource) -> Outcome:
        """Write, read, list and delete a probe object, and report. Raises Retryable or Blocked."""
        spec = validate_resource(BackupStorageSpec, resource)
        if self.world.executor.only_plans:
            # Who plans may sit elsewhere than who works, without its identity, its network and its disks.
            await self._report(resource, Report(BackupStoragePhase.READY, Level.READY, "Ready", "Not looked at"))
            return Done()
        try:
            store = await self.world.storages.open(spec)
            findings = await self.world.storages.examine(store)
        except StorageError as error:
            raise failure_of(error) from None
        report = Report(
            BackupStoragePhase.READY,
            Level.READY,
            "Ready",
            f"{store.url} can be used" if findings is not None else f"{store.url} can be listed",
            {"lastValidation": self._validated(resource)} if findings is not None else {},
            remarks=_remarks(findings),
        )
        await self._report(resource, report)
        return Again(AGAIN_SECONDS)

    def _validated(self, resource: Resource) -> str:
        """When the present state was found: the clock alone changes no status."""
        status = resource.status
        known = status.get("lastValidation")
        is_news = status.get("phase") != BackupStoragePhase.READY or (
            status.get("observedGeneration") != resource.generation
        )
        return instant_text(self.world.now()) if is_news or not known else str(known)

    async def _report(self, resource: Resource, report: Report) -> None:
        spec, _ = check(BackupStorageSpec, resource.key, resource.spec)
        fields = {**report.fields, "provider": None if spec is None else spec.provider}
        await super()._report(resource, replace(report, fields=fields))

    def phase(self, resource: Resource, wanted: str) -> str:
        """What the kind's status knows: Pending, Ready or Failed."""
        return wanted if wanted in tuple(BackupStoragePhase) else BackupStoragePhase.PENDING

    def made_nothing(self, resource: Resource) -> bool:
        """Always: the backups in it stay, whoever deletes it."""
        return True

    async def delete(self, resource: Resource) -> None:
        """Nothing to undo."""

    async def give_up(self, resource: Resource) -> str:
        """Nothing is left anywhere but backups, which are meant to stay."""
        return "nothing"


def _remarks(findings: Findings | None) -> tuple[Remark, ...]:
    if findings is None:
        return ()
    if findings.can_delete:
        return (Remark("Deletable", True, "Ready", "Objects can be deleted, so that retention works"),)
    return (
        Remark(
            "Deletable",
            False,
            "DeleteRefused",
            "The store refuses to delete objects: backups work, retention does not; give the right to delete, or leave "
            "expiry to the store's own lifecycle rules",
        ),
    )
