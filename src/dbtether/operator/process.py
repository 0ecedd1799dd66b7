"""One operator process: it serves at once, works once it leads, and ends when anything in it ends by itself."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from dbtether.api.resource import Resource
from dbtether.controllers.admission import admit
from dbtether.controllers.engine import Engine, opened_engine
from dbtether.controllers.executor import Applying, ReadOnly
from dbtether.operator import schedulegauges
from dbtether.operator.certificate import webhook_certificate
from dbtether.operator.limits import ReadOnlyStore, leading_only
from dbtether.operator.settings import OperatorSettings
from dbtether.runtime.kube import (
    Client,
    ClientSettings,
    Connection,
    KubeJobs,
    KubeJobsSettings,
    KubernetesStore,
    Lease,
    Sample,
    StoreSettings,
    Supervisor,
    open_jobs,
    open_store,
)
from dbtether.runtime.kube.store import always
from dbtether.runtime.metrics import Metrics, by_phase
from dbtether.runtime.queue import QueueStatistics
from dbtether.runtime.serving import health_application, metrics_application, serving
from dbtether.runtime.webhook import webhook_application

logger = logging.getLogger(__name__)

# A renewal must never stand in line behind the calls of controllers.
_LEASE_CLIENT = ClientSettings(at_once=2)

KINDS = ("DBCluster", "Database", "DatabaseUser", "BackupStorage", "Backup", "BackupSchedule", "Restore")
_NOTHING_QUEUED = QueueStatistics(0, 0, 0, 0, 0, 0.0, 0.0)


class Operator:
    """What the parts of one process know of each other."""

    def __init__(self, settings: OperatorSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environment = {name: environment[name] for name in settings.credentials_variables if name in environment}
        self._metrics = Metrics(KINDS)
        self._store: KubernetesStore | None = None
        self._jobs: KubeJobs | None = None
        self._engine: Engine | None = None
        self._add_gauges()

    async def run(self, connection: Connection) -> None:
        """Serve, wait to lead, and work until cancelled. Raises what a part of it died of."""
        async with Client(connection, on_request=self._count_request) as client, AsyncExitStack() as stack:
            supervisor = await stack.enter_async_context(Supervisor())
            await self._serve(client, stack, supervisor)
            if not self._settings.leader_elect:
                await self._work(client, always)
                return
            own = await stack.enter_async_context(Client(connection, _LEASE_CLIENT, on_request=self._count_request))
            settings = self._settings
            lease = Lease(own, settings.namespace, settings.lease_name, settings.identity, settings.lease)
            logger.info("waiting to lead as %s", settings.identity)
            await lease.lead(lambda: self._work(client, lease.holds))

    # -- the leader's work ----------------------------------------------------------------------------

    async def _work(self, client: Client, may_write: Callable[[], bool]) -> None:
        settings = self._settings
        store_settings = StoreSettings(
            namespace=settings.namespace,
            installation=settings.installation,
            watch_namespaces=settings.watch_namespaces,
            instance=settings.identity,
            makes_key=not settings.read_only,
        )
        job_settings = KubeJobsSettings(settings.namespace, settings.job_template, limits=settings.job_limits)
        async with (
            open_store(client, store_settings, may_write=may_write) as store,
            open_jobs(client, job_settings, may_write=lambda: may_write() and not settings.read_only) as jobs,
            self._opened_engine(store, jobs, may_write) as engine,
        ):
            self._store, self._jobs, self._engine = store, jobs, engine
            self._metrics.set_leader(True)
            logger.info("working as installation %s", store.installation)
            try:
                await engine.loop.run_forever()
            finally:
                self._metrics.set_leader(False)
                self._store = self._jobs = self._engine = None

    @asynccontextmanager
    async def _opened_engine(
        self, store: KubernetesStore, jobs: KubeJobs, may_write: Callable[[], bool]
    ) -> AsyncIterator[Engine]:
        settings = self._settings

        async def namespace_labels(namespace: str) -> Mapping[str, str]:
            return await store.namespace_labels(namespace) or {}

        async with opened_engine(
            ReadOnlyStore(store) if settings.read_only else store,
            executor=ReadOnly() if settings.read_only else Applying(),
            fence=leading_only(may_write),
            settings=settings.loop,
            on_outcome=self._metrics.count_reconcile,
            environment=self._environment,
            secret_namespaces=settings.secret_namespaces,
            local_root=settings.local_storage_root,
            namespace_labels=namespace_labels,
            on_rotation=self._metrics.count_rotation,
            jobs=jobs,
            backups=settings.backups,
        ) as engine:
            yield engine

    # -- what it serves -------------------------------------------------------------------------------

    async def _serve(self, client: Client, stack: AsyncExitStack, supervisor: Supervisor) -> None:
        settings = self._settings
        if settings.health is not None:
            application = health_application({"process": lambda: None}, {"watches": self._problem})
            await stack.enter_async_context(serving(settings.health, application))
        if settings.metrics is not None:
            await stack.enter_async_context(serving(settings.metrics, metrics_application(self._render)))
        if settings.webhook is not None:
            certificate = await stack.enter_async_context(
                webhook_certificate(
                    client, settings.namespace, settings.webhook, supervisor, stores=not settings.read_only
                )
            )
            application = webhook_application(admit)
            await stack.enter_async_context(serving(settings.webhook.address, application, certificate.context))

    def _problem(self) -> str | None:
        """What keeps the leader from being ready; a replica that waits to lead is ready."""
        watched = [one.problems for one in (self._store, self._jobs) if one is not None]
        return "; ".join(problem for problems in watched for problem in problems) or None

    def _render(self) -> bytes:
        return self._metrics.render()

    def _count_request(self, sample: Sample) -> None:
        self._metrics.count_request(sample.verb, sample.code)

    def _add_gauges(self) -> None:
        self._metrics.follow_queue(self._queue_statistics)
        self._metrics.gauge(
            "dbtether_postgres_connections", "Open connections to each DBCluster", ("cluster",), self._connections
        )
        self._metrics.gauge(
            "dbtether_resources", "Resources by kind and phase", ("kind", "phase"), self._resources_by_phase
        )
        self._metrics.gauge(
            "dbtether_last_successful_backup_timestamp_seconds",
            "When the last good backup of a BackupSchedule ended",
            schedulegauges.LABELS,
            lambda: schedulegauges.last_successes(self._schedules()),
        )
        self._metrics.gauge(
            "dbtether_last_verified_restore_timestamp_seconds",
            "When a restore drill of a BackupSchedule last proved a backup",
            schedulegauges.LABELS,
            lambda: schedulegauges.last_verified(self._schedules()),
        )
        self._metrics.gauge(
            "dbtether_verification_failed",
            "1 while the last restore drill of a BackupSchedule failed, or gets to no end",
            schedulegauges.LABELS,
            lambda: schedulegauges.verification_failed(self._schedules()),
        )
        self._metrics.gauge(
            "dbtether_backup_overdue",
            "1 while the last good backup of a BackupSchedule is older than its alertAfter",
            schedulegauges.LABELS,
            lambda: schedulegauges.overdue(self._schedules(), datetime.now(UTC)),
        )

    def _queue_statistics(self) -> QueueStatistics:
        return self._engine.loop.queue_statistics if self._engine is not None else _NOTHING_QUEUED

    def _connections(self) -> Iterable[tuple[tuple[str, ...], float]]:
        if self._engine is None:
            return []
        servers = self._engine.world.servers.opened()
        return [((name,), server.pool.open_connections) for name, server in sorted(servers.items())]

    def _schedules(self) -> Iterable[Resource]:
        return [] if self._store is None else self._store.cached("BackupSchedule")

    def _resources_by_phase(self) -> Iterable[tuple[tuple[str, ...], float]]:
        if self._store is None:
            return []
        return by_phase({kind: [r.status for r in self._store.cached(kind)] for kind in KINDS})


async def run_operator(settings: OperatorSettings, connection: Connection) -> None:
    """Run an operator until cancelled. Raises what a part of it died of."""
    await Operator(settings).run(connection)
