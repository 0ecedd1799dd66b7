"""A job as objects of Kubernetes: a Job, and the Secret with what it is given. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dbtether.api.resource import Key
from dbtether.errors import Blocked
from dbtether.runtime.jobs import JobSpec
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US

COMPONENT = "app.kubernetes.io/component"
COMPONENT_JOB = "job"
SELECTOR = f"{MANAGED_BY}={MANAGED_BY_US},{COMPONENT}={COMPONENT_JOB}"
"""Which Jobs, Pods and Secrets are those of jobs."""
SUBJECT = "dbtether.io/subject"
"""The annotation that leads back to whom a job works for: a label's value has too little room for a name."""

CONTAINER = "job"
FILES = "/var/run/dbtether/job"
RESULT = "/dev/termination-log"
"""Kubernetes: "Determine the Reason for Pod Failure", "Customizing the termination message"."""

_VOLUME = "dbtether-job-files"
# A Job that were gone the moment it ends would tell nobody how it ended.
_LEAST_TTL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """What the Pods of all jobs have in common: a PodTemplateSpec with one container, which has an image."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> "JobTemplate":
        """The template in a JSON text. Raises ValueError with what is wrong with it."""
        found = json.loads(text)
        metadata, spec = (_mapping(found, name) for name in ("metadata", "spec"))
        containers = spec.get("containers")
        if not isinstance(containers, list) or len(containers) != 1 or not isinstance(containers[0], dict):
            raise ValueError("spec.containers must have one container")
        if not containers[0].get("image"):
            raise ValueError("spec.containers[0].image: say which image the Jobs run")
        return cls(metadata, spec)

    def check_folder(self, folder: str) -> None:
        """Raises Blocked unless the Pods mount the folder, or one that it is in, from a volume that outlives them."""
        passing = {volume["name"] for volume in self.spec.get("volumes", ()) if "emptyDir" in volume}
        mounts = {mount["mountPath"]: mount["name"] for mount in self.spec["containers"][0].get("volumeMounts", ())}
        around = [path for path in mounts if PurePosixPath(folder).is_relative_to(path)]
        # The innermost one is what is seen there.
        if not around or mounts[max(around, key=len)] in passing:
            raise Blocked(
                "LocalStorageNotAllowed",
                f"The Jobs' Pods do not mount {folder}: name its volume in the chart's value localStorage.volume, "
                "or use a bucket",
            )


def secret_object(spec: JobSpec) -> dict[str, Any]:
    """The Secret with a job's files; they never change."""
    return {
        "metadata": {"name": spec.name, "labels": _labels(spec), "annotations": _annotations(spec)},
        "type": "Opaque",
        "immutable": True,
        "data": dict(spec.files),
    }


def job_object(spec: JobSpec, template: JobTemplate) -> dict[str, Any]:
    """The Job. Whether a failed attempt is followed by another one is for whoever asked for it to say."""
    labels, annotations = _labels(spec), _annotations(spec)
    body: dict[str, Any] = {
        "backoffLimit": 0,
        # Never a second Pod beside one that has not ended yet.
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": max(_LEAST_TTL_SECONDS, int(spec.ttl_seconds)),
        "template": {
            "metadata": {
                "labels": {**template.metadata.get("labels", {}), **labels},
                "annotations": {**template.metadata.get("annotations", {}), **annotations},
            },
            "spec": _pod_spec(spec, template.spec),
        },
    }
    if spec.deadline_seconds is not None:
        body["activeDeadlineSeconds"] = max(1, int(spec.deadline_seconds))
    return {"metadata": {"name": spec.name, "labels": labels, "annotations": annotations}, "spec": body}


def subject_of(annotations: Mapping[str, str]) -> Key | None:
    """Whom a Job or a Pod works for, as its annotations tell."""
    parts = annotations.get(SUBJECT, "").split("/")
    return Key(*parts) if len(parts) == 3 else None


def _pod_spec(spec: JobSpec, template: Mapping[str, Any]) -> dict[str, Any]:
    container = template["containers"][0]
    return {
        **template,
        "restartPolicy": "Never",
        # The program asks nothing of the API server. A cloud's identity comes by a token of another audience.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [
            {
                **container,
                "name": CONTAINER,
                "args": ["job", *spec.arguments, FILES, "--result", RESULT],
                "terminationMessagePath": RESULT,
                "terminationMessagePolicy": "File",
                "volumeMounts": [
                    *container.get("volumeMounts", ()),
                    {"name": _VOLUME, "mountPath": FILES, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            *template.get("volumes", ()),
            # For its owner alone; the kubelet lets the Pod's fsGroup read them too.
            {"name": _VOLUME, "secret": {"secretName": spec.name, "defaultMode": 0o400}},
        ],
    }


def _labels(spec: JobSpec) -> dict[str, str]:
    return {
        **spec.labels,
        # Not the operator's own name: Services and policies of the operator are not meant for jobs.
        "app.kubernetes.io/name": "dbtether-job",
        COMPONENT: COMPONENT_JOB,
        MANAGED_BY: MANAGED_BY_US,
    }


def _annotations(spec: JobSpec) -> dict[str, str]:
    subject = spec.subject
    return {SUBJECT: f"{subject.kind}/{subject.namespace}/{subject.name}"}


def _mapping(found: Any, name: str) -> Mapping[str, Any]:
    value = found.get(name, {}) if isinstance(found, dict) else None
    if not isinstance(value, dict):
        raise ValueError("must be a PodTemplateSpec: an object with `metadata` and `spec`")
    return value
