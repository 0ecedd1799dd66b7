"""The runtime against a real API server: the rules that only the real one can show."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.kube.kube import Kube
from tests.runtime.kube.world import KubeWorld, eventually, kube_world

from dbtether.api.resource import Key, Owner, Resource, Secret
from dbtether.errors import StateError
from dbtether.runtime.kube import Client, Connection, InformerSettings, Lease, LeaseSettings, Sample, StoreSettings
from dbtether.runtime.kube import read_kubeconfig as read
from dbtether.runtime.kube.errors import Forbidden, Invalid
from dbtether.runtime.kube.informer import Informer
from dbtether.runtime.kube.objects import Object, PartialObjectList
from dbtether.runtime.kube.requests import LEASES, SECRETS, ApiResource, Collection, create, get
from dbtether.runtime.kube.secret_watches import MANAGED_BY, MANAGED_BY_US
from dbtether.runtime.kube.store import our_resources
from dbtether.runtime.kube.view import View
from dbtether.runtime.queue import Backoff
from dbtether.runtime.store import Change, ChangeType, EventType

FAST = InformerSettings(backoff=Backoff(first_seconds=0.1, limit_seconds=1.0, jitter=0.5))
CONFIG_MAPS = ApiResource("v1", "ConfigMap", "configmaps", True)


def run(body: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 120))


def settings(namespace: str) -> StoreSettings:
    return StoreSettings(namespace=namespace, informer=FAST, watch_namespaces=(namespace,))


def admin(kube: Kube) -> Connection:
    return read([kube.kubeconfig])


async def database(world: KubeWorld, namespace: str) -> Resource:
    return await world.apply(Key("Database", namespace, "my-app"), {"clusterRef": {"name": "main"}})


def test_the_seven_kinds_are_watched_and_a_status_survives(crd_kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with kube_world(admin(crd_kube), settings(namespace)) as world:
            created = await database(world, namespace)
            held = await world.store.write_finalizers(created, ("dbtether.io/finalizer",))
            assert held
            ready = await world.store.write_status(held, {"phase": "Ready", "databaseName": "my_app"})
            assert ready.status == {"phase": "Ready", "databaseName": "my_app"}
            assert (ready.generation, ready.finalizers) == (1, ("dbtether.io/finalizer",))
            waiting = await world.delete(ready.key)
            assert waiting
            assert waiting.generation == 2
            assert await world.store.write_finalizers(waiting, ()) is None
            assert await world.store.list("Database") == ()
            for kind in our_resources():
                await world.store.list(kind)

    run(main())


def test_a_status_that_the_schema_refuses_is_an_error_that_names_the_field(crd_kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with kube_world(admin(crd_kube), settings(namespace)) as world:
            created = await database(world, namespace)
            with pytest.raises(Invalid, match=r"status\.phase"):
                await world.store.write_status(created, {"phase": 5})

    run(main())


def test_secrets_are_told_by_their_metadata_and_owned(crd_kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with kube_world(admin(crd_kube), settings(namespace)) as world:
            created = await database(world, namespace)
            changes: list[Change] = []
            world.store.subscribe(changes.append)
            owner = Owner("Database", "my-app", created.uid)
            ours = Secret(namespace, "ours", {"a": b"1"}, labels={MANAGED_BY: MANAGED_BY_US}, owner=owner)
            written = await world.store.write_secret(ours)
            assert written.owner == owner
            crd_kube.kubectl("-n", namespace, "create", "secret", "generic", "admin", "--from-literal=password=1")
            assert await world.store.get_secret(namespace, "admin")
            crd_kube.kubectl("-n", namespace, "patch", "secret", "ours", "-p", '{"stringData":{"a":"2"}}')
            with pytest.raises(StateError, match="changed meanwhile"):
                await world.store.write_secret(replace(written, data={"a": b"3"}))
            await asyncio.sleep(1.5)
            crd_kube.kubectl("-n", namespace, "delete", "secret", "admin")
            await eventually(lambda: changes and changes[-1].type is ChangeType.REMOVED)
            assert [(change.type, change.key.name) for change in changes if change.key.kind == "Secret"] == [
                (ChangeType.ADDED, "ours"),
                (ChangeType.MODIFIED, "ours"),
                (ChangeType.ADDED, "admin"),
                (ChangeType.REMOVED, "admin"),
            ]
            listed = await world.client.send(
                Collection(SECRETS, namespace, metadata_only=True).list_page(limit=None), PartialObjectList
            )
            assert listed.items

    run(main())


def test_events_are_shown_by_kubectl_with_their_count(crd_kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with kube_world(admin(crd_kube), settings(namespace)) as world:
            created = await database(world, namespace)
            for _ in range(3):
                await world.store.record_event(created, EventType.WARNING, "ServerAway", "no answer")
            cluster = await world.apply(Key("DBCluster", "", namespace), {"endpoint": "h", "credentialsSecretRef": REF})
            await world.store.record_event(cluster, EventType.NORMAL, "Connected", "PostgreSQL 18")
            await world.store.events_written()
            await world.clear(cluster.key)
        described = crd_kube.kubectl("-n", namespace, "describe", "database", "my-app").stdout
        assert "ServerAway" in described
        shown = crd_kube.kubectl("-n", namespace, "get", "events.events.k8s.io", "-o", "jsonpath={..series.count}")
        assert shown.stdout == "2"
        assert "PostgreSQL 18" in crd_kube.kubectl("-n", "default", "get", "events").stdout

    run(main())


REF = {"name": "admin", "namespace": "default"}


def test_without_a_rule_in_rbac_the_error_says_so(crd_kube: Kube, namespace: str) -> None:
    async def main() -> None:
        crd_kube.kubectl("-n", namespace, "create", "serviceaccount", "powerless")
        connection = read([crd_kube.service_account_kubeconfig(namespace, "powerless")])
        async with Client(connection) as client:
            with pytest.raises(Forbidden, match="cannot list resource"):
                await client.send(Collection(SECRETS, namespace).list_page(limit=5), PartialObjectList)

    run(main())


def test_a_client_certificate_is_a_person(kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with Client(read([kube.user_kubeconfig("anna")])) as client:
            with pytest.raises(Forbidden, match='"anna" cannot get resource'):
                await client.send(get(SECRETS, namespace, "x"), Object)

    run(main())


def test_a_lease_is_taken_renewed_and_given_back(kube: Kube, namespace: str) -> None:
    async def main() -> None:
        async with Client(admin(kube)) as client:
            fast = LeaseSettings(duration_seconds=2, renew_deadline_seconds=1.2, retry_seconds=0.2)
            leases = [Lease(client, namespace, "dbtether", name, fast) for name in "ab"]

            async def forever() -> None:
                await asyncio.sleep(60)

            tasks = [asyncio.create_task(lease.lead(forever)) for lease in leases]
            await eventually(lambda: any(lease.holds() for lease in leases))
            await asyncio.sleep(3)
            first = next(n for n in range(2) if leases[n].holds())
            assert not leases[1 - first].holds()
            tasks[first].cancel()
            await eventually(lambda: leases[1 - first].holds(), 1)
            tasks[1 - first].cancel()
            await asyncio.wait(tasks)
            stored = await client.send(get(LEASES, namespace, "dbtether"), Object)
            assert stored.spec
            assert stored.spec["leaseTransitions"] == 1
            assert not stored.spec.get("holderIdentity")

    run(main())


def test_a_killed_api_server_is_followed_again(fresh_kube: Callable[[], Kube]) -> None:
    kube = fresh_kube()

    async def main() -> None:
        samples: list[Sample] = []
        changes: list[Change] = []
        async with Client(admin(kube), on_request=samples.append) as client:
            for name in ("stays", "goes"):
                await client.send(create(CONFIG_MAPS, "default", {"metadata": {"name": name}}), Object)
            view = View("ConfigMap", changes.append)
            informer = Informer(client, Collection(CONFIG_MAPS, "default"), view, FAST)
            task = asyncio.create_task(informer.run())
            await informer.synced()
            kube.plane.api_server.stop(signal.SIGKILL)
            await eventually(lambda: informer.problem)
            # Deleted while we are away, then a server whose memory begins after that: 410, and a list.
            task.cancel()
            await asyncio.wait({task})
            await asyncio.to_thread(kube.plane.start_api_server)
            kube.kubectl("-n", "default", "delete", "configmap", "goes")
            started = time.monotonic()
            task = asyncio.create_task(informer.run())
            await client.send(create(CONFIG_MAPS, "default", {"metadata": {"name": "after"}}), Object)
            await eventually(lambda: view.get(Key("ConfigMap", "default", "after")), 30)
            print(f"seen again {time.monotonic() - started:.2f} s after the API server was ready")
            assert informer.problem is None
            assert [change.key.name for change in changes if change.type is ChangeType.REMOVED] == ["goes"]
            task.cancel()
            await asyncio.wait({task})

    run(main())


def test_a_watch_that_a_new_server_does_not_remember_leads_to_a_list(fresh_kube: Callable[[], Kube]) -> None:
    kube = fresh_kube()

    async def main() -> None:
        samples: list[Sample] = []
        async with Client(admin(kube), on_request=samples.append) as client:
            view = View("ConfigMap", lambda _: None)
            informer = Informer(client, Collection(CONFIG_MAPS, "default"), view, FAST)
            task = asyncio.create_task(informer.run())
            await informer.synced()
            # Elsewhere, so that no event of it tells us a younger version.
            for n in range(3):
                kube.kubectl("-n", "kube-system", "create", "configmap", f"elsewhere-{n}")
            kube.plane.api_server.stop(signal.SIGKILL)
            await asyncio.to_thread(kube.plane.start_api_server)
            kube.kubectl("-n", "default", "create", "configmap", "after")
            await eventually(lambda: view.get(Key("ConfigMap", "default", "after")), 30)
            assert [one.verb for one in samples if one.code == 200 and one.verb == "GET"] == ["GET", "GET"]
            task.cancel()
            await asyncio.wait({task})

    run(main())


class Gate:
    """A way to the API server that a test closes."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_open = True

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """The gate's port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.close()
            server.close()

    def close(self) -> None:
        """Let nobody through, and cut those who are."""
        self.is_open = False
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, forth}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, forth), _pump(back, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_compaction_while_the_watch_is_down_leads_to_a_list_that_tells_what_vanished(
    fresh_kube: Callable[[], Kube], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kube = fresh_kube()
    # Else the API server's own memory answers, which forgets nothing in so short a time.
    kube.plane.start_api_server("--watch-cache=false")
    patient = InformerSettings(backoff=Backoff(first_seconds=4.0, limit_seconds=4.0, jitter=0.0))

    async def main() -> None:
        samples: list[Sample] = []
        changes: list[Change] = []
        gate = Gate(int(kube.url.rpartition(":")[2]))
        async with gate.opened() as port:
            there = replace(admin(kube), server=f"https://127.0.0.1:{port}")
            async with Client(there, on_request=samples.append) as client:
                for name in ("stays", "goes"):
                    kube.kubectl("-n", "default", "create", "configmap", name)
                view = View("ConfigMap", changes.append)
                informer = Informer(client, Collection(CONFIG_MAPS, "default"), view, patient)
                task = asyncio.create_task(informer.run())
                await informer.synced()
                await eventually(lambda: [one for one in samples if one.verb == "WATCH"])
                gate.close()
                await eventually(lambda: informer.problem)
                await asyncio.to_thread(kube.kubectl, "-n", "default", "delete", "configmap", "goes")
                await asyncio.to_thread(kube.kubectl, "-n", "default", "create", "configmap", "after")
                await asyncio.to_thread(kube.plane.compact)
                gate.is_open = True
                await eventually(lambda: view.get(Key("ConfigMap", "default", "after")), 30)
                removed = [change.key.name for change in changes if change.type is ChangeType.REMOVED]
                assert removed == ["goes"]
                verbs = [one.verb for one in samples if one.code == 200]
                assert verbs[:2] == ["GET", "WATCH"]
                assert "the watch of configmaps of namespace default is too old; listing anew" in caplog.messages
                assert [verb for verb in verbs[2:] if verb == "GET"] == ["GET"]
                assert sum(one.code == 0 for one in samples) < 4
                task.cancel()
                await asyncio.wait({task})

    run(main())
