"""The two jobs of a restore: the files that they are given, and the results that they leave.

The first reads the object and has no way to a database; the second loads it, as a login made for this run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from dbtether.backup.jobfiles import RUN_FILE, login_files, storage_files
from dbtether.backup.manifest import Content, Manifest
from dbtether.backup.restore.model import ExistingObjects, Findings, LoadWay, Rules

RESULT_BYTES = 4096
"""What Kubernetes keeps of a container's termination message."""
_MESSAGE_CHARACTERS = 800
_NAMES = 50
_NAMED_IN_FINDINGS = ("schemas", "roles", "extensions")


class Expectation(BaseModel):
    """What a manifest says of its object, small enough for a job's files with any number of tables."""

    model_config = ConfigDict(frozen=True)

    stored: Content
    plain: Content
    tables: int | None = None
    rows: int | None = None
    tables_sha256: str | None = None
    """Of the rows by table (`tables_digest`); None in the custom format, which does not show them."""

    @classmethod
    def of(cls, manifest: Manifest) -> "Expectation":
        """What this manifest says."""
        tables = manifest.tables
        if tables is None:
            return cls(stored=manifest.stored, plain=manifest.plain)
        return cls(
            stored=manifest.stored,
            plain=manifest.plain,
            tables=len(tables),
            rows=sum(tables.values()),
            tables_sha256=tables_digest(tables),
        )


def tables_digest(rows: Mapping[str, int]) -> str:
    """A checksum of the rows by table, in any order."""
    return hashlib.sha256(json.dumps(dict(rows), sort_keys=True).encode()).hexdigest()


class CheckRun(BaseModel):
    """What the job of the first pass is told, without a secret."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    storage: dict[str, Any]
    """A BackupStorage's spec."""
    local_root: str | None = None
    """The folder that a storage of the kind `local` may use."""
    key: str
    """Of the object; its suffix names the format."""
    expected: Expectation | None = None
    """None for an object without a manifest."""
    rules: Rules


class RestoreRun(CheckRun):
    """What the job of the second pass is told beside that."""

    host: str
    port: int
    user: str
    """The login of this run."""
    sslmode: str
    database: str
    """Where it loads: the target, or the staging database."""
    way: LoadWay
    existing: ExistingObjects = ExistingObjects.REFUSE
    owner: str
    """The group that every session of the login must run as, and whose all objects will be."""
    counts: bool = False
    """Whether the rows are counted once more where they are now, as in a restore drill."""
    application_name: str


@dataclass(frozen=True, slots=True, repr=False)
class CheckSecrets:
    """What the first job is given beside that. Its repr shows nothing."""

    storage: Mapping[str, bytes] | None
    """The store's keys; None for the workload's own identity."""


@dataclass(frozen=True, slots=True, repr=False)
class RestoreSecrets:
    """What the second job is given beside that. Its repr shows nothing."""

    password: str
    storage: Mapping[str, bytes] | None
    tls: Mapping[str, bytes]
    """Certificates and key by their names in ConnectParameters."""


def check_files(run: CheckRun, secrets: CheckSecrets) -> dict[str, bytes]:
    """The files of the first pass's job, by name."""
    return {RUN_FILE: run.model_dump_json(exclude_none=True).encode(), **storage_files(secrets.storage)}


def restore_files(run: RestoreRun, secrets: RestoreSecrets) -> dict[str, bytes]:
    """The files of the second pass's job, by name."""
    return {
        RUN_FILE: run.model_dump_json(exclude_none=True).encode(),
        **login_files(secrets.password, secrets.tls),
        **storage_files(secrets.storage),
    }


def read_check_run(folder: Path) -> CheckRun:
    """What the first job of a folder was told."""
    return CheckRun.model_validate_json((folder / RUN_FILE).read_bytes())


def read_restore_run(folder: Path) -> RestoreRun:
    """What the second job of a folder was told."""
    return RestoreRun.model_validate_json((folder / RUN_FILE).read_bytes())


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How the first pass ended."""

    succeeded: bool
    reason: str = ""
    message: str = ""
    may_retry: bool = False
    findings: Findings | None = None

    def text(self) -> str:
        """As the job leaves it; names in the findings are cut where they would not fit."""
        findings, limit = self.findings, _NAMES
        while True:
            cut = None if findings is None else _with_fewer_names(findings, limit)
            text = json.dumps({**_ending(self), "findings": None if cut is None else _told(cut)})
            if len(text) <= RESULT_BYTES or not limit:
                return text
            limit //= 2

    @classmethod
    def parse(cls, text: str) -> "CheckResult | None":
        """What a job left; None when that is something else."""
        try:
            found = json.loads(text)
            told = found["findings"]
            return cls(*_parsed_ending(found), None if told is None else _findings(told))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """How the second pass ended."""

    succeeded: bool
    reason: str = ""
    message: str = ""
    may_retry: bool = False
    tables: int = 0
    rows: int = 0

    def text(self) -> str:
        """As the job leaves it."""
        return json.dumps({**_ending(self), "tables": self.tables, "rows": self.rows})

    @classmethod
    def parse(cls, text: str) -> "RestoreResult | None":
        """What a job left; None when that is something else."""
        try:
            found = json.loads(text)
            return cls(*_parsed_ending(found), int(found["tables"]), int(found["rows"]))
        except (ValueError, KeyError, TypeError):
            return None


def _ending(result: CheckResult | RestoreResult) -> dict[str, Any]:
    # Escaped as JSON a character may need twelve bytes.
    message = result.message[:_MESSAGE_CHARACTERS]
    while len(json.dumps(message)) > RESULT_BYTES // 3:
        message = message[: len(message) // 2]
    return {
        "succeeded": result.succeeded,
        "reason": result.reason,
        "message": message,
        "mayRetry": result.may_retry,
    }


def _parsed_ending(found: Mapping[str, Any]) -> tuple[bool, str, str, bool]:
    return bool(found["succeeded"]), str(found["reason"]), str(found["message"]), bool(found["mayRetry"])


def _told(findings: Findings) -> dict[str, Any]:
    """The findings as JSON has them."""
    return {**asdict(findings), "left_out": dict(findings.left_out)}


def _findings(told: Mapping[str, Any]) -> Findings:
    names = {name: tuple(str(item) for item in told[name]) for name in _NAMED_IN_FINDINGS}
    return Findings(**{**told, **names})


def _with_fewer_names(findings: Findings, limit: int) -> Findings:
    """With at most so many names of each kind."""
    kept = {name: getattr(findings, name)[:limit] for name in _NAMED_IN_FINDINGS}
    cut = sum(len(getattr(findings, name)) - len(kept[name]) for name in _NAMED_IN_FINDINGS)
    return replace(findings, **kept, names_cut=findings.names_cut + cut)
