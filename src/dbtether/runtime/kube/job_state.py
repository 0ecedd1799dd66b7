"""How far a job is, read from its Job and its Pods. Pure: asking for the log and for Events is left to others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.resource import Resource
from dbtether.runtime.jobs import MAX_PROGRESS_CHARACTERS, JobPhase, JobState
from dbtether.runtime.kube.job_objects import CONTAINER

JOB_NAME = "batch.kubernetes.io/job-name"
_JOB_UID = "batch.kubernetes.io/controller-uid"

_OVER = ("Succeeded", "Failed")
_IN_ORDER = ("", "ContainerCreating", "PodInitializing")
"""Why a container waits that is on its way."""
_SIGNALS = 128


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How long is too long."""

    on_its_way_seconds: float = 10.0
    """A job whose program does not run after so long is asked after among the Events."""
    start_seconds: float = 1800.0
    """A job whose program does not run after so long is given up: its image, its node or its quota is missing."""
    lost_seconds: float = 60.0
    """A Pod that is still there so long after its grace is over is on a node that does not answer.

    A kubelet kills what does not end by itself. Whether the program runs on where nobody can look is unknown: who
    starts another one must first take away what this one works with.
    """


def state_of(job: Resource | None, pods: Sequence[Resource], now: datetime, limits: JobLimits) -> JobState | None:
    """How far the job is; None when there is neither a Job nor a Pod of it that may still run."""
    if job is None or job.deleted is not None:
        if any(may_run(pod, now, limits) for pod in pods):
            return JobState(JobPhase.RUNNING, "Its Job was deleted, and its Pod is being ended")
        return None if job is None else JobState(JobPhase.ENDED, why="was deleted")
    pod = pod_of(job, pods)
    if pod is not None and may_run(pod, now, limits):
        return _alive(job, pod, now, limits)
    if (ending := _failure(job)).get("reason") == "DeadlineExceeded":
        return JobState(JobPhase.ENDED, why="was ended at its deadline", was_late=True)
    if pod is not None:
        result = _terminated(pod).get("message")
        return JobState(JobPhase.ENDED, result=result or None, why="" if result else _why(pod))
    if ending or _condition(job, "Complete"):
        return JobState(JobPhase.ENDED, why="has ended, and its Pod is gone")
    return _not_started(job, "", now, limits)


def pod_of(job: Resource, pods: Sequence[Resource]) -> Resource | None:
    """The Job's newest Pod; those of an earlier Job of its name are not its own."""
    own = [pod for pod in pods if pod.labels.get(_JOB_UID) == job.uid]
    return max(own, key=lambda pod: (pod.created, pod.key.name), default=None)


def may_run(pod: Resource, now: datetime, limits: JobLimits) -> bool:
    """Whether the Pod's program may still be running, as far as anybody can tell."""
    if pod.status.get("phase") in _OVER or _terminated(pod):
        return False
    # Kubernetes puts the end of the grace there, not its beginning.
    return pod.deleted is None or now <= pod.deleted + timedelta(seconds=limits.lost_seconds)


def _alive(job: Resource, pod: Resource, now: datetime, limits: JobLimits) -> JobState:
    if pod.deleted is not None:
        return JobState(JobPhase.RUNNING, "Its Pod is being ended")
    if pod.status.get("phase") != "Pending":
        return JobState(JobPhase.RUNNING)
    return _not_started(job, _waits_for(pod), now, limits)


def _not_started(job: Resource, waits_for: str, now: datetime, limits: JobLimits) -> JobState:
    if now <= job.created + timedelta(seconds=limits.start_seconds):
        return JobState(JobPhase.PENDING, waits_for)
    why = f"has not started within {limits.start_seconds / 60:.0f} minutes"
    return JobState(JobPhase.ENDED, why=f"{why}: {waits_for}" if waits_for else why)


def _waits_for(pod: Resource) -> str:
    waiting = _container(pod).get("waiting") or {}
    if waiting.get("reason", "") not in _IN_ORDER:
        return sentence(waiting)
    scheduled = _condition(pod, "PodScheduled", "False")
    return sentence(scheduled) if scheduled else ""


def _why(pod: Resource) -> str:
    """How the Pod ended without a result, as the rest of a sentence."""
    ended, status = _terminated(pod), pod.status
    if status.get("reason"):
        return f"was ended by its node ({sentence(status)})"
    if ended.get("reason") == "OOMKilled":
        return "needed more memory than its limit allows (OOMKilled): raise the chart's value jobs.resources"
    if ended:
        code = int(ended.get("exitCode", 0))
        return f"was killed by signal {code - _SIGNALS}" if code > _SIGNALS else f"ended with code {code}"
    if status.get("phase") in _OVER:
        return "has ended, and its Pod does not tell how"
    return f"was on a node that does not answer any more ({pod.spec.get('nodeName') or 'of no name'})"


def sentence(told: Mapping[str, Any]) -> str:
    """`Reason: message`, short, as Kubernetes told it."""
    words = [" ".join(str(told.get(name) or "").split()) for name in ("reason", "message")]
    return ": ".join(word for word in words if word)[:MAX_PROGRESS_CHARACTERS]


def _failure(job: Resource) -> Mapping[str, Any]:
    # `Failed` comes once its Pods have ended; what is going to be in it is there before ("Terminal Job conditions").
    return _condition(job, "Failed") or _condition(job, "FailureTarget")


def _condition(found: Resource, type_: str, status: str = "True") -> Mapping[str, Any]:
    conditions = found.status.get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_ and one.get("status") == status), {})


def _container(pod: Resource) -> Mapping[str, Any]:
    """The state of the program's container; those that others put beside it do not count."""
    found = pod.status.get("containerStatuses") or ()
    state: Mapping[str, Any] = next((one.get("state") or {} for one in found if one.get("name") == CONTAINER), {})
    return state


def _terminated(pod: Resource) -> Mapping[str, Any]:
    return _container(pod).get("terminated") or {}
