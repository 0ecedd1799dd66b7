"""How far a job is, as its Job and its Pods tell: one row for each thing that Kubernetes may show."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dbtether.api.resource import Key, Resource
from dbtether.errors import Blocked
from dbtether.runtime.jobs import JobPhase, JobSpec, JobState
from dbtether.runtime.kube.job_objects import JobTemplate, job_object, subject_of
from dbtether.runtime.kube.job_state import JobLimits, state_of

CREATED = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = CREATED + timedelta(minutes=5)
LIMITS = JobLimits(start_seconds=1800, lost_seconds=60)
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
LATE = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}
PENDING, RUNNING, ENDED = JobPhase.PENDING, JobPhase.RUNNING, JobPhase.ENDED


def job(*conditions: Mapping[str, Any], created: datetime = CREATED, deleted: datetime | None = None) -> Resource:
    status = {"conditions": list(conditions)}
    return Resource(Key("Job", "own", "one"), "job-uid", 1, "1", created, {}, status=status, deleted=deleted)


def pod(
    phase: str, state: Mapping[str, Any] | None = None, uid: str = "job-uid", ended: float | None = None, **status: Any
) -> Resource:
    """`ended` is how many seconds before now its grace was over."""
    known = {"phase": phase, **status}
    if state is not None:
        known["containerStatuses"] = [{"name": "proxy", "state": {"running": {}}}, {"name": "job", "state": state}]
    labels = {"batch.kubernetes.io/job-name": "one", "batch.kubernetes.io/controller-uid": uid}
    deleted = None if ended is None else NOW - timedelta(seconds=ended)
    return Resource(
        Key("Pod", "own", f"one-{uid}"), uid, 1, "1", CREATED, {"nodeName": "n1"}, known, labels, deleted=deleted
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


ROWS: dict[str, tuple[Resource | None, list[Resource], JobState | None]] = {
    "nothing is there": (None, [], None),
    "a Pod that has ended does not count once its Job is gone": (None, [pod("Failed")], None),
    "a Pod whose Job is gone": (
        None,
        [pod("Running")],
        JobState(RUNNING, "Its Job was deleted, and its Pod is being ended"),
    ),
    "a Job that is being deleted": (job(deleted=NOW), [], JobState(ENDED, why="was deleted")),
    "no Pod yet": (job(), [], JobState(PENDING)),
    "no Pod for too long": (
        job(created=NOW - timedelta(minutes=31)),
        [],
        JobState(ENDED, why="has not started within 30 minutes"),
    ),
    "another Job's Pod is not its own": (job(), [pod("Running", uid="earlier")], JobState(PENDING)),
    "a Pod on its way": (job(), [pod("Pending", waiting("ContainerCreating"))], JobState(PENDING)),
    "a Pod for which there is no node": (
        job(),
        [
            pod(
                "Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}],
            )
        ],
        JobState(PENDING, "Unschedulable: 0/3"),
    ),
    "an image that cannot be had": (
        job(),
        [pod("Pending", waiting("ErrImagePull", "not\n  found"))],
        JobState(PENDING, "ErrImagePull: not found"),
    ),
    "a program that runs": (job(), [pod("Running", {"running": {}})], JobState(RUNNING)),
    "a program that runs for long": (
        job(created=NOW - timedelta(days=2)),
        [pod("Running", {"running": {}})],
        JobState(RUNNING),
    ),
    "a Pod that is being ended": (job(), [pod("Running", ended=-20)], JobState(RUNNING, "Its Pod is being ended")),
    "a Pod that should have ended a while ago": (
        job(),
        [pod("Running", ended=59)],
        JobState(RUNNING, "Its Pod is being ended"),
    ),
    "a Pod on a node that is lost": (
        job(),
        [pod("Running", ended=61)],
        JobState(ENDED, why="was on a node that does not answer any more (n1)"),
    ),
    "late, and its Pod is not gone yet": (
        job(LATE),
        [pod("Running", ended=-20)],
        JobState(RUNNING, "Its Pod is being ended"),
    ),
    "late": (
        job(LATE),
        [pod("Failed", terminated(143))],
        JobState(ENDED, why="was ended at its deadline", was_late=True),
    ),
    "a result": (job(), [pod("Succeeded", terminated(0, "{}"))], JobState(ENDED, result="{}")),
    "a result beside a proxy that runs on": (
        job(),
        [pod("Running", terminated(0, "{}"))],
        JobState(ENDED, result="{}"),
    ),
    "a code": (job(FAILED), [pod("Failed", terminated(3))], JobState(ENDED, why="ended with code 3")),
    "a signal": (job(), [pod("Failed", terminated(137))], JobState(ENDED, why="was killed by signal 9")),
    "memory": (
        job(),
        [pod("Failed", terminated(137, reason="OOMKilled"))],
        JobState(
            ENDED,
            why="needed more memory than its limit allows (OOMKilled): raise the chart's value jobs.resources",
        ),
    ),
    "an eviction": (
        job(),
        [pod("Failed", terminated(137), reason="Evicted", message="low on memory")],
        JobState(ENDED, why="was ended by its node (Evicted: low on memory)"),
    ),
    "a Pod that failed before it began": (
        job(FAILED),
        [pod("Failed")],
        JobState(ENDED, why="has ended, and its Pod does not tell how"),
    ),
    "a Pod that somebody deleted": (job(FAILED), [], JobState(ENDED, why="has ended, and its Pod is gone")),
}


@pytest.mark.parametrize("title", ROWS)
def test_what_kubernetes_shows_is_one_state(title: str) -> None:
    found, pods, state = ROWS[title]
    assert state_of(found, pods, NOW, LIMITS) == state


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "Expecting property name"),
        ("[]", "must be a PodTemplateSpec"),
        ("{}", "must have one container"),
        ('{"spec": {"containers": [{"image": "a"}, {"image": "b"}]}}', "must have one container"),
        ('{"spec": {"containers": [{"name": "job"}]}}', "say which image"),
    ],
)
def test_a_template_that_is_none_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        JobTemplate.parse(text)


def test_what_a_job_needs_goes_before_what_the_template_says() -> None:
    container = {"image": "a", "args": ["x"], "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    labels = {"app.kubernetes.io/name": "mine", "team": "a"}
    text = json.dumps({"metadata": {"labels": labels}, "spec": {"containers": [container], "restartPolicy": "Always"}})
    name = "n" * 200
    spec = JobSpec("one", Key("Backup", "team", name), ("backup",), {}, {"dbtether.io/backup-name": "n"}, ttl_seconds=0)
    made = job_object(spec, JobTemplate.parse(text))
    template = made["spec"]["template"]
    assert template["metadata"]["labels"] == {
        "team": "a",
        "app.kubernetes.io/name": "dbtether-job",
        "app.kubernetes.io/component": "job",
        "app.kubernetes.io/managed-by": "dbtether",
        "dbtether.io/backup-name": "n",
    }
    assert (template["spec"]["restartPolicy"], template["spec"]["automountServiceAccountToken"]) == ("Never", False)
    assert [mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]] == [
        "/tmp",
        "/var/run/dbtether/job",
    ]
    assert (made["spec"]["ttlSecondsAfterFinished"], made["spec"]["backoffLimit"]) == (60, 0)
    assert "activeDeadlineSeconds" not in made["spec"]
    for annotations in (made["metadata"]["annotations"], template["metadata"]["annotations"]):
        assert subject_of(annotations) == spec.subject


@pytest.mark.parametrize(
    ("folder", "is_mounted"),
    [("/backups", True), ("/backups/team", True), ("/backups2", False), ("/tmp/x", False), ("/tmp/kept/x", True)],
)
def test_a_folder_must_be_on_a_volume_of_the_pods_that_outlives_them(folder: str, is_mounted: bool) -> None:
    mounts = [
        {"name": "kept", "mountPath": "/backups"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "kept", "mountPath": "/tmp/kept"},
    ]
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "kept", "persistentVolumeClaim": {"claimName": "a"}}]
    spec = {"containers": [{"image": "a", "volumeMounts": mounts}], "volumes": volumes}
    made = JobTemplate.parse(json.dumps({"spec": spec}))
    if is_mounted:
        made.check_folder(folder)
    else:
        with pytest.raises(Blocked, match="localStorage"):
            made.check_folder(folder)
