"""What every implementation of the port for jobs does; its tests call these with jobs of their own."""

import asyncio
from collections.abc import Callable
from typing import Any

from dbtether.api.resource import Key
from dbtether.runtime.jobs import JobPhase, Jobs, JobSpec, JobState

SUBJECT = Key("Backup", "team", "nightly")


def spec(action: str, name: str = "one", **changes: Any) -> JobSpec:
    """A job of the tests' own program."""
    return JobSpec(name, SUBJECT, (action,), {"word": b"hello"}, **changes)


async def until(jobs: Jobs, wanted: Callable[[JobState | None], bool], name: str = "one") -> JobState | None:
    """The job's state once it is as wanted."""
    async with asyncio.timeout(30):
        while not wanted(state := await jobs.state(name)):
            await asyncio.sleep(0.05)
    return state


async def ended(jobs: Jobs, name: str = "one") -> JobState:
    """The state of a job that has ended."""
    found = await until(jobs, lambda state: state is not None and state.phase is JobPhase.ENDED, name)
    assert found is not None
    return found


async def says(jobs: Jobs, line: str) -> JobState | None:
    """The state once the program has printed the line."""
    return await until(jobs, lambda state: state is not None and state.progress == line)


async def gone(jobs: Jobs) -> None:
    """Delete the job, and wait until it is gone."""
    async with asyncio.timeout(30):
        while not await jobs.delete("one"):
            await asyncio.sleep(0.05)
    assert await jobs.state("one") is None


async def the_result_comes_back_and_the_subject_is_woken(jobs: Jobs) -> None:
    woken: list[Key] = []
    jobs.subscribe(woken.append)
    assert await jobs.state("one") is None
    await jobs.ensure(spec("say"))
    state = await ended(jobs)
    assert (state.result, state.progress) == ("done", "given hello")
    async with asyncio.timeout(10):
        while not woken:
            await asyncio.sleep(0.05)
    assert set(woken) == {SUBJECT}


async def a_failure_brings_its_result_too(jobs: Jobs) -> None:
    await jobs.ensure(spec("fail"))
    assert (await ended(jobs)).result == "failed"


async def an_end_without_a_result_is_told(jobs: Jobs) -> None:
    await jobs.ensure(spec("die"))
    state = await ended(jobs)
    assert state.result is None
    assert "code 3" in state.why


async def a_name_is_started_once(jobs: Jobs) -> None:
    await jobs.ensure(spec("stay"))
    await jobs.ensure(spec("die"))
    state = await says(jobs, "staying")
    assert state is not None
    assert state.phase is JobPhase.RUNNING


async def what_is_deleted_has_ended_and_its_name_is_free(jobs: Jobs) -> None:
    await jobs.ensure(spec("stay"))
    await says(jobs, "staying")
    await gone(jobs)
    await jobs.ensure(spec("say"))
    assert (await ended(jobs)).result == "done"
    await gone(jobs)
    await gone(jobs)


async def a_deadline_ends_it(jobs: Jobs) -> None:
    await jobs.ensure(spec("stay", deadline_seconds=1.0))
    state = await ended(jobs)
    assert (state.was_late, state.result) == (True, None)


SUITE = (
    the_result_comes_back_and_the_subject_is_woken,
    a_failure_brings_its_result_too,
    an_end_without_a_result_is_told,
    a_name_is_started_once,
    what_is_deleted_has_ended_and_its_name_is_free,
    a_deadline_ends_it,
)
