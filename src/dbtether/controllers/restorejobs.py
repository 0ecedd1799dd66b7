"""The two jobs of a Restore: what they are given, and why they failed."""

from dataclasses import dataclass
from typing import Any

from dbtether.api.resource import Resource
from dbtether.api.restore import OnConflict, RestoreSpec
from dbtether.backup.jobfiles import tls_contents
from dbtether.backup.restore.job import (
    CheckRun,
    CheckSecrets,
    Expectation,
    RestoreRun,
    RestoreSecrets,
    check_files,
    restore_files,
)
from dbtether.backup.restore.model import ExistingObjects, LoadWay, Rules
from dbtether.controllers.base import World
from dbtether.controllers.restoresource import Source
from dbtether.controllers.restorestate import Run, job_labels
from dbtether.postgres.connection import ConnectParameters
from dbtether.runtime.jobs import JobSpec, JobState


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    reason: str
    message: str
    may_retry: bool = False


@dataclass(frozen=True, slots=True)
class LoadPlace:
    """Where and how a job loads."""

    parameters: ConnectParameters
    """As the run's own login."""
    database: str
    owner: str
    """The group that everything is made as."""
    server_major: int
    rules: Rules


async def check_job(
    world: World, restore: Resource, spec: RestoreSpec, run: Run, source: Source, rules: Rules
) -> JobSpec:
    """The job that reads the source: it knows no database. Raises Blocked."""
    told = CheckRun(run_id=run.id, **_source(world, source), rules=rules)
    kept = CheckSecrets(storage=await world.storages.credentials(source.storage.spec))
    return JobSpec(
        name=run.check_job,
        subject=restore.key,
        arguments=("restore-check",),
        files=check_files(told, kept),
        labels=job_labels(restore),
        ttl_seconds=spec.ttl_after_completion.seconds,
        folder=told.local_root,
    )


async def load_job(
    world: World, restore: Resource, spec: RestoreSpec, run: Run, source: Source, place: LoadPlace
) -> JobSpec:
    """The job that loads it, as a login made for it. Raises Blocked."""
    assert run.way is not None, "it was judged"
    drops = run.way is LoadWay.TRANSACTION and spec.on_conflict is OnConflict.OVERWRITE
    parameters = place.parameters
    told = RestoreRun(
        run_id=run.id,
        **_source(world, source),
        rules=place.rules,
        host=parameters.host,
        port=parameters.port,
        user=parameters.user,
        sslmode=parameters.sslmode,
        database=place.database,
        way=run.way,
        existing=ExistingObjects.DROP if drops else ExistingObjects.REFUSE,
        owner=place.owner,
        counts=spec.verify_only,
        application_name=f"dbtether: restore {restore.key.path}",
    )
    kept = RestoreSecrets(
        password=parameters.password,
        storage=await world.storages.credentials(source.storage.spec),
        tls=tls_contents(parameters),
    )
    return JobSpec(
        name=run.load_job,
        subject=restore.key,
        arguments=("restore",),
        files=restore_files(told, kept),
        labels=job_labels(restore),
        ttl_seconds=spec.ttl_after_completion.seconds,
        folder=told.local_root,
    )


def _source(world: World, source: Source) -> dict[str, Any]:
    spec, root = source.storage.spec, world.storages.root_of(source.storage.spec)
    return {
        "storage": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "local_root": None if root is None else str(root),
        "key": source.key,
        "expected": None if source.manifest is None else Expectation.of(source.manifest),
    }


def ended_without_result(state: JobState) -> Failure:
    """A job that was ended before it could say why."""
    return Failure("RestoreFailed", f"Its job {state.why or 'left no result'}", may_retry=True)
