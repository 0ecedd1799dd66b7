"""How fast the runtime is by itself, printed for people (`pytest -s`); no assertion depends on time."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from dbtether.api.resource import Key, Secret
from dbtether.runtime.controller import ControlLoop, LoopSettings, Registration
from dbtether.runtime.local import LocalStore
from dbtether.runtime.overlay import MemoryStore
from dbtether.runtime.queue import WorkQueue
from dbtether.runtime.reconcile import Done, Outcome

KEYS = [Key("Database", f"cluster-{number % 20}", f"db-{number}") for number in range(5_000)]
STATUS = {
    "phase": "Ready",
    "conditions": [
        {
            "type": type_,
            "status": "True",
            "reason": "Ready",
            "message": "the login works",
            "lastTransitionTime": "2025-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for type_ in ("Ready", "Reconciling", "Stalled")
    ],
}


class Nothing:
    """Reconciles nothing, as fast as it can."""

    def group(self, key: Key) -> str:
        return key.namespace

    async def reconcile(self, _: Key) -> Outcome:
        return Done()


def tell(what: str, count: int, started: float) -> None:
    seconds = time.perf_counter() - started
    print(f"\n{what}: {count} in {seconds:.3f} s, {seconds / count * 1e6:.0f} us each")


def test_five_thousand_keys_through_the_queue() -> None:
    async def main() -> None:
        queue = WorkQueue(lambda key: key.namespace)
        started = time.perf_counter()
        for key in KEYS:
            queue.add(key)
        for _ in KEYS:
            queue.done(await queue.get())
        tell("queue", len(KEYS), started)
        assert queue.idle()

    asyncio.run(main())


def test_five_thousand_keys_through_the_loop() -> None:
    async def main() -> None:
        store = MemoryStore(installation="test")
        for key in KEYS:
            await store.apply_resource(key, {})
        loop = ControlLoop(store, [Registration("Database", Nothing())], LoopSettings())
        started = time.perf_counter()
        settlement = await loop.run_until_settled()
        tell("loop", len(KEYS), started)
        assert settlement.is_settled

    asyncio.run(main())


def test_eight_hundred_resources_in_a_state_directory(tmp_path: Path) -> None:
    async def main() -> None:
        keys = KEYS[:800]
        with LocalStore.open(tmp_path / "state") as store:
            started = time.perf_counter()
            resources = [await store.apply_resource(key, {"a": 1}) for key in keys]
            tell("apply (durable)", len(keys), started)
            started = time.perf_counter()
            for resource in resources:
                await store.write_status(resource, STATUS)
            tell("status", len(keys), started)
            started = time.perf_counter()
            for resource in resources:
                current = await store.get(resource.key)
                assert current
                await store.write_status(current, STATUS)
            tell("status that is the same", len(keys), started)
            started = time.perf_counter()
            secrets = await asyncio.gather(
                *(store.write_secret(Secret(key.namespace, key.name, {"password": b"x"})) for key in keys)
            )
            tell("Secret (durable, concurrent)", len(keys), started)
            started = time.perf_counter()
            for secret in secrets:
                await store.write_secret(replace(secret, data={"password": b"y"}))
            tell("Secret (durable, one by one)", len(keys), started)
        started = time.perf_counter()
        with LocalStore.open(tmp_path / "state", read_only=True) as store:
            tell("open", len(keys), started)
            assert len(await store.list("Database")) == len(keys)

    asyncio.run(main())
