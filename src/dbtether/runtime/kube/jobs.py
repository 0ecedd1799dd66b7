"""Jobs as Kubernetes Jobs in the operator's own namespace, with what they are given in a Secret each.

Everything is in the API server: another replica, or this one after a restart, goes on where it was. The Secret is made
first, belongs to its Job as soon as that is there, and goes when the program has ended.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Never
from weakref import WeakValueDictionary

import msgspec

from dbtether.api.resource import Key, Resource
from dbtether.errors import Blocked, Retryable, StateError
from dbtether.runtime.jobs import JobPhase, JobSpec, JobState, printable_line
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import ApiError, BadRequest, Forbidden, Invalid, NotFound, NotLeader
from dbtether.runtime.kube.informer import Informer, InformerSettings
from dbtether.runtime.kube.job_objects import CONTAINER, SELECTOR, SUBJECT, JobTemplate, job_object, subject_of
from dbtether.runtime.kube.job_secrets import JobSecrets, refused
from dbtether.runtime.kube.job_state import JOB_NAME, JobLimits, may_run, pod_of, sentence, state_of
from dbtether.runtime.kube.objects import Metadata, Object, ObjectList, to_resource, version_number
from dbtether.runtime.kube.requests import EVENTS, JOBS, PODS, Collection, create, delete, get, last_log_line
from dbtether.runtime.kube.supervisor import Supervisor
from dbtether.runtime.kube.view import View
from dbtether.runtime.store import Change

logger = logging.getLogger(__name__)

_LINE_BYTES = 4096
# The API server asks the Pod's node, which may be away.
_LOG_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class KubeJobsSettings:
    """What jobs on Kubernetes must be told."""

    namespace: str
    template: JobTemplate | None
    """What their Pods have in common; None where nobody said, and nothing can be started."""
    poll_seconds: float = 10.0
    limits: JobLimits = field(default_factory=JobLimits)
    informer: InformerSettings = field(default_factory=InformerSettings)
    sync_seconds: float = 60.0
    retry_seconds: float = 5.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_jobs(
    client: Client, settings: KubeJobsSettings, *, may_write: Callable[[], bool]
) -> AsyncIterator["KubeJobs"]:
    """The jobs of a namespace, once they are known. Raises StateError when the server cannot be read."""
    async with Supervisor() as supervisor:
        jobs = KubeJobs(client, settings, may_write)
        await jobs.start(supervisor)
        yield jobs


class KubeJobs:
    """The port for jobs; made by `open_jobs`."""

    def __init__(
        self,
        client: Client,
        settings: KubeJobsSettings,
        may_write: Callable[[], bool],
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._client = client
        self._settings = settings
        self._namespace = settings.namespace
        self._may_write = may_write
        self._now = now
        self._secrets = JobSecrets(client, settings.namespace)
        self._jobs = View(JOBS.kind, self._heard)
        self._pods = View(PODS.kind, self._heard)
        self._informers = tuple(
            Informer(
                client,
                Collection(resource, settings.namespace, label_selector=SELECTOR),
                view,
                settings.informer,
                trim=_trimmed,
            )
            for resource, view in ((JOBS, self._jobs), (PODS, self._pods))
        )
        self._listeners: list[Callable[[Key], None]] = []
        self._told: dict[str, JobState] = {}
        """What listeners know of each job."""
        self._lines: dict[str, str] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._untidy: set[str] = set()
        """The jobs whose Secrets may not belong to their Job yet, or may be of no use any more."""
        self._news = asyncio.Event()

    async def start(self, supervisor: Supervisor) -> None:
        """Start the watches and wait for their first lists. Raises StateError when they do not come."""
        for informer in self._informers:
            supervisor.start(informer.run, name=f"watch of {informer.collection}")
        try:
            async with asyncio.timeout(self._settings.sync_seconds):
                for informer in self._informers:
                    await informer.synced()
        except TimeoutError:
            why = "; ".join(self.problems) or "no answer"
            raise StateError(f"the API server did not give the Jobs of {self._namespace}: {why}") from None
        # Some may have lost their Job while nobody looked, or never had one.
        self._tidy_up(await self._secrets.names())
        supervisor.start(self._tidy, name="keeper of the Secrets of jobs")

    @property
    def problems(self) -> tuple[str, ...]:
        """What the watches complain of now; empty when all is well."""
        return tuple(f"{informer.collection}: {informer.problem}" for informer in self._informers if informer.problem)

    # -- the port -------------------------------------------------------------------------------------

    @property
    def poll_seconds(self) -> float:
        """How often the log is worth a look."""
        return self._settings.poll_seconds

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with a job's subject when it has ended, is gone, or waits for something else."""
        self._listeners.append(listener)

    async def ensure(self, spec: JobSpec) -> None:
        """Create the job's Secret and the Job, unless there is one of that name. Raises Retryable or Blocked."""
        template = self._settings.template
        if template is None:
            raise Blocked(
                "JobsNotConfigured", "The operator was not told which Pods its Jobs get: start it with --job-template"
            )
        if spec.folder is not None:
            template.check_folder(spec.folder)
        async with self._lock(spec.name):
            self._check_may_write()
            job = await self._look(spec.name)
            if job is not None and job.deleted is not None:
                raise Retryable("Retrying", f"Job {self._namespace}/{spec.name} is still being deleted; trying again")
            if job is None:
                await self._secrets.make(spec)
                await self._make(spec, template)
        # It becomes the Job's, also where somebody was killed between the two.
        self._tidy_up({spec.name})

    async def state(self, name: str) -> JobState | None:
        """How far the job is, as the watches have told, and what its log says."""
        found = self._seen(name)
        job = self._jobs.get(self._key(name))
        if found is None or job is None or found.progress:
            return found
        pod = pod_of(job, self._pods_of(name))
        if found.phase is JobPhase.PENDING:
            return replace(found, progress=await self._hindrance(job, pod))
        return replace(found, progress=await self._last_line(name, pod))

    async def delete(self, name: str) -> bool:
        """End the Job, its Pod and its Secret. False while a Pod may still be running."""
        async with self._lock(name):
            self._check_may_write()
            # In the background: in the foreground, a node that is gone would keep the name for itself.
            with suppress(NotFound):
                await self._client.send_raw(delete(JOBS, self._namespace, name, propagation="Background"))
            is_there = await self._look(name) is not None
            await self._secrets.drop(name)
            return not is_there and not await self._may_run(name)

    # -- what is there --------------------------------------------------------------------------------

    def _seen(self, name: str) -> JobState | None:
        return state_of(self._jobs.get(self._key(name)), self._pods_of(name), self._now(), self._settings.limits)

    def _pods_of(self, name: str) -> list[Resource]:
        return [pod for pod in self._pods.all() if pod.labels.get(JOB_NAME) == name]

    async def _may_run(self, name: str) -> bool:
        """Whether a Pod of the job may still be running, as the server has it now."""
        collection = Collection(PODS, self._namespace, label_selector=f"{SELECTOR},{JOB_NAME}={name}")
        found = await self._client.send(collection.list_page(limit=None), ObjectList)
        pods = [to_resource(PODS.kind, pod) for pod in found.items or ()]
        return any(may_run(pod, self._now(), self._settings.limits) for pod in pods)

    async def _look(self, name: str) -> Resource | None:
        """The Job as the server has it now."""
        with self._jobs.writing(self._key(name)):
            try:
                found = await self._client.send(get(JOBS, self._namespace, name), Object)
            except NotFound:
                self._jobs.absent(self._key(name))
                return None
            job = _trimmed(to_resource(JOBS.kind, found))
            self._jobs.read(job)
            return job

    async def _last_line(self, name: str, pod: Resource | None) -> str:
        if pod is not None and pod.deleted is None:
            request = last_log_line(self._namespace, pod.key.name, CONTAINER, limit_bytes=_LINE_BYTES)
            try:
                answer = await self._client.send_raw(request, timeout_seconds=_LOG_SECONDS, reads_again=False)
                self._lines[name] = printable_line(answer.decode(errors="replace"))
            except ApiError as error:
                logger.debug("%s", error)
        return self._lines.get(name, "")

    async def _hindrance(self, job: Resource, pod: Resource | None) -> str:
        """What the Events say of a job that does not start: nothing else tells of a quota that is used up."""
        if (self._now() - job.created).total_seconds() < self._settings.limits.on_its_way_seconds:
            return ""
        name = job.key.name if pod is None else pod.key.name
        collection = Collection(EVENTS, self._namespace, field_selector=f"regarding.name={name},type=Warning")
        try:
            answer = await self._client.send(
                collection.list_page(limit=None), _Events, timeout_seconds=_LOG_SECONDS, reads_again=False
            )
        except ApiError as error:
            logger.debug("%s", error)
            return ""
        newest = max(
            answer.items or (), key=lambda event: version_number(event.metadata.resource_version), default=None
        )
        return "" if newest is None else sentence({"reason": newest.reason, "message": newest.note})

    # -- what is told ---------------------------------------------------------------------------------

    def _heard(self, change: Change) -> None:
        """A Job or a Pod has changed: tell if that says something else of the job."""
        known = change.new or change.old
        assert known is not None, "there is no other change"
        name = known.labels.get(JOB_NAME, "") if change.key.kind == PODS.kind else change.key.name
        before, now = self._told.get(name), self._seen(name)
        if now is None:
            self._told.pop(name, None)
            self._lines.pop(name, None)
        else:
            self._told[name] = now
        if now is None or now.phase is JobPhase.ENDED:
            self._tidy_up({name})
        subject = subject_of(known.annotations)
        # Who has made it a moment ago looks at it anyway.
        if subject is not None and before not in (None, now):
            for listener in self._listeners:
                listener(subject)

    # -- writes ---------------------------------------------------------------------------------------

    def _key(self, name: str) -> Key:
        return Key(JOBS.kind, self._namespace, name)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _check_may_write(self) -> None:
        if not self._may_write():
            raise NotLeader(f"the jobs of {self._namespace} are left as they are: another replica may lead now")

    async def _make(self, spec: JobSpec, template: JobTemplate) -> None:
        with self._jobs.writing(self._key(spec.name)):
            try:
                request = create(JOBS, self._namespace, job_object(spec, template))
                answer = await self._client.send(request, Object)
            except (Forbidden, Invalid, BadRequest) as error:
                await self._secrets.drop(spec.name)
                raise refused(f"Job {self._namespace}/{spec.name}", error) from None
            self._jobs.wrote(_trimmed(to_resource(JOBS.kind, answer)))

    # -- what becomes of the Secrets ------------------------------------------------------------------

    def _tidy_up(self, names: set[str]) -> None:
        self._untidy |= names
        self._news.set()

    async def _tidy(self) -> Never:
        """Give each Secret to its Job, and take away those that nobody needs any more."""
        while True:
            await self._news.wait()
            self._news.clear()
            for name in sorted(self._untidy) if self._may_write() else ():
                # First: what is heard of it from here on counts anew.
                self._untidy.discard(name)
                try:
                    await self._tidied(name)
                except StateError as error:
                    logger.warning("the Secret of job %s stays for now: %s", name, error)
                    self._untidy.add(name)
            if self._untidy:
                await asyncio.sleep(self._settings.retry_seconds)
                self._news.set()

    async def _tidied(self, name: str) -> None:
        """The Secret is its Job's; it is gone if that has ended, or is not there. Raises StateError."""
        async with self._lock(name):
            self._check_may_write()
            # Another attempt of that name may have begun meanwhile.
            job, state = await self._look(name), self._seen(name)
            if job is not None and state is not None and state.phase is not JobPhase.ENDED:
                await self._secrets.give_to(job)
            else:
                await self._secrets.drop(name)


class _Event(msgspec.Struct):
    metadata: Metadata
    reason: str = ""
    note: str = ""


class _Events(msgspec.Struct):
    items: list[_Event] | None = None


def _trimmed(found: Resource) -> Resource:
    """What must be known of a Job or a Pod."""
    annotations = {name: value for name, value in found.annotations.items() if name == SUBJECT}
    spec = {name: value for name, value in found.spec.items() if name == "nodeName"}
    return replace(found, spec=spec, annotations=annotations, finalizers=())
