"""Leader election: of several replicas one works, by a Lease that it renews.

Kubernetes: "Leases"; the algorithm is that of client-go's leaderelection. No wall clock is ever compared:
who waits counts from when it saw the Lease change, who leads counts from before it sent its renewal. The
leader stops `duration - renew_deadline` before anybody else may start. A process that was stopped
(SIGSTOP, a frozen machine) finds on waking that its time is over, since the clock went on: `holds` says
so before its own timers had a chance to run.
"""

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec

from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import NotFound, NotLeader
from dbtether.runtime.kube.requests import LEASES, Request, create, get, replace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The numbers of an election; those of client-go."""

    duration_seconds: float = 15.0
    """How long after a leader's last sign of life another may take over."""
    renew_deadline_seconds: float = 10.0
    """How long after its last renewal a leader may work."""
    retry_seconds: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        """Raises ValueError when the numbers allow two leaders, or no second attempt."""
        longest_retry = self.retry_seconds * (1 + self.jitter)
        if not 0 < 2 * longest_retry < self.renew_deadline_seconds < self.duration_seconds:
            raise ValueError("a lease needs 0 < 2 x retry < renew deadline < duration")

    @property
    def call_seconds(self) -> float:
        """The time-out of one renewal: a hanging one must leave time for another."""
        return self.renew_deadline_seconds / 3

    @property
    def end_seconds(self) -> float:
        """How long the work of a leader that lost its lease may take to end, before another may begin."""
        return 0.8 * (self.duration_seconds - self.renew_deadline_seconds)


def end_process() -> None:
    """End this process here and now: nothing in it runs any more, not even what hangs."""
    logging.shutdown()
    os._exit(1)


def running_clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock (clock_gettime(2))."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class _LeaseSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _LeaseMetadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str
    resource_version: str = ""
    uid: str = ""


class _Lease(msgspec.Struct):
    metadata: _LeaseMetadata
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


class Lease:
    """One candidate of an election."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        settings: LeaseSettings | None = None,
        *,
        clock: Callable[[], float] = running_clock,
        chance: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        end: Callable[[], None] = end_process,
    ) -> None:
        """`identity` must be no other replica's, nor that of an earlier life of this one.

        The client should be the lease's own: a renewal must not queue behind the calls of controllers.
        `end` is called when work that has lost the lease does not end in time.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._settings = settings or LeaseSettings()
        self._clock = clock
        self._chance = chance
        self._now = now
        self._end = end
        self._lease: _Lease | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None

    def holds(self) -> bool:
        """Whether this replica may write at this very moment; ask before each write."""
        return self._renewed_at is not None and self._clock() < self._renewed_at + self._settings.renew_deadline_seconds

    @property
    def holder(self) -> str:
        """Who leads, as far as we saw."""
        return (self._lease.spec.holder_identity if self._lease else None) or ""

    async def lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the lease, then run the work while it is held, and give it back when the work ends.

        Raises NotLeader when the lease was lost, after the cancelled work has ended: the process should
        end as well, since nobody can know what a half-stopped one still does. Work that does not end before
        another replica may begin is ended with the process.
        """
        await self.acquire()
        working = asyncio.create_task(work(), name="work of the leader")
        renewing = asyncio.create_task(self._renew_until_lost(), name=f"renewal of lease {self._name}")
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First no more writes, then the work's end, and only then may somebody else begin.
            await self._stop(working, renewing)
            is_lost = renewing.done()
            await _end(renewing)
            if not is_lost:
                await self.release()
        if is_lost:
            renewing.result()
        working.result()

    async def _stop(self, working: asyncio.Task[None], renewing: asyncio.Task[None]) -> None:
        """End the work: without haste while the lease is renewed, in time for the next leader once it is lost."""
        if renewing.done():
            self._renewed_at = None
        working.cancel()
        await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            self._renewed_at = None
            await asyncio.wait({working}, timeout=self._settings.end_seconds)
        if not working.done():
            logger.critical(
                "lease %s/%s is lost and the work did not end within %g s: this process ends now",
                self._namespace,
                self._name,
                self._settings.end_seconds,
            )
            self._end()
        await _end(working)

    async def acquire(self) -> None:
        """Wait until this replica holds the lease."""
        while True:
            started = self._clock()
            try:
                if await self._try_to_take():
                    self._renewed_at = started
                    logger.info("lease %s/%s: this replica leads now", self._namespace, self._name)
                    return
            except StateError as error:
                logger.warning("lease %s/%s cannot be taken: %s", self._namespace, self._name, error)
            await asyncio.sleep(self._retry_seconds())

    async def release(self) -> None:
        """Let another replica take over at once. It is no error when this fails: the lease runs out."""
        if not self.holds() or self._lease is None:
            self._renewed_at = None
            return
        self._renewed_at = None
        spec = msgspec.structs.replace(
            self._lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=_micro_time(self._now())
        )
        try:
            await self._put(spec)
        except StateError as error:
            logger.warning("lease %s/%s was not given back: %s", self._namespace, self._name, error)

    # -- taking ---------------------------------------------------------------------------------------

    async def _try_to_take(self) -> bool:
        """Whether we hold it now. Raises StateError."""
        try:
            found = await self._send(get(LEASES, self._namespace, self._name))
        except NotFound:
            self._lease = await self._send(create(LEASES, self._namespace, self._body(self._taken(None), None)))
            return True
        self._observe(found)
        if not self._is_free(found):
            return False
        await self._put(self._taken(found.spec))
        return True

    def _observe(self, found: _Lease) -> None:
        """Note when the Lease last changed, by our own clock."""
        known = self._lease
        if known is None or known.metadata.resource_version != found.metadata.resource_version:
            self._lease = found
            self._seen_at = self._clock()

    def _is_free(self, found: _Lease) -> bool:
        if not found.spec.holder_identity or found.spec.holder_identity == self._identity:
            return True
        # What the holder announced counts, if it is longer than ours: replicas of two versions may meet.
        seconds = max(self._settings.duration_seconds, found.spec.lease_duration_seconds or 0)
        return self._clock() >= self._seen_at + seconds

    def _taken(self, before: _LeaseSpec | None) -> _LeaseSpec:
        moment = _micro_time(self._now())
        transitions = 0 if before is None else (before.lease_transitions or 0) + 1
        return _LeaseSpec(self._identity, ceil(self._settings.duration_seconds), moment, moment, transitions)

    # -- holding --------------------------------------------------------------------------------------

    async def _renew_until_lost(self) -> None:
        """Renew for ever. Raises NotLeader when the deadline passed, or when somebody else holds it."""
        while True:
            await asyncio.sleep(min(self._retry_seconds(), self._seconds_left()))
            if not self.holds():
                raise NotLeader(f"lease {self._namespace}/{self._name} was not renewed in time")
            # The deadline is met also when calls hang: what is under way at that moment is given up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_left()):
                    await self._renew_or_look()

    async def _renew_or_look(self) -> None:
        """Renew once; when that fails, see whose the Lease is. Raises NotLeader when it is another's."""
        lease = self._lease
        assert lease is not None, "only what was acquired is renewed"
        started = self._clock()
        try:
            await self._put(msgspec.structs.replace(lease.spec, renew_time=_micro_time(self._now())))
        except StateError as error:
            logger.warning("lease %s/%s was not renewed: %s", self._namespace, self._name, error)
            await self._check_whether_taken()
        else:
            self._renewed_at = started

    async def _check_whether_taken(self) -> None:
        """After a failed renewal, see whose the Lease is. Raises NotLeader when it is another's."""
        try:
            found = await self._send(get(LEASES, self._namespace, self._name))
        except StateError:
            return
        if found.spec.holder_identity != self._identity:
            self._lease = found
            raise NotLeader(f"lease {self._namespace}/{self._name} is held by {found.spec.holder_identity or 'nobody'}")
        # Our own renewal, whose answer was lost, or an edit of its labels.
        self._lease = found

    def _seconds_left(self) -> float:
        """Until the work must stop."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._settings.renew_deadline_seconds - self._clock())

    # -- requests -------------------------------------------------------------------------------------

    async def _put(self, spec: _LeaseSpec) -> None:
        lease = self._lease
        assert lease is not None, "only a Lease that was seen is replaced"
        request = replace(LEASES, self._namespace, self._name, self._body(spec, lease.metadata))
        self._lease = await self._send(request)
        self._seen_at = self._clock()

    async def _send(self, request: Request) -> _Lease:
        return await self._client.send(request, _Lease, timeout_seconds=self._settings.call_seconds)

    def _body(self, spec: _LeaseSpec, metadata: _LeaseMetadata | None) -> dict[str, Any]:
        known = metadata or _LeaseMetadata(self._name, self._namespace)
        return {"metadata": msgspec.to_builtins(known), "spec": msgspec.to_builtins(spec)}

    def _retry_seconds(self) -> float:
        return self._settings.retry_seconds * (1 + self._settings.jitter * self._chance())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        # Without this look asyncio would report the error as never seen.
        task.exception()


def _micro_time(moment: datetime) -> str:
    """Kubernetes' `metav1.MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
