"""Writes Events (`events.k8s.io/v1`): equal ones in a row become one series, and none holds up a reconcile.

Kubernetes: API reference, "Event v1 events.k8s.io". Events are for people: what cannot be written is
logged and dropped.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Never

from dbtether.api.resource import Resource
from dbtether.errors import StateError
from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import NotFound
from dbtether.runtime.kube.requests import EVENTS, create, merge_patch
from dbtether.runtime.store import EventType

logger = logging.getLogger(__name__)

REPORTING_CONTROLLER = "dbtether.io/operator"

# The limits that the API server enforces.
_NOTE_BYTES = 1024
_REASON_LENGTH = 128
_WAITING = 1_000
_REMEMBERED = 5_000
# An Event lives for an hour by default, so a series that goes on is told of long before.
_SERIES_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class _Fact:
    """What an Event tells, about whom."""

    resource: Resource
    api_version: str
    type: EventType
    reason: str
    note: str

    @property
    def namespace(self) -> str:
        # Events about cluster-scoped objects live in this namespace.
        return self.resource.key.namespace or "default"

    def tells_the_same_as(self, other: "_Fact") -> bool:
        return (self.type, self.reason, self.note) == (other.type, other.reason, other.note)


@dataclass(slots=True)
class _Series:
    """The latest Event of a resource, and how often it happened."""

    fact: _Fact
    name: str
    count: int
    written: datetime


class EventRecorder:
    """Takes Events and writes them one after the other; `run` it as a supervised task."""

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        may_write: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._instance = instance[:_REASON_LENGTH]
        self._may_write = may_write
        self._now = now
        self._latest: OrderedDict[str, _Series] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[_Fact, datetime]] = asyncio.Queue(_WAITING)
        self.dropped = 0
        """How many Events were never written."""

    def record(self, resource: Resource, api_version: str, type_: EventType, reason: str, message: str) -> None:
        """Have the Event written soon; when too many wait it is dropped."""
        fact = _Fact(resource, api_version, type_, reason[:_REASON_LENGTH], _shortened(message, _NOTE_BYTES))
        try:
            self._waiting.put_nowait((fact, self._now()))
        except asyncio.QueueFull:
            self.dropped += 1

    async def written(self) -> None:
        """Wait until all Events taken so far are written or dropped."""
        await self._waiting.join()

    async def run(self) -> Never:
        """Write Events until cancelled."""
        while True:
            fact, moment = await self._waiting.get()
            try:
                if self._may_write():
                    await self._write(fact, moment)
                else:
                    self.dropped += 1
            except StateError as error:
                self.dropped += 1
                logger.warning("an Event about %s was not written: %s", fact.resource.key, error)
            finally:
                self._waiting.task_done()

    async def _write(self, fact: _Fact, moment: datetime) -> None:
        uid = fact.resource.uid
        series = self._latest.get(uid)
        if series is None or not series.fact.tells_the_same_as(fact):
            await self._create(fact, moment)
            return
        self._latest.move_to_end(uid)
        series.count += 1
        seconds = (moment - series.written).total_seconds()
        # The second one at once, so that people see that it repeats; then seldom.
        if series.count > 2 and seconds < _SERIES_SECONDS:
            return
        body = {"series": {"count": series.count, "lastObservedTime": _micro_time(moment)}}
        try:
            await self._client.send_raw(merge_patch(EVENTS, fact.namespace, series.name, body))
        except NotFound:
            await self._create(fact, moment)
            return
        series.written = moment

    async def _create(self, fact: _Fact, moment: datetime) -> None:
        name = f"{fact.resource.key.name[:200].rstrip('.-')}.{secrets.token_hex(8)}"
        self._latest[fact.resource.uid] = _Series(fact, name, 1, moment)
        self._latest.move_to_end(fact.resource.uid)
        if len(self._latest) > _REMEMBERED:
            self._latest.popitem(last=False)
        try:
            await self._client.send_raw(create(EVENTS, fact.namespace, self._body(fact, name, moment)))
        except StateError:
            self._latest.pop(fact.resource.uid, None)
            raise

    def _body(self, fact: _Fact, name: str, moment: datetime) -> dict[str, Any]:
        resource = fact.resource
        return {
            "metadata": {"name": name, "namespace": fact.namespace},
            "eventTime": _micro_time(moment),
            "reportingController": REPORTING_CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": fact.type.value,
            "reason": fact.reason,
            "note": fact.note,
            "regarding": {
                "apiVersion": fact.api_version,
                "kind": resource.key.kind,
                "namespace": resource.key.namespace,
                "name": resource.key.name,
                "uid": resource.uid,
                "resourceVersion": resource.resource_version,
            },
        }


def _micro_time(moment: datetime) -> str:
    """Kubernetes' `metav1.MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shortened(text: str, limit_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - 3].decode(errors="ignore") + "\u2026"
