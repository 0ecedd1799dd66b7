"""Jobs on Kubernetes: the port's suite beside the real Job controller, and what nodes, people and quotas do to them."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kube.kube import Kube
from tests.kube.kubelet import Kubelet, node
from tests.runtime.jobs_conformance import SUBJECT, SUITE, ended, gone, says, spec, until

from dbtether.errors import Blocked, Retryable, StateError
from dbtether.runtime.jobs import JobPhase, JobState
from dbtether.runtime.kube import Client, JobTemplate, KubeJobs, KubeJobsSettings, open_jobs, read_kubeconfig
from dbtether.runtime.kube.job_state import JobLimits

IMAGE = "example.com/dbtether:test"
PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "jobs_program.py"))


def template(image: str = IMAGE, **spec: Any) -> JobTemplate:
    tmp = {"name": "tmp", "mountPath": "/tmp"}
    container = {"name": "job", "image": image, "volumeMounts": [tmp]}
    whole = {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}], **spec}
    return JobTemplate.parse(json.dumps({"spec": {"terminationGracePeriodSeconds": 1, **whole}}))


@pytest.fixture
def kubelet(kube: Kube, namespace: str) -> Iterator[Kubelet]:
    with node(kube, namespace, {IMAGE: PROGRAM}) as made:
        yield made


@asynccontextmanager
async def opened(kube: Kube, namespace: str, **options: Any) -> AsyncIterator[KubeJobs]:
    settings = KubeJobsSettings(namespace, **{"template": template(), "retry_seconds": 0.2, **options})
    connection = read_kubeconfig([kube.kubeconfig])
    async with Client(connection) as client, open_jobs(client, settings, may_write=lambda: True) as jobs:
        yield jobs


def secrets_of(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    return list(kube.request("GET", f"/api/v1/namespaces/{namespace}/secrets").body["items"])


async def no_secret(kube: Kube, namespace: str) -> None:
    async with asyncio.timeout(20):
        while secrets_of(kube, namespace):
            await asyncio.sleep(0.1)


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 120))


def test_the_port(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    async def main() -> None:
        for behaviour in SUITE:
            started = time.monotonic()
            async with opened(kube, namespace) as jobs:
                await behaviour(jobs)
                await gone(jobs)
            print(f"{behaviour.__name__}: {time.monotonic() - started:.1f} s")

    run(main())


async def running(jobs: KubeJobs, kubelet: Kubelet, **changes: Any) -> None:
    """A job that runs until somebody ends it."""
    await jobs.ensure(spec("stay", **changes))
    await says(jobs, "staying")
    assert kubelet.process("one") is not None


def test_what_ends_a_pod_from_outside_is_told(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    async def main() -> None:
        async with opened(kube, namespace) as jobs:
            woken: list[Any] = []
            jobs.subscribe(woken.append)
            await running(jobs, kubelet)
            kubelet.kill("one")
            assert (await ended(jobs)).why == "was killed by signal 9"
            await gone(jobs)

            await running(jobs, kubelet)
            woken.clear()
            kubelet.evict("one")
            assert (await ended(jobs)).why == "was ended by its node (Evicted: The node was low on resource: memory.)"
            assert set(woken) == {SUBJECT}
            await gone(jobs)

            await running(jobs, kubelet)
            (pod,) = kube.request("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"]
            kube.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}")
            assert (await ended(jobs)).result is None
            await gone(jobs)

    run(main())


def test_a_job_that_somebody_deleted_is_gone_once_its_pod_is(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    async def main() -> None:
        async with opened(kube, namespace) as jobs:
            await jobs.ensure(spec("stubborn"))
            await says(jobs, "staying")
            woken: list[Any] = []
            jobs.subscribe(woken.append)
            kube.request("DELETE", f"/apis/batch/v1/namespaces/{namespace}/jobs/one?propagationPolicy=Background")
            state = await until(jobs, lambda state: state is None or "deleted" in state.progress)
            assert state is not None
            assert state.phase is JobPhase.RUNNING
            assert kubelet.process("one") is not None
            woken.clear()
            await until(jobs, lambda state: state is None)
            assert kubelet.process("one") is None
            assert set(woken) == {SUBJECT}
            await no_secret(kube, namespace)

    run(main())


def test_a_pod_on_a_lost_node_is_given_up_and_its_name_is_free(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    limits = JobLimits(lost_seconds=1.0)

    async def main() -> None:
        async with opened(kube, namespace, limits=limits) as jobs:
            await running(jobs, kubelet)
            kubelet.is_away = True
            (pod,) = kube.request("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"]
            # As the eviction of a tainted node's Pods does it.
            kube.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}")
            assert (await ended(jobs)).why == f"was on a node that does not answer any more ({kubelet.name})"
            await gone(jobs)
            with node(kube, namespace, {IMAGE: PROGRAM}) as other:
                await jobs.ensure(spec("say"))
                assert (await ended(jobs)).result == "done"
                assert other.process("one") is None
            kubelet.is_away = False

    run(main())


def test_what_keeps_a_job_from_starting_is_told_and_it_is_given_up(
    kube: Kube, namespace: str, kubelet: Kubelet
) -> None:
    limits = JobLimits(on_its_way_seconds=1.0, start_seconds=4.0)

    async def main() -> None:
        async with opened(kube, namespace, template=template("example.com/none"), limits=limits) as jobs:
            woken: list[Any] = []
            jobs.subscribe(woken.append)
            await jobs.ensure(spec("say"))
            state = await until(jobs, lambda state: state is not None and bool(state.progress))
            assert state == JobState(JobPhase.PENDING, 'ImagePullBackOff: Back-off pulling image "example.com/none"')
            assert set(woken) == {SUBJECT}
            assert "has not started within 0 minutes: ImagePullBackOff" in (await ended(jobs)).why
            await gone(jobs)

        quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
        kube.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
        async with opened(kube, namespace, limits=limits) as jobs:
            await jobs.ensure(spec("say"))
            state = await until(jobs, lambda state: state is not None and bool(state.progress))
            assert state is not None
            assert state.progress.startswith("FailedCreate: Error creating: pods")
            assert "exceeded quota: full" in state.progress
            await gone(jobs)

    run(main())


def test_a_job_that_the_api_server_refuses_leaves_no_secret(kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with opened(kube, namespace, template=template(dnsPolicy="None of them")) as jobs:
            with pytest.raises(Retryable, match=f"Job {namespace}/one was not created, the API server answers 422"):
                await jobs.ensure(spec("say"))
            assert secrets_of(kube, namespace) == []
        async with opened(kube, namespace, template=None) as jobs:
            with pytest.raises(Blocked, match="--job-template"):
                await jobs.ensure(spec("say"))
        async with opened(kube, namespace) as jobs:
            with pytest.raises(Blocked, match="do not mount /backups"):
                await jobs.ensure(spec("say", folder="/backups"))

    run(main())


def test_a_secret_goes_with_its_job_and_as_soon_as_that_has_ended(kube: Kube, namespace: str, kubelet: Kubelet) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    left = {"app.kubernetes.io/managed-by": "dbtether", "app.kubernetes.io/component": "job"}
    for name, labels in (("orphan", left), ("stranger", {}), ("one", left)):
        kube.request("POST", path, {"metadata": {"name": name, "labels": labels}, "stringData": {"word": "earlier"}})

    async def main() -> None:
        async with opened(kube, namespace) as jobs:
            async with asyncio.timeout(20):
                while len(secrets_of(kube, namespace)) > 1:
                    await asyncio.sleep(0.05)
            await running(jobs, kubelet)
            (job,) = kube.request("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs").body["items"]
            secret = next(one for one in secrets_of(kube, namespace) if one["metadata"]["name"] == "one")
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": job["metadata"]["uid"]}
            assert secret["metadata"]["ownerReferences"] == [owner]
            mounted = next(kubelet.folder("one").glob("volumes/*/word"))
            assert (mounted.read_text(), mounted.stat().st_mode & 0o777) == ("hello", 0o400)

        # Another engine goes on with it, also when the first one was killed before the Secret was the Job's.
        kube.request(
            "PATCH", f"{path}/one", {"metadata": {"ownerReferences": None}}, content_type="application/merge-patch+json"
        )
        async with opened(kube, namespace) as jobs:
            state = await jobs.state("one")
            assert state is not None
            assert state.phase is JobPhase.RUNNING
            await jobs.ensure(spec("stay"))
            kubelet.kill("one")
            await ended(jobs)
            async with asyncio.timeout(20):
                while len(secrets_of(kube, namespace)) > 1:
                    await asyncio.sleep(0.05)
            with pytest.raises(StateError, match="is not a job's"):
                await jobs.ensure(spec("say", "stranger"))
        assert [one["metadata"]["name"] for one in secrets_of(kube, namespace)] == ["stranger"]

    run(main())
