"""A Backup's run as its status tells, and the names that follow from it. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dbtether.api.backup import BackupSpec, RunPhase
from dbtether.api.kinds import BACKUP_NAME_LABEL, BACKUP_NAMESPACE_LABEL, RUN_AGAIN, SCHEDULE_LABEL
from dbtether.api.resource import Key, Resource
from dbtether.api.templates import render, time_fields
from dbtether.api.times import instant_text, parse_instant
from dbtether.backup.manifest import Manifest, Origin
from dbtether.backup.words import duration_text, size_text
from dbtether.controllers.backuprun import DatabaseOnServer
from dbtether.errors import InvalidSpec

NO_RUN: Mapping[str, None] = dict.fromkeys(
    (
        "specHash",
        "runId",
        "jobName",
        "attempts",
        "path",
        "size",
        "duration",
        "startedAt",
        "completedAt",
        "sha256",
    )
)
"""The status fields of a Backup that has not run."""
_JOB_NAME_CHARACTERS = 63
_RANDOM_CHARACTERS = 6


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a Backup."""

    id: str
    spec_hash: str
    job: str
    path: str
    """The URL that its object is to get; it may get another name where that is taken."""
    started: datetime
    attempts: int = 0
    is_over: bool = False

    def tried_again(self) -> "Run":
        """The run after one attempt more."""
        return replace(self, attempts=self.attempts + 1)

    def fields(self) -> dict[str, Any]:
        """What the status tells of it."""
        return {
            **NO_RUN,
            "specHash": self.spec_hash,
            "runId": self.id,
            "jobName": self.job,
            "attempts": self.attempts or None,
            "path": self.path,
            "startedAt": instant_text(self.started),
        }

    def key_in(self, url: str) -> str | None:
        """The object's key in the store of that URL; None when it is another store's."""
        return self.path.removeprefix(f"{url}/") if self.path.startswith(f"{url}/") else None


def recorded_run(status: Mapping[str, Any]) -> Run | None:
    """The run of a status; None when there is none, or something else wrote it."""
    texts = [status.get(name) for name in ("runId", "specHash", "jobName", "path", "startedAt")]
    if not all(isinstance(text, str) and text for text in texts):
        return None
    run_id, spec_hash, job, path, started = (str(text) for text in texts)
    try:
        instant = parse_instant(started)
    except InvalidSpec:
        return None
    attempts = status.get("attempts")
    return Run(
        run_id, spec_hash, job, path, instant, attempts if isinstance(attempts, int) else 0, "completedAt" in status
    )


def is_asked_for_again(backup: Resource, run: Run) -> bool:
    """Whether a person insists on a run that failed: its id in the annotation, so that it is about this one alone."""
    return backup.status.get("phase") == RunPhase.FAILED and backup.annotations.get(RUN_AGAIN) == run.id


def spec_hash(key: Key, spec: BackupSpec) -> str:
    """What tells one run from another: how long a Job lives, and a cancel, make no other backup of it."""
    parts = [
        spec.database_ref.namespace or key.namespace,
        spec.database_ref.name,
        spec.storage_ref.name,
        spec.filename_template,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def job_name(backup: str, run_id: str) -> str:
    """`backup-<name>-<runId>`, the name cut where there is no room for it."""
    room = _JOB_NAME_CHARACTERS - len(f"backup--{run_id}")
    return f"backup-{backup.replace('.', '-')[:room].strip('-')}-{run_id}"


def job_labels(backup: Resource) -> dict[str, str]:
    """The labels that lead from a Job to its Backup; a value has 63 characters at most."""
    labels = {BACKUP_NAME_LABEL: backup.key.name[:63].rstrip("-."), BACKUP_NAMESPACE_LABEL: backup.key.namespace}
    schedule = backup.labels.get(SCHEDULE_LABEL)
    return labels if schedule is None else {**labels, SCHEDULE_LABEL: schedule}


def object_tags(backup: Resource, database: DatabaseOnServer) -> dict[str, str]:
    """What a store that knows tags is told of the object."""
    return {
        BACKUP_NAME_LABEL: backup.key.name,
        BACKUP_NAMESPACE_LABEL: backup.key.namespace,
        "dbtether.io/database": database.name,
        "dbtether.io/cluster": database.cluster,
        "dbtether.io/created-by": "dbtether",
    }


def object_name(
    path_template: str, filename_template: str, database: DatabaseOnServer, run_id: str, started: datetime
) -> str:
    """The object's key in the store. Raises InvalidSpec when a value is no safe part of a key."""
    values = {
        "ClusterName": database.cluster,
        "DatabaseName": database.name,
        "Namespace": database.key.namespace,
        "RunID": run_id,
        "Random": hashlib.sha256(f"random {run_id}".encode()).hexdigest()[:_RANDOM_CHARACTERS],
        **time_fields(started),
    }
    return f"{render(path_template, values)}/{render(filename_template, values)}"


def origin_of(backup: Resource, spec_hash_: str) -> Origin:
    """The Backup as a manifest tells of it."""
    return Origin(
        namespace=backup.key.namespace,
        name=backup.key.name,
        uid=backup.uid,
        spec_hash=spec_hash_,
        schedule=backup.labels.get(SCHEDULE_LABEL),
    )


def index_key(installation: str, key: Key, spec_hash_: str) -> str:
    """Where the store remembers that this spec has run: no listing of backups shows it."""
    return f".dbtether/runs/{installation}/{key.namespace}/{key.name}/{spec_hash_}.json"


def completed_fields(manifest: Manifest, url: str) -> dict[str, Any]:
    """What the status tells of a complete backup."""
    return {
        "specHash": manifest.origin.spec_hash,
        "runId": manifest.run_id,
        "path": f"{url}/{manifest.key}",
        "size": size_text(manifest.stored.bytes),
        "duration": duration_text((manifest.finished_at - manifest.started_at).total_seconds()),
        "startedAt": instant_text(manifest.started_at),
        "completedAt": instant_text(manifest.finished_at),
        "sha256": manifest.stored.sha256,
    }
