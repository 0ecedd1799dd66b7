"""A Restore's run as its status tells, and the names that follow from it. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dbtether.api.kinds import RUN_AGAIN
from dbtether.api.resource import Resource
from dbtether.api.restore import RestoreSpec, RestoreStep
from dbtether.api.times import instant_text, parse_instant
from dbtether.backup.restore.model import LoadWay
from dbtether.backup.words import duration_text
from dbtether.errors import InvalidSpec

RESTORE_NAME_LABEL = "dbtether.io/restore-name"
RESTORE_NAMESPACE_LABEL = "dbtether.io/restore-namespace"
NO_RUN: Mapping[str, None] = dict.fromkeys(
    (
        "specHash",
        "runId",
        "jobName",
        "sourcePath",
        "attempts",
        "step",
        "way",
        "duration",
        "startedAt",
        "completedAt",
        "tables",
        "rows",
    )
)
"""The status fields of a Restore that has not run."""
_JOB_NAME_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a Restore."""

    id: str
    spec_hash: str
    source: str
    """The URL of the object that is read."""
    name: str
    """Of the Restore."""
    started: datetime
    step: RestoreStep = RestoreStep.CHECKING
    way: LoadWay | None = None
    """How it loads; known once the source has been judged."""
    attempts: int = 0
    """How many loads were begun."""
    tables: int | None = None
    """How many tables were loaded; known once that is committed."""
    rows: int | None = None
    is_over: bool = False

    @property
    def check_job(self) -> str:
        """The name of the job that reads the source."""
        return _job_name("restore-check", self.name, self.id)

    @property
    def load_job(self) -> str:
        """The name of the job that loads it."""
        return _job_name("restore", self.name, self.id)

    @property
    def job(self) -> str:
        """The name of the job of this step."""
        return self.check_job if self.step is RestoreStep.CHECKING else self.load_job

    def at(self, step: RestoreStep, way: LoadWay | None = None) -> "Run":
        """The run at another step; the way stays unless another is given."""
        return replace(self, step=step, way=way or self.way)

    def tried_again(self) -> "Run":
        """The run after one attempt more."""
        return replace(self, attempts=self.attempts + 1)

    def key_in(self, url: str) -> str | None:
        """The object's key in the store of that URL; None when it is another store's."""
        return self.source.removeprefix(f"{url}/") if self.source.startswith(f"{url}/") else None

    def fields(self) -> dict[str, Any]:
        """What the status tells of it."""
        return {
            **NO_RUN,
            "specHash": self.spec_hash,
            "runId": self.id,
            "jobName": self.job,
            "sourcePath": self.source,
            "attempts": self.attempts or None,
            "step": str(self.step),
            "way": None if self.way is None else str(self.way),
            "startedAt": instant_text(self.started),
            "tables": self.tables,
            "rows": self.rows,
        }

    def ended_fields(self, now: datetime) -> dict[str, Any]:
        """What the status tells of it from now on, when it has ended."""
        return {
            **self.fields(),
            "step": None,
            "completedAt": instant_text(now),
            "duration": duration_text(max(now - self.started, timedelta()).total_seconds()),
        }


def recorded_run(restore: Resource) -> Run | None:
    """The run of a status; None when there is none, or something else wrote it."""
    status = restore.status
    texts = [status.get(name) for name in ("runId", "specHash", "sourcePath", "startedAt")]
    if not all(isinstance(text, str) and text for text in texts):
        return None
    run_id, hash_, source, started = (str(text) for text in texts)
    step, way = status.get("step"), status.get("way")
    attempts, tables, rows = (_number(status.get(name)) for name in ("attempts", "tables", "rows"))
    try:
        return Run(
            run_id,
            hash_,
            source,
            restore.key.name,
            parse_instant(started),
            RestoreStep.CHECKING if step is None else RestoreStep(step),
            None if way is None else LoadWay(way),
            attempts or 0,
            tables,
            rows,
            "completedAt" in status,
        )
    except (InvalidSpec, ValueError):
        return None


def is_drill(restore: Resource) -> bool:
    """Whether it leaves its target as it is."""
    return restore.spec.get("verifyOnly") is True


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def spec_hash(restore: Resource, spec: RestoreSpec) -> str:
    """What tells one run from another: how long a Job lives, and a cancel, make no other restore of it."""
    source = spec.source.model_dump(mode="json", by_alias=True, exclude_none=True)
    for part in ("backupRef", "latestFrom"):
        if part in source:
            source[part].setdefault("namespace", restore.key.namespace)
    parts = [
        restore.key.namespace,
        restore.key.name,
        source,
        spec.target.database_ref.name,
        str(spec.on_conflict),
        spec.keep_replaced_for.seconds,
        restore.annotations.get(RUN_AGAIN, ""),
        *(["verifyOnly"] if spec.verify_only else []),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def job_labels(restore: Resource) -> dict[str, str]:
    """The labels that lead from a Job to its Restore; a value has 63 characters at most."""
    return {
        RESTORE_NAME_LABEL: restore.key.name[:63].rstrip("-."),
        RESTORE_NAMESPACE_LABEL: restore.key.namespace,
    }


def _job_name(prefix: str, restore: str, run_id: str) -> str:
    """`<prefix>-<name>-<runId>`, the name cut where there is no room for it."""
    room = _JOB_NAME_CHARACTERS - len(f"{prefix}--{run_id}")
    return f"{prefix}-{restore.replace('.', '-')[:room].strip('-')}-{run_id}"
