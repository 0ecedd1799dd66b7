"""The Lease of a busy operator."""

import asyncio
from contextlib import suppress

from aiohttp import web
from tests.runtime.kube.api_server import ApiServer, running
from tests.runtime.kube.world import eventually

from dbtether.operator.process import Operator
from dbtether.operator.settings import OperatorSettings
from dbtether.postgres.connection import IDLE_IN_TRANSACTION_SECONDS
from dbtether.runtime.kube import ClientSettings, LeaseSettings

FAST = LeaseSettings(duration_seconds=1.5, renew_deadline_seconds=0.9, retry_seconds=0.1)


def test_calls_that_hang_do_not_cost_the_lease() -> None:
    async def main() -> None:
        hanging: list[str] = []

        async def hang(request: web.Request) -> web.StreamResponse | None:
            if request.method == "GET" and "/secrets/admin-" in request.path:
                hanging.append(request.path)
                await asyncio.sleep(60)
            return None

        server = ApiServer(intercept=hang)
        server.put("namespaces", "", "kube-system")
        for number in range(2 * ClientSettings().at_once):
            login = {"name": f"admin-{number}", "namespace": "own"}
            server.put("dbclusters", "", f"c-{number}", spec={"endpoint": "127.0.0.1", "credentialsSecretRef": login})
        settings = OperatorSettings(namespace="own", identity="a", leader_elect=True, lease=FAST)
        async with running(server):
            working = asyncio.create_task(Operator(settings, {}).run(server.connection))
            # All the places there are for calls.
            await eventually(lambda: len(hanging) == ClientSettings().at_once)
            await asyncio.sleep(2 * FAST.duration_seconds)
            assert not working.done()
            assert server.objects["leases"]["own", "dbtether"]["spec"]["leaseTransitions"] == 0
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_transaction_of_a_stopped_leader_is_ended_by_the_server_before_another_one_may_begin() -> None:
    lease = LeaseSettings()
    assert lease.duration_seconds - lease.renew_deadline_seconds > IDLE_IN_TRANSACTION_SECONDS
