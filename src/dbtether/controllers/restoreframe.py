"""What every step of a Restore shares: its turn, what its status tells, and how a run ends."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from dbtether.api.backup import RunPhase
from dbtether.api.kinds import RUN_AGAIN
from dbtether.api.resource import Key, Resource
from dbtether.api.restore import RestoreSpec, RestoreStep
from dbtether.api.validation import validate_resource
from dbtether.backup.restore.model import LoadWay
from dbtether.controllers.backup import BackupSettings
from dbtether.controllers.backupline import BackupLine
from dbtether.controllers.backuprun import end_run
from dbtether.controllers.base import Controller, Waiting, World
from dbtether.controllers.references import references_of_restore
from dbtether.controllers.report import Level, Report, ready_reason
from dbtether.controllers.restorehold import let_go
from dbtether.controllers.restorejobs import Failure
from dbtether.controllers.restorerights import Rights
from dbtether.controllers.restorerun import record_completed, was_committed
from dbtether.controllers.restoresource import source_again
from dbtether.controllers.restorestate import Run, recorded_run
from dbtether.controllers.restoreswap import abandon
from dbtether.controllers.restoretarget import RestoredDatabase, restored_database, target_key
from dbtether.errors import Blocked, Retryable
from dbtether.runtime.jobs import JobPhase, Jobs, JobState
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType

logger = logging.getLogger(__name__)


class RestoreFrame(Controller):
    """Begins, ends and reports runs; the steps between are its subclass's."""

    kind = "Restore"

    def __init__(self, world: World, jobs: Jobs | None, settings: BackupSettings, line: BackupLine) -> None:
        """`jobs` may be missing where nothing is run, as in a plan."""
        super().__init__(world)
        self._jobs = jobs
        self._settings = settings
        self._line = line
        self._rights = Rights(world)
        self._not_before: dict[Key, datetime] = {}
        """When the next attempt of a run is due that failed in this process."""
        self._targets: dict[Key, Key] = {}
        """Targets of this process' Restores that have begun, and whose status does not say so yet."""

    def references(self, resource: Resource) -> list[Key]:
        """What a Restore names; also learns to which DBCluster it goes."""
        found = list(references_of_restore(resource))
        cluster = next((name for key in found if (name := self.world.directory.cluster_of(key))), "")
        self._line.clusters[resource.key] = cluster
        return [*found, Key("DBCluster", "", cluster)] if cluster else found

    def group(self, key: Key) -> str:
        """The DBCluster of its target."""
        return self._line.clusters.get(key, "")

    # -- how it ends ----------------------------------------------------------------------------------

    async def _failed(self, resource: Resource, spec: RestoreSpec, run: Run, failure: Failure) -> Outcome:
        """End what is left of the attempt; try again after a pause, or give up."""
        if not await self._end(resource, spec, run, keep_check=run.step is RestoreStep.LOADING and failure.may_retry):
            return Again(1.0)
        run = run.tried_again()
        if not failure.may_retry or run.attempts >= self._settings.attempts:
            return await self._ended(resource, spec, run, failure.reason, failure.message)
        pause = self._settings.pauses_seconds[run.attempts - 1]
        self._not_before[resource.key] = self.world.now() + timedelta(seconds=pause)
        message = f"{failure.message}; attempt {run.attempts} of {self._settings.attempts}, trying again"
        run = run.at(RestoreStep.CHECKING)
        report = Report(RunPhase.PENDING, Level.PROGRESSING, failure.reason, message, run.fields())
        await self.world.write(resource, report)
        await self.world.store.record_event(resource, EventType.WARNING, failure.reason, message)
        await self._next_in_line(resource)
        return Again(pause)

    async def _ended(self, resource: Resource, spec: RestoreSpec, run: Run, reason: str, message: str) -> Outcome:
        """Say that nothing was restored, and how to try it again."""
        message = f"{message}; to run it again, annotate the Restore with {RUN_AGAIN}={run.id}"
        await self._let_go(resource, spec, run)
        fields = run.ended_fields(self.world.now())
        await self._report(resource, Report(RunPhase.FAILED, Level.STALLED, reason, message, fields))
        await self._next_in_line(resource)
        return Done()

    async def _over(self, resource: Resource) -> Outcome:
        """Nothing is left to do; what else of the spec was changed has been seen."""
        status = resource.status
        phase, reason, message = status.get("phase"), ready_reason(status), status.get("message")
        level = Level.READY if phase == RunPhase.COMPLETED else Level.STALLED
        await self._report(resource, Report(str(phase), level, reason or "Completed", str(message or "")))
        return Done()

    async def _end(self, resource: Resource, spec: RestoreSpec, run: Run, *, keep_check: bool = False) -> bool:
        """End the run's jobs, its login and what it has made beside the target. False while a job may still run."""
        if not await self.jobs.delete(run.load_job):
            return False
        if not keep_check and not await self.jobs.delete(run.check_job):
            return False
        try:
            target = await restored_database(self.world, resource, spec, is_under_way=True)
            await abandon(self.world, resource, spec, target, run)
            await end_run(target.server, resource.key, run.id)
        except (Waiting, Retryable, Blocked) as error:
            # The login expires, and is swept; what else is left the Database's own reconcile finds.
            logger.warning("%s: what run %s has made is left for later: %s", resource.key, run.id, error)
        return True

    async def _clean_up(self, resource: Resource, spec: RestoreSpec, run: Run) -> None:
        """End the login of a run that is done, and the hold."""
        target = await restored_database(self.world, resource, spec, is_under_way=True)
        await end_run(target.server, resource.key, run.id)
        await self._let_go(resource, spec, run)

    async def _let_go(self, resource: Resource, spec: RestoreSpec, run: Run) -> None:
        try:
            source = await source_again(self.world, resource, spec, run.source)
        except (Waiting, Retryable, Blocked):
            return
        others = tuple(other for other in await self.world.store.list("Restore") if other.key != resource.key)
        await let_go(source.storage.store, source.key, self.world.store.installation, others)

    # -- the frame ------------------------------------------------------------------------------------

    async def _target_of_run(self, resource: Resource, spec: RestoreSpec) -> RestoredDatabase:
        return await restored_database(self.world, resource, spec, is_under_way=True)

    async def _take_turn(self, resource: Resource, cluster: str) -> None:
        """Raises Waiting while as many run on the DBCluster as may; one that runs already has its turn."""
        latest = await self._latest(resource)
        if latest.status.get("phase") == RunPhase.RUNNING:
            return
        if place := await self._line.enter(resource, cluster):
            for other in await self._line.waiting(cluster):
                if (other.created, other.key) > (resource.created, resource.key):
                    self.world.wake(other.key)
            at_once = self._settings.at_once
            raise Waiting(
                "InLine",
                f"Number {place} in line: {at_once} backups and restores of DBCluster {cluster} run at once",
            )

    async def _next_in_line(self, resource: Resource) -> None:
        for other in await self._line.waiting(self._line.clusters.get(resource.key, "")):
            self.world.wake(other.key)

    async def _progress(self, resource: Resource, run: Run, state: JobState, doing: str) -> Outcome:
        if state.phase is JobPhase.PENDING:
            message = "Its Job has not started yet" + (f": {state.progress}" if state.progress else "")
        else:
            message = state.progress or doing
        await self._running(resource, run, message)
        return Again(self.jobs.poll_seconds)

    async def _running(self, resource: Resource, run: Run, message: str) -> Resource:
        report = Report(RunPhase.RUNNING, Level.PROGRESSING, "Running", message, run.fields())
        return await self.world.write(resource, report)

    async def _latest(self, resource: Resource) -> Resource:
        return await self.world.store.get(resource.key) or resource

    @property
    def jobs(self) -> Jobs:
        """Where its jobs run."""
        assert self._jobs is not None, "nothing is run in a plan"
        return self._jobs

    async def _report(self, resource: Resource, report: Report) -> None:
        """A failure that passes leaves the run where it is; one that a person must act on is the phase Failed."""
        if report.level is Level.PROGRESSING:
            run = recorded_run(await self._latest(resource))
            runs = run is not None and not run.is_over and report.reason != "InLine"
            report = replace(report, phase=RunPhase.RUNNING if runs else RunPhase.PENDING)
        await super()._report(resource, report)

    def phase(self, resource: Resource, wanted: str) -> str:
        """What the kind's status knows."""
        return wanted if wanted in tuple(RunPhase) else RunPhase.PENDING

    def made_nothing(self, resource: Resource) -> bool:
        """The run is on record before anything is made."""
        return recorded_run(resource) is None

    async def delete(self, resource: Resource) -> None:
        """End a run that is under way; what is restored stays, and is remembered. Raises Waiting or Retryable."""
        run = recorded_run(resource)
        if run is None or self._jobs is None:
            return
        if not self.world.executor.may_write:
            raise Blocked("ReadOnlyMode", "The operator is in read-only mode and did not: end the Jobs of this restore")
        spec = validate_resource(RestoreSpec, resource)
        if not await self.jobs.delete(run.load_job) or not await self.jobs.delete(run.check_job):
            raise Retryable("Retrying", "Its job is being ended; trying again")
        if not run.is_over:
            await self._end_deleted(resource, spec, run)
        await self._next_in_line(resource)
        self._not_before.pop(resource.key, None)
        self._rights.forget(resource.key)
        self._line.clusters.pop(resource.key, None)

    async def _end_deleted(self, resource: Resource, spec: RestoreSpec, run: Run) -> None:
        if await self.world.store.get(target_key(resource, spec)) is not None:
            target = await self._target_of_run(resource, spec)
            is_done = run.step is RestoreStep.GRANTING
            if (
                not is_done
                and run.way is LoadWay.TRANSACTION
                and await was_committed(self.world, resource.key, target, run)
            ):
                await record_completed(self.world, resource.key, target, run)
                is_done = True
            if run.step is RestoreStep.SWAPPING:
                is_done = await abandon(self.world, resource, spec, target, run)
            if is_done:
                await self._clean_up(resource, spec, run)
                self.world.wake(target.key)
                return
        await self._end(resource, spec, run)
        await self._let_go(resource, spec, run)

    async def give_up(self, resource: Resource) -> str:
        """Let go of it."""
        return f"the job {resource.status.get('jobName')}, should it still run, and what its run has made"
