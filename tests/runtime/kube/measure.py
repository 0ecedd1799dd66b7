"""Measures a store over many objects: python -m tests.runtime.kube.measure [objects] [real].

The API server, that of the tests or with `real` a real one, runs in a process of its own, so that what is
printed is the store's alone.
"""

import asyncio
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psutil
from tests.kube.fixtures import CRDS
from tests.kube.programs import NEWEST
from tests.kube.session import Kubes
from tests.runtime.kube.api_server import ApiServer, running

from dbtether.api.resource import Key
from dbtether.runtime.kube import Client, Connection, Sample, StoreSettings, open_store, read_kubeconfig
from dbtether.runtime.kube.requests import NAMESPACES, create, merge_patch
from dbtether.runtime.kube.store import our_resources

IDLE_SECONDS = 10


def user(number: int) -> dict[str, Any]:
    """A settled DatabaseUser of about 1.3 kB."""
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": "Ready",
            "message": "the login works and has what it asks for",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
        for type_ in ("Ready", "Reconciling", "Stalled")
    ]
    name = f"app-{number}"
    return {
        "metadata": {"finalizers": ["dbtether.io/finalizer"], "labels": {"app": name}},
        "spec": {"databaseRef": {"name": name}, "privileges": "readwrite", "password": {"length": 24}},
        "status": {
            "phase": "Ready",
            "observedGeneration": 1,
            "conditions": conditions,
            "username": name,
            "clusterName": "main",
            "secretName": f"{name}-credentials",
            "databases": [{"name": name, "databaseName": name.replace("-", "_"), "phase": "Ready"}],
        },
    }


def serve(pipe: Pipe, objects: int) -> None:
    """Serve that many users until the other end of the pipe says enough."""

    async def main() -> None:
        server = ApiServer()
        server.put("namespaces", "", "kube-system")
        for number in range(objects):
            server.put("databaseusers", f"team-{number % 50}", f"app-{number}", **user(number))
        server.history.clear()
        async with running(server):
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(main())


async def measure(connection: Connection, objects: int) -> None:
    """Print time to first sync, memory, what idling costs and what writing does."""
    process, samples = psutil.Process(), list[Sample]()
    before = process.memory_info().rss
    async with Client(connection, on_request=samples.append) as client:
        started = time.perf_counter()
        async with open_store(client, StoreSettings(namespace="default")) as store:
            seconds = time.perf_counter() - started
            assert len(await store.list("DatabaseUser")) == objects
            rss = process.memory_info().rss
            print(f"{objects} objects: first sync {seconds:.2f} s ({len(samples)} requests)", end=", ")
            print(f"RSS {before / 2**20:.0f} -> {rss / 2**20:.0f} MiB", end=", ")
            print(f"highest {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
            await asyncio.sleep(1)
            count, cpu = len(samples), time.process_time()
            await asyncio.sleep(IDLE_SECONDS)
            cpu = time.process_time() - cpu
            print(f"idle for {IDLE_SECONDS} s: {cpu * 1000:.1f} ms CPU, {len(samples) - count} requests")
            await write_all(store, objects)


async def fill(connection: Connection, objects: int) -> None:
    """Create that many users on a real API server, each with its status."""
    api = our_resources()["DatabaseUser"]
    gate = asyncio.Semaphore(32)
    async with Client(connection) as client:
        for number in range(50):
            await client.send_raw(create(NAMESPACES, "", {"metadata": {"name": f"team-{number}"}}))

        async def put(number: int) -> None:
            async with gate:
                body, namespace, name = user(number), f"team-{number % 50}", f"app-{number}"
                body["metadata"]["name"] = name
                await client.send_raw(create(api, namespace, body))
                status = {"status": body["status"]}
                await client.send_raw(merge_patch(api, namespace, name, status, subresource="status"))

        await asyncio.gather(*(put(number) for number in range(objects)))


async def write_all(store: Any, objects: int) -> None:
    """Print what writing a status takes."""
    count = min(objects, 1000)
    found = [await store.get(Key("DatabaseUser", f"team-{n % 50}", f"app-{n}")) for n in range(count)]
    started, cpu = time.perf_counter(), time.process_time()
    gate = asyncio.Semaphore(32)

    async def write(one: Any) -> None:
        async with gate:
            await store.write_status(one, {**one.status, "phase": "Failed"})

    await asyncio.gather(*(write(one) for one in found))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{count} status writes: {seconds:.2f} s, {cpu / count * 1e6:.0f} us CPU each")


def measure_real(objects: int) -> None:
    """Measure over a real API server."""
    with Kubes.opened() as kubes:
        kube = kubes.shared(NEWEST)
        kube.kubectl("apply", "-f", str(CRDS))
        kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        connection = read_kubeconfig([kube.kubeconfig])
        # In another process: what it takes is not the store's.
        filling = multiprocessing.get_context("spawn").Process(target=fill_now, args=(connection, objects))
        filling.start()
        filling.join()
        asyncio.run(measure(connection, objects))


def fill_now(connection: Connection, objects: int) -> None:
    """Create the users."""
    asyncio.run(fill(connection, objects))


def measure_fake(objects: int) -> None:
    """Measure over the tests' own API server."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, objects))
    server.start()
    asyncio.run(measure(Connection(ours.recv()), objects))
    ours.send(None)
    server.join()


def main() -> None:
    """Measure what the command line asks for."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    objects = numbers[0] if numbers else 10_000
    if "real" in sys.argv[1:]:
        measure_real(objects)
    else:
        measure_fake(objects)


if __name__ == "__main__":
    main()
