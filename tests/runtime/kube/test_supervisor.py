"""Tasks that must not end."""

import asyncio

import pytest

from dbtether.runtime.kube.supervisor import Supervisor, TaskEnded, Work


async def forever() -> None:
    await asyncio.sleep(60)


async def fail() -> None:
    raise ZeroDivisionError


async def end() -> None:
    return


async def leak() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("task", [fail, end, leak])
def test_a_task_that_ends_cancels_the_body(task: Work) -> None:
    async def main() -> None:
        async def body() -> None:
            async with Supervisor() as supervisor:
                supervisor.start(forever, "another")
                supervisor.start(task, "the task")
                await asyncio.sleep(60)

        with pytest.raises(TaskEnded, match="the task"):
            await body()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_the_tasks_end_with_the_body_and_its_error_comes_through() -> None:
    async def main() -> None:
        tasks = []

        async def body() -> None:
            async with Supervisor() as supervisor:
                tasks.append(supervisor.start(forever, "one"))
                raise KeyError

        with pytest.raises(KeyError):
            await body()
        assert tasks[0].cancelled()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_body_that_ends_well_and_a_cancelled_one_leave_no_task() -> None:
    async def main() -> None:
        async with Supervisor() as supervisor:
            task = supervisor.start(forever, "one")
        assert task.cancelled()

        async def body() -> None:
            async with Supervisor() as supervisor:
                supervisor.start(forever, "one")
                await asyncio.sleep(60)

        running = asyncio.create_task(body())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert "one" not in {task.get_name() for task in asyncio.all_tasks()}

    asyncio.run(asyncio.wait_for(main(), 10))
