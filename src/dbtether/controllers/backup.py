"""The controller of Backups: one run each, by a job of its own, and never a second one of the same spec."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbtether.api.backup import BackupSpec, RunPhase
from dbtether.api.kinds import RUN_AGAIN
from dbtether.api.resource import Key, Resource
from dbtether.api.times import instant_text
from dbtether.api.validation import validate_resource
from dbtether.backup.clients import find_clients
from dbtether.backup.dump import LOCK_WAIT_SECONDS
from dbtether.backup.job import JobResult, JobRun, JobSecrets, job_files
from dbtether.backup.jobfiles import tls_contents
from dbtether.backup.manifest import Manifest, ManifestInvalid, Trust, read_manifest, run_key
from dbtether.backup.run import manifest_at, manifest_of_run
from dbtether.controllers.backupline import BackupLine
from dbtether.controllers.backuprun import DatabaseOnServer, Preflight, end_run, expiry, make_login, preflight
from dbtether.controllers.backupstate import (
    NO_RUN,
    Run,
    completed_fields,
    index_key,
    is_asked_for_again,
    job_labels,
    job_name,
    object_name,
    object_tags,
    origin_of,
    recorded_run,
    spec_hash,
)
from dbtether.controllers.backuptarget import Storage, backed_up_database, named_storage
from dbtether.controllers.base import Controller, Waiting, World, connected_server
from dbtether.controllers.references import references_of_backup
from dbtether.controllers.report import Level, Report, ready_reason
from dbtether.controllers.storages import failure_of
from dbtether.errors import Blocked, Retryable
from dbtether.runtime.jobs import JobPhase, Jobs, JobSpec, JobState
from dbtether.runtime.reconcile import Again, Done, Outcome
from dbtether.runtime.store import EventType
from dbtether.storage.errors import Fault, StorageError

logger = logging.getLogger(__name__)

_INDEX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """The numbers of backups."""

    at_once: int = 3
    """How many of one DBCluster run at once."""
    pauses_seconds: tuple[float, ...] = (10.0, 60.0, 300.0, 900.0)
    """Between the attempts of a run; there is one attempt more than pauses."""
    lock_wait_seconds: float = LOCK_WAIT_SECONDS
    """How long an attempt waits for a lock that another session keeps from it."""

    @property
    def attempts(self) -> int:
        """How many times a run is tried."""
        return len(self.pauses_seconds) + 1


class BackupController(Controller):
    """Takes each Backup once."""

    kind = "Backup"

    def __init__(self, world: World, jobs: Jobs | None, settings: BackupSettings, line: BackupLine) -> None:
        """`jobs` may be missing where nothing is run, as in a plan."""
        super().__init__(world)
        self._jobs = jobs
        self._settings = settings
        self._line = line
        self._clusters = line.clusters
        self._not_before: dict[Key, datetime] = {}
        """When the next attempt of a run is due that failed in this process."""

    def references(self, resource: Resource) -> list[Key]:
        """What a Backup names; also learns to which DBCluster it goes."""
        found = list(references_of_backup(resource))
        cluster = next((name for key in found if (name := self.world.directory.cluster_of(key))), "")
        self._clusters[resource.key] = cluster
        return [*found, Key("DBCluster", "", cluster)] if cluster else found

    def group(self, key: Key) -> str:
        """The DBCluster of its Database."""
        return self._clusters.get(key, "")

    async def ensure(self, resource: Resource) -> Outcome:
        """Start the run, follow it, or leave it done. Raises Waiting, Retryable or Blocked."""
        spec = validate_resource(BackupSpec, resource)
        if self._jobs is None:
            await self._report(resource, Report(RunPhase.COMPLETED, Level.READY, "Completed", "Not looked at"))
            return Done()
        self._line.leave(resource.key)
        wanted, run = spec_hash(resource.key, spec), recorded_run(resource.status)
        if run is not None and run.spec_hash == wanted and run.is_over and not is_asked_for_again(resource, run):
            return await self._over(resource)
        if not self.world.executor.may_write:
            raise Blocked("ReadOnlyMode", "The operator is in read-only mode and did not take this backup")
        if run is not None and (run.is_over or run.spec_hash != wanted):
            if not run.is_over and not await self._end(resource, run):
                return Again(1.0)
            resource, run = await self.world.record(resource, NO_RUN), None
        if spec.cancel:
            return await self._cancel(resource, run)
        if run is None:
            return await self._begin(resource, spec, wanted)
        return await self._follow(resource, spec, run)

    # -- before the run -------------------------------------------------------------------------------

    async def _begin(self, resource: Resource, spec: BackupSpec, wanted: str) -> Outcome:
        database = await backed_up_database(self.world, resource, spec)
        storage = await named_storage(self.world, resource, spec)
        if (earlier := await self._earlier(resource, storage, wanted)) is not None:
            message = "Taken before, for a resource of this name and spec; the same spec never runs again"
            return await self._completed(resource, storage, earlier, message)
        run_id, started = secrets.token_hex(4), self.world.now()
        key = object_name(storage.spec.path_template, spec.filename_template, database, run_id, started)
        run = Run(run_id, wanted, job_name(resource.key.name, run_id), f"{storage.store.url}/{key}", started)
        return await self._attempt(resource, spec, run, database, storage)

    async def _earlier(self, resource: Resource, storage: Storage, wanted: str) -> Manifest | None:
        """The backup that the store remembers for this name and spec. Raises Retryable or Blocked."""
        store, at = storage.store, index_key(self.world.store.installation, resource.key, wanted)
        try:
            remembered = json.loads(await store.read(at, _INDEX_BYTES))
            key = str(remembered["key"])
            found = await manifest_at(store, key)
            if found is not None:
                manifest, trust = read_manifest(found, f"{store.url}/{key}", self.world.store.fingerprint_key)
                origin = manifest.origin
                is_same = (origin.namespace, origin.name) == (resource.key.namespace, resource.key.name)
                if trust is Trust.OURS and is_same and origin.spec_hash == wanted and manifest.key == key:
                    return manifest
            # The backup is gone from the store, or never was there: then it is none.
            await store.delete(at)
        except StorageError as error:
            if error.fault is not Fault.OBJECT_NOT_FOUND:
                raise failure_of(error) from None
        except (ValueError, KeyError, TypeError, ManifestInvalid):
            return None
        return None

    # -- an attempt -----------------------------------------------------------------------------------

    async def _attempt(
        self, resource: Resource, spec: BackupSpec, run: Run, database: DatabaseOnServer, storage: Storage
    ) -> Outcome:
        """Start the run's job once it is its turn. Raises Waiting, Retryable or Blocked."""
        key = run.key_in(storage.store.url)
        if key is None:
            raise Blocked("BackupFailed", f"The storage is another one than at the run's start ({run.path})")
        await asyncio.to_thread(find_clients, database.server.facts.major)
        found = await preflight(database)
        place = await self._line.enter(resource, database.cluster)
        if place:
            await self._wake_behind(resource, database.cluster)
            at_once = self._settings.at_once
            raise Waiting(
                "InLine",
                f"Number {place} in line: {at_once} backups and restores of DBCluster {database.cluster} run at once",
            )
        try:
            # On record before anything is made: whoever comes next ends it or goes on with it.
            resource = await self._running(resource, run, "Starting")
        finally:
            self._line.leave(resource.key)
        self._clusters[resource.key] = database.cluster
        self._not_before.pop(resource.key, None)
        # Whoever still dumps in the run's name is stopped: there is one writer of an object.
        await end_run(database.server, resource.key, run.id)
        job = await self._job(resource, spec, run, key, database, found, storage)
        try:
            await self.jobs.ensure(job)
        except (Retryable, Blocked):
            # Nobody is going to use it.
            await self._end_login(resource, run.id)
            raise
        run = run.tried_again()
        resource = await self._running(resource, run, "Backing up")
        attempt = "" if run.attempts == 1 else f", attempt {run.attempts} of {self._settings.attempts}"
        await self.world.store.record_event(resource, EventType.NORMAL, "Running", f"Backing up to {run.path}{attempt}")
        return Again(self.jobs.poll_seconds)

    async def _job(
        self,
        resource: Resource,
        spec: BackupSpec,
        run: Run,
        key: str,
        database: DatabaseOnServer,
        found: Preflight,
        storage: Storage,
    ) -> JobSpec:
        """The job, with a login made for it."""
        installation = self.world.store.installation
        deadline = None if spec.active_deadline is None else timedelta(seconds=spec.active_deadline.seconds)
        parameters = await make_login(
            database, found, resource.key, run.id, installation, expiry(self.world.now(), deadline)
        )
        root = None if storage.spec.local is None else self.world.storages.local_root
        told = JobRun(
            run_id=run.id,
            installation=installation,
            origin=origin_of(resource, run.spec_hash),
            source=found.source,
            key=key,
            tags=object_tags(resource, database),
            storage=storage.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
            local_root=None if root is None else str(root),
            host=parameters.host,
            port=parameters.port,
            user=parameters.user,
            sslmode=parameters.sslmode,
            server_major=database.server.facts.major,
            lock_wait_seconds=self._settings.lock_wait_seconds,
        )
        kept = JobSecrets(
            password=parameters.password,
            signing_key=run_key(self.world.store.fingerprint_key, run.id),
            storage=await self.world.storages.credentials(storage.spec),
            tls=tls_contents(parameters),
        )
        return JobSpec(
            name=run.job,
            subject=resource.key,
            arguments=("backup",),
            files=job_files(told, kept),
            labels=job_labels(resource),
            deadline_seconds=None if deadline is None else deadline.total_seconds(),
            ttl_seconds=spec.ttl_after_completion.seconds,
            folder=told.local_root,
        )

    # -- while it runs --------------------------------------------------------------------------------

    async def _follow(self, resource: Resource, spec: BackupSpec, run: Run) -> Outcome:
        state = await self.jobs.state(run.job)
        if state is not None and state.phase is not JobPhase.ENDED:
            await self._running(resource, run, _progress(state))
            return Again(self.jobs.poll_seconds)
        if state is None and (due := self._not_before.get(resource.key)) is not None:
            remaining = (due - self.world.now()).total_seconds()
            if remaining > 0:
                return Again(remaining)
        storage = await named_storage(self.world, resource, spec)
        if (manifest := await self._manifest(run, storage)) is not None:
            return await self._completed(resource, storage, manifest, "")
        if state is not None:
            return await self._failed(resource, run, _failure(state))
        if run.attempts >= self._settings.attempts:
            return await self._failed(resource, run, JobResult(False, "BackupFailed", "Its job is gone", True))
        database = await backed_up_database(self.world, resource, spec)
        return await self._attempt(resource, spec, run, database, storage)

    async def _manifest(self, run: Run, storage: Storage) -> Manifest | None:
        """The manifest that the run has written, if it has. Raises Retryable or Blocked."""
        key = run.key_in(storage.store.url)
        if key is None:
            return None
        try:
            return await manifest_of_run(storage.store, key, run.id, self.world.store.fingerprint_key)
        except StorageError as error:
            raise failure_of(error) from None

    async def _running(self, resource: Resource, run: Run, message: str) -> Resource:
        return await self.world.write(
            resource, Report(RunPhase.RUNNING, Level.PROGRESSING, "Running", message, run.fields())
        )

    # -- after the run --------------------------------------------------------------------------------

    async def _completed(self, resource: Resource, storage: Storage, manifest: Manifest, message: str) -> Outcome:
        """Have the store remember it, then say so. Raises Retryable or Blocked."""
        at = index_key(self.world.store.installation, resource.key, manifest.origin.spec_hash)
        content = json.dumps({"key": manifest.key, "runId": manifest.run_id}).encode()
        try:
            with _unless_there():
                await storage.store.put_if_absent(at, content)
        except StorageError as error:
            raise failure_of(error) from None
        fields = completed_fields(manifest, storage.store.url)
        message = message or f"{fields['path']}, {fields['size']} in {fields['duration']}"
        if recorded_run(resource.status) is not None:
            # First, since nobody looks at a run again once its status says that it is done.
            await self._end_login(resource, manifest.run_id)
        await self._report(resource, Report(RunPhase.COMPLETED, Level.READY, "Completed", message, fields))
        await self._next_in_line(resource)
        return Done()

    async def _failed(self, resource: Resource, run: Run, failure: JobResult) -> Outcome:
        """End what is left of the attempt; try again after a pause, or give up."""
        if not await self._end(resource, run):
            return Again(1.0)
        if not failure.may_retry or run.attempts >= self._settings.attempts:
            return await self._ended(resource, run, failure.reason, failure.message)
        if not run.attempts:
            # Whoever was to start it was killed before it began: that was no attempt.
            return Again(0)
        pause = self._settings.pauses_seconds[run.attempts - 1]
        self._not_before[resource.key] = self.world.now() + timedelta(seconds=pause)
        message = f"{failure.message}; attempt {run.attempts} of {self._settings.attempts}, trying again"
        report = Report(RunPhase.PENDING, Level.PROGRESSING, failure.reason, message, run.fields())
        await self.world.write(resource, report)
        await self.world.store.record_event(resource, EventType.WARNING, failure.reason, message)
        await self._next_in_line(resource)
        return Again(pause)

    async def _cancel(self, resource: Resource, run: Run | None) -> Outcome:
        if run is None:
            message = "spec.cancel is set: nothing was started"
            await self._report(resource, Report(RunPhase.FAILED, Level.STALLED, "Cancelled", message))
            return Done()
        if not await self._end(resource, run):
            return Again(1.0)
        return await self._ended(resource, run, "Cancelled", "Ended by spec.cancel")

    async def _ended(self, resource: Resource, run: Run, reason: str, message: str) -> Outcome:
        """Say that there will be no backup of this run, and how to have another one."""
        message = f"{message}; to run it again, annotate the Backup with {RUN_AGAIN}={run.id}"
        fields = {**run.fields(), "completedAt": instant_text(self.world.now())}
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

    async def _end(self, resource: Resource, run: Run) -> bool:
        """End the run's job, then its login. False while the job may still be running."""
        if not await self.jobs.delete(run.job):
            return False
        await self._end_login(resource, run.id)
        return True

    async def _end_login(self, resource: Resource, run_id: str) -> None:
        """Drop the run's login; where its server is away, the DBCluster's check does that once it has expired."""
        try:
            cluster = self._clusters.get(resource.key, "")
            _, server = await connected_server(self.world, cluster, resource.key.namespace, was_admitted=True)
            await end_run(server, resource.key, run_id)
        except (Waiting, Retryable, Blocked) as error:
            logger.warning("%s: the login of run %s is left for later: %s", resource.key, run_id, error)

    async def _wake_behind(self, resource: Resource, cluster: str) -> None:
        """Those whose place has changed by this one's."""
        for other in await self._line.waiting(cluster):
            if (other.created, other.key) > (resource.created, resource.key):
                self.world.wake(other.key)

    async def _next_in_line(self, resource: Resource) -> None:
        for other in await self._line.waiting(self._clusters.get(resource.key, "")):
            self.world.wake(other.key)

    # -- the frame ------------------------------------------------------------------------------------

    @property
    def jobs(self) -> Jobs:
        """Where its jobs run."""
        assert self._jobs is not None, "nothing is run in a plan"
        return self._jobs

    async def _report(self, resource: Resource, report: Report) -> None:
        """A failure that passes leaves the run where it is; one that a person must act on is the phase Failed."""
        if report.level is Level.PROGRESSING:
            report = replace(report, phase=RunPhase.PENDING)
        await super()._report(resource, report)

    def phase(self, resource: Resource, wanted: str) -> str:
        """What the kind's status knows."""
        return wanted if wanted in tuple(RunPhase) else RunPhase.PENDING

    def made_nothing(self, resource: Resource) -> bool:
        """The run is on record before anything is made."""
        return recorded_run(resource.status) is None

    async def delete(self, resource: Resource) -> None:
        """End a run that is under way; the object of one that is done stays. Raises Retryable."""
        run = recorded_run(resource.status)
        if run is None or self._jobs is None:
            return
        if not self.world.executor.may_write:
            raise Blocked("ReadOnlyMode", "The operator is in read-only mode and did not: end the Job of this backup")
        if not await self.jobs.delete(run.job):
            raise Retryable("Retrying", "Its job is being ended; trying again")
        if not run.is_over:
            await self._end_login(resource, run.id)
        await self._next_in_line(resource)
        self._not_before.pop(resource.key, None)
        self._clusters.pop(resource.key, None)

    async def give_up(self, resource: Resource) -> str:
        """Let go of it."""
        return f"the job {resource.status.get('jobName')}, should it still run"


def _progress(state: JobState) -> str:
    """How far a job is that has not ended."""
    if state.phase is not JobPhase.PENDING:
        return state.progress or "Backing up"
    return "Its Job has not started yet" + (f": {state.progress}" if state.progress else "")


def _failure(state: JobState) -> JobResult:
    """Why a job that has ended left no backup."""
    if state.was_late:
        return JobResult(False, "DeadlineExceeded", "Took longer than spec.activeDeadline", False)
    result = None if state.result is None else JobResult.parse(state.result)
    if result is None or result.succeeded:
        why = state.why or "left no result"
        return JobResult(False, "BackupFailed", f"Its job {why}", True)
    return result


@contextlib.contextmanager
def _unless_there() -> Iterator[None]:
    """An earlier look at the same run has written it already."""
    try:
        yield
    except StorageError as error:
        if error.fault is not Fault.OBJECT_EXISTS:
            raise
