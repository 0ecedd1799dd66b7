"""The controller of Restores: proves the source, loads it by a job of its own, swaps, and brings the rights back.

Each step may be begun again: what the status tells, what the job left and what the server itself remembers say how
far an earlier process came. Docs: docs/restore.md.
"""

import asyncio
import logging
import secrets
from dataclasses import replace

from dbtether.api.backup import RunPhase
from dbtether.api.resource import Resource
from dbtether.api.restore import RestoreSpec, RestoreStep
from dbtether.api.times import instant_text
from dbtether.api.validation import validate_resource
from dbtether.backup.clients import find_clients
from dbtether.backup.formats import format_of
from dbtether.backup.restore.job import CheckResult, RestoreResult
from dbtether.backup.restore.model import LoadWay
from dbtether.controllers.base import Waiting
from dbtether.controllers.report import Level, Report
from dbtether.controllers.restoreframe import RestoreFrame
from dbtether.controllers.restorehold import hold
from dbtether.controllers.restorejobs import Failure, check_job, ended_without_result, load_job
from dbtether.controllers.restorerun import (
    Judged,
    judged,
    prepare,
    record_completed,
    rules_for,
    was_committed,
)
from dbtether.controllers.restoresource import Source, find_source, source_again
from dbtether.controllers.restorestate import NO_RUN, Run, is_drill, recorded_run, spec_hash
from dbtether.controllers.restoreswap import abandon, swap
from dbtether.controllers.restoretarget import RestoredDatabase, refuse_protected, restored_database, target_key
from dbtether.errors import Blocked
from dbtether.runtime.jobs import JobPhase, JobState
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType

logger = logging.getLogger(__name__)

# Every end of a look wakes the Restore; this is for what never ends.
_LOOK_AGAIN_SECONDS = 10.0


class RestoreController(RestoreFrame):
    """Does each Restore once."""

    async def ensure(self, resource: Resource) -> Outcome:
        """Start the run, take its next step, or leave it done. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(RestoreSpec, resource)
        if self._jobs is None:
            await self._report(resource, Report(RunPhase.COMPLETED, Level.READY, "Completed", "Not looked at"))
            return Done()
        self._line.leave(resource.key)
        wanted, run = spec_hash(resource, spec), recorded_run(resource)
        if resource.status.get("specHash") == wanted and "completedAt" in resource.status:
            return await self._over(resource)
        if not self.world.executor.may_write:
            raise Blocked("ReadOnlyMode", "The operator is in read-only mode and did not do this restore")
        if run is not None and run.spec_hash != wanted:
            if not run.is_over and not await self._end(resource, spec, run):
                return Again(1.0)
            run = None
        if run is None:
            resource = await self.world.record(resource, NO_RUN)
        if spec.cancel and (run is None or run.step in (RestoreStep.CHECKING, RestoreStep.LOADING)):
            return await self._cancel(resource, spec, run)
        if run is None:
            return await self._begin(resource, spec, wanted)
        try:
            return await self._step(resource, spec, run)
        except Blocked as error:
            is_lost = run.step is RestoreStep.DROPPING and error.reason == "DatabaseNotFound"
            if run.step not in (RestoreStep.CHECKING, RestoreStep.LOADING) and not is_lost:
                raise
            latest = recorded_run(await self._latest(resource)) or run
            return await self._failed(resource, spec, latest, Failure(error.reason, error.message))

    async def _step(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        if (due := self._not_before.get(resource.key)) is not None:
            remaining = (due - self.world.now()).total_seconds()
            if remaining > 0:
                return Again(remaining)
            self._not_before.pop(resource.key, None)
        match run.step:
            case RestoreStep.CHECKING:
                return await self._checking(resource, spec, run)
            case RestoreStep.LOADING:
                return await self._loading(resource, spec, run)
            case RestoreStep.SWAPPING:
                return await self._swapping(resource, spec, run)
            case RestoreStep.GRANTING:
                return await self._granting(resource, spec, run)
            case RestoreStep.DROPPING:
                return await self._dropping(resource, spec, run)

    # -- before the run -------------------------------------------------------------------------------

    async def _begin(self, resource: Resource, spec: RestoreSpec, wanted: str) -> Outcome:
        target = await restored_database(self.world, resource, spec)
        self._line.clusters[resource.key] = target.cluster
        if not spec.verify_only:
            restores = await target.restores()
            if (earlier := restores.run_of(wanted)) is not None:
                return await self._already(resource, wanted, earlier)
            refuse_protected(target, spec)
            await self._refuse_second(resource, spec)
        try:
            source = await find_source(self.world, resource, spec)
            run = Run(secrets.token_hex(4), wanted, source.url, resource.key.name, self.world.now())
            return await self._check(resource, spec, run, target, source)
        finally:
            self._targets.pop(resource.key, None)

    async def _refuse_second(self, resource: Resource, spec: RestoreSpec) -> None:
        """One at a time on each target: the first that has begun. Raises Waiting for any other."""
        own = target_key(resource, spec)
        others = [other for other in await self.world.store.list("Restore") if other.key != resource.key]
        # No await from here on: nobody else begins in between.
        for other in others:
            run = recorded_run(other)
            is_named = other.key.namespace == own.namespace and _target_name(other) == own.name
            if is_named and run is not None and not run.is_over and not is_drill(other):
                raise Waiting("InLine", f"{other.key} restores into {own}; this one follows when it is done")
        for key, target in self._targets.items():
            if target == own and key != resource.key:
                raise Waiting("InLine", f"{key} restores into {own}; this one follows when it is done")
        self._targets[resource.key] = own

    async def _already(self, resource: Resource, wanted: str, earlier: str) -> Outcome:
        message = (
            f"Run {earlier} did this very restore before, as the server remembers: nothing was touched; annotate with "
            f"dbtether.io/run-again=<any new value> to insist"
        )
        fields = {"specHash": wanted, "runId": earlier, "completedAt": instant_text(self.world.now())}
        report = Report(RunPhase.COMPLETED, Level.READY, "AlreadyRestored", message, fields)
        await self._report(resource, report)
        return Done()

    # -- the source is read ---------------------------------------------------------------------------

    async def _check(
        self, resource: Resource, spec: RestoreSpec, run: Run, target: RestoredDatabase, source: Source
    ) -> Outcome:
        """Start the job that reads the source. Raises Waiting, Retryable or Blocked."""
        if format_of(source.key).is_custom:
            await asyncio.to_thread(find_clients, target.server.facts.major)
        rules = await rules_for(target, source)
        await self._take_turn(resource, target.cluster)
        # On record before anything is made: whoever comes next ends it or goes on with it.
        resource = await self._running(resource, run, "Reading the source from end to end")
        self._line.leave(resource.key)
        await hold(source.storage.store, source.key, self.world.store.installation)
        job = await check_job(self.world, resource, spec, run, source, rules)
        await self.jobs.ensure(job)
        await self.world.store.record_event(resource, EventType.NORMAL, "Running", f"Reading {run.source}")
        return Again(self.jobs.poll_seconds)

    async def _checking(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        state = await self.jobs.state(run.check_job)
        if state is not None and state.phase is not JobPhase.ENDED:
            return await self._progress(resource, run, state, "Reading the source from end to end")
        target = await self._target_of_run(resource, spec)
        source = await source_again(self.world, resource, spec, run.source)
        if state is None:
            return await self._check(resource, spec, run, target, source)
        result = None if state.result is None else CheckResult.parse(state.result)
        if result is None or (result.succeeded and result.findings is None):
            return await self._failed(resource, spec, run, ended_without_result(state))
        if not result.succeeded or result.findings is None:
            return await self._failed(resource, spec, run, Failure(result.reason, result.message, result.may_retry))
        found = await judged(spec, target, source, result.findings, run)
        if found.verdict is not None:
            raise found.verdict
        return await self._load(resource, spec, run, target, source, found)

    # -- it is loaded ---------------------------------------------------------------------------------

    async def _load(
        self, resource: Resource, spec: RestoreSpec, run: Run, target: RestoredDatabase, source: Source, found: Judged
    ) -> Outcome:
        """Prepare the place, and start the job that loads. Raises Waiting, Retryable or Blocked."""
        await self._take_turn(resource, target.cluster)
        run = run.at(RestoreStep.LOADING, found.way)
        resource = await self._running(resource, run, "Preparing the database")
        self._line.leave(resource.key)
        place = await prepare(self.world, resource, target, source, found, run)
        await self.jobs.ensure(await load_job(self.world, resource, spec, run, source, place))
        resource = await self._running(resource, run, "Loading")
        tried = "" if not run.attempts else f", attempt {run.attempts + 1} of {self._settings.attempts}"
        text = f"Loading {run.source} into database {target.name}{tried}"
        await self.world.store.record_event(resource, EventType.NORMAL, "Running", text)
        return Again(self.jobs.poll_seconds)

    async def _loading(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        state = await self.jobs.state(run.load_job)
        if state is not None and state.phase is not JobPhase.ENDED:
            return await self._progress(resource, run, state, "Loading")
        target = await self._target_of_run(resource, spec)
        if await was_committed(self.world, resource.key, target, run):
            return await self._loaded(resource, spec, run, state)
        if state is None:
            # Its start was cut off, or somebody deleted the job.
            return await self._failed(resource, spec, run, Failure("RestoreFailed", "Its job is gone", may_retry=True))
        result = None if state.result is None else RestoreResult.parse(state.result)
        if result is None or result.succeeded:
            return await self._failed(resource, spec, run, ended_without_result(state))
        return await self._failed(resource, spec, run, Failure(result.reason, result.message, result.may_retry))

    async def _loaded(self, resource: Resource, spec: RestoreSpec, run: Run, state: JobState | None) -> Outcome:
        """The server says that the load is committed, whoever was killed meanwhile."""
        run = await self._with_counts(run, state)
        if spec.verify_only:
            await self._running(resource, run.at(RestoreStep.DROPPING), "Compared; dropping the throwaway database")
        elif run.way is LoadWay.STAGING:
            await self._running(resource, run.at(RestoreStep.SWAPPING), "Putting it in the target's place")
        else:
            await self._running(resource, run.at(RestoreStep.GRANTING), "Bringing the rights back")
        return Again(0)

    async def _with_counts(self, run: Run, state: JobState | None) -> Run:
        """The run with the tables and rows of the load, or of the check where the load's result is lost."""
        result = None if state is None or state.result is None else RestoreResult.parse(state.result)
        if result is not None and result.succeeded:
            return replace(run, tables=result.tables, rows=result.rows)
        checked = await self.jobs.state(run.check_job)
        found = None if checked is None or checked.result is None else CheckResult.parse(checked.result)
        if found is None or found.findings is None:
            return run
        return replace(run, tables=found.findings.tables, rows=found.findings.rows)

    # -- it takes the target's place ------------------------------------------------------------------

    async def _swapping(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        target = await self._target_of_run(resource, spec)
        await swap(self.world, resource, spec, target, run)
        await self._running(resource, run.at(RestoreStep.GRANTING), "Bringing the rights back")
        return Again(0)

    async def _granting(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        # First, since the run's login remembers that the load was committed only for as long as it is there.
        await record_completed(self.world, resource.key, await self._target_of_run(resource, spec), run)
        proof = await self._rights.prove(resource.key, target_key(resource, spec))
        if not proof.is_complete:
            more = f" and {len(proof.awaited) - 1} more" if len(proof.awaited) > 1 else ""
            await self._running(resource, run, f"Restored; waits until {proof.awaited[0]}{more} is Ready again")
            return Again(_LOOK_AGAIN_SECONDS)
        await self._clean_up(resource, spec, run)
        self._rights.forget(resource.key)
        fields = run.ended_fields(self.world.now())
        message = f"Restored{_counted(run)} in {fields['duration']} from {run.source}"
        if proof.failing:
            message += f"; not Ready, see there: {', '.join(map(str, proof.failing[:3]))}"
        report = Report(RunPhase.COMPLETED, Level.READY, "Completed", message, fields, warns=bool(proof.failing))
        return await self._done(resource, report)

    async def _dropping(self, resource: Resource, spec: RestoreSpec, run: Run) -> Outcome:
        """It was all there: nothing of it stays. Raises Retryable or Blocked."""
        target = await self._target_of_run(resource, spec)
        await abandon(self.world, resource, spec, target, run)
        await self._clean_up(resource, spec, run)
        fields = run.ended_fields(self.world.now())
        message = f"Verified{_counted(run)} in {fields['duration']} from {run.source}; {target.key} was not touched"
        return await self._done(resource, Report(RunPhase.COMPLETED, Level.READY, "Verified", message, fields))

    async def _done(self, resource: Resource, report: Report) -> Outcome:
        await self._report(resource, report)
        await self._next_in_line(resource)
        return Done()

    async def _cancel(self, resource: Resource, spec: RestoreSpec, run: Run | None) -> Outcome:
        if run is None:
            message = "spec.cancel is set: nothing was started"
            await self._report(resource, Report(RunPhase.FAILED, Level.STALLED, "Cancelled", message))
            return Done()
        if not await self.jobs.delete(run.job):
            return Again(1.0)
        if run.step is RestoreStep.LOADING and run.way is LoadWay.TRANSACTION:
            target = await self._target_of_run(resource, spec)
            if await was_committed(self.world, resource.key, target, run):
                # It came too late: what is committed is told as what it is.
                return await self._loaded(resource, spec, run, None)
        if not await self._end(resource, spec, run):
            return Again(1.0)
        return await self._ended(resource, spec, run, "Cancelled", "Ended by spec.cancel; the target is as it was")


def _target_name(restore: Resource) -> str | None:
    target = restore.spec.get("target")
    ref = target.get("databaseRef") if isinstance(target, dict) else None
    name = ref.get("name") if isinstance(ref, dict) else None
    return name if isinstance(name, str) else None


def _counted(run: Run) -> str:
    if run.tables is None or run.rows is None:
        return ""
    return f" {run.tables:,} table{'' if run.tables == 1 else 's'} with {run.rows:,} rows"
