"""Measures a store over many objects: python -m tests.runtime.kube.measure [objects].

The API server runs in a process of its own, so that what is printed is the store's alone.
"""

import asyncio
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psutil
from tests.runtime.kube.api_server import ApiServer, running

from dbtether.api.resource import Key
from dbtether.runtime.kube import Client, Connection, StoreSettings, open_store

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
    """Serve that many users; then count the requests of each period that is asked for."""

    async def main() -> None:
        server = ApiServer()
        server.put("namespaces", "", "kube-system")
        for number in range(objects):
            server.put("databaseusers", f"team-{number % 50}", f"app-{number}", **user(number))
        server.history.clear()
        async with running(server):
            pipe.send(server.url)
            while (await asyncio.to_thread(pipe.recv)) is not None:
                pipe.send(len(server.requests))

    asyncio.run(main())


async def measure(url: str, pipe: Pipe, objects: int) -> None:
    """Print time to first sync, memory, and what idling costs."""
    process = psutil.Process()
    before = process.memory_info().rss
    async with Client(Connection(url)) as client:
        started = time.perf_counter()
        async with open_store(client, StoreSettings(namespace="operator")) as store:
            seconds = time.perf_counter() - started
            assert len(await store.list("DatabaseUser")) == objects
            rss = process.memory_info().rss
            print(f"{objects} objects: first sync {seconds:.2f} s", end=", ")
            print(f"RSS {before / 2**20:.0f} -> {rss / 2**20:.0f} MiB", end=", ")
            print(f"highest {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
            pipe.send(True)
            requests, cpu = await asyncio.to_thread(pipe.recv), time.process_time()
            await asyncio.sleep(IDLE_SECONDS)
            cpu = time.process_time() - cpu
            pipe.send(True)
            requests = await asyncio.to_thread(pipe.recv) - requests
            print(f"idle for {IDLE_SECONDS} s: {cpu * 1000:.1f} ms CPU, {requests} requests")
            await write_all(store, objects)
    pipe.send(None)


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


def main() -> None:
    """Measure the number of objects on the command line."""
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, objects))
    server.start()
    asyncio.run(measure(ours.recv(), ours, objects))
    server.join()


if __name__ == "__main__":
    main()
