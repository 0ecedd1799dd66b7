"""A process that writes to a state directory until it is killed, and tells what it has written.

Each line on its standard output names a write that has returned: what a killed process must not have lost.
"""

import asyncio
import os
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

from dbtether.api.resource import Key, Secret
from dbtether.runtime.local import LocalStore
from dbtether.runtime.store import EventType


def tell(*words: object) -> None:
    """One line in one write, so that the reader never sees half of it."""
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


async def write_secrets(store: LocalStore, writer: int) -> None:
    """Create a Secret and change it, then delete every third one."""
    for number in count():
        name = f"secret-{os.getpid()}-{writer}-{number}"
        secret = await store.write_secret(Secret("default", name, {"password": b"first" * 100}))
        tell("secret", name, "first")
        secret = await store.write_secret(replace(secret, data={"password": b"second" * 100}))
        tell("secret", name, "second")
        if number % 3 == 0:
            tell("deleting", name)
            await store.delete_secret(secret)
            tell("deleted", name)


async def write_resources(store: LocalStore, writer: int) -> None:
    """Create a resource, hold it, write statuses, delete it now and then."""
    for number in count():
        name = f"database-{os.getpid()}-{writer}-{number % 10}"
        key = Key("Database", "default", name)
        resource = await store.apply_resource(key, {"number": number, "filler": "x" * 2000})
        held = await store.write_finalizers(resource, ("dbtether.io/finalizer",))
        assert held
        tell("spec", name, number)
        for step in range(5):
            held = await store.write_status(held, {"step": step, "filler": "y" * 2000})
        await store.record_event(held, EventType.NORMAL, "Step", f"number {number}")
        if number % 4 == 0:
            tell("deleting", name)
            await store.request_deletion(key)
            waiting = await store.get(key)
            assert waiting
            await store.write_finalizers(waiting, ())


async def main() -> None:
    with LocalStore.open(Path(sys.argv[1])) as store:
        tell("open", store.installation)
        await asyncio.gather(*(write(store, n) for n in range(3) for write in (write_secrets, write_resources)))


if __name__ == "__main__":
    asyncio.run(main())
