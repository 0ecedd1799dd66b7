"""What the operator counts, in Prometheus' form. Every label value is there from the start, at 0."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dbtether.api.resource import Key
from dbtether.runtime.outcomes import OutcomeLabel, RotationOutcome
from dbtether.runtime.queue import QueueStatistics

_DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Samples = Callable[[], Iterable[tuple[tuple[str, ...], float]]]
"""Label values and number of each sample, read when somebody scrapes."""


class Metrics:
    """The registry of one operator process."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._registry = CollectorRegistry()
        self._reconciles = Counter(
            "dbtether_reconciles_total", "Reconciles by kind and outcome", ("kind", "outcome"), registry=self._registry
        )
        self._durations = Histogram(
            "dbtether_reconcile_duration_seconds",
            "How long reconciles took",
            ("kind",),
            buckets=_DURATION_BUCKETS,
            registry=self._registry,
        )
        self._rotations = Counter(
            "dbtether_password_rotations_total",
            "Attempts to replace a password by outcome",
            ("outcome",),
            registry=self._registry,
        )
        for rotation in RotationOutcome:
            self._rotations.labels(rotation.value)
        self._leader = Gauge("dbtether_leader", "1 while this process leads", registry=self._registry)
        self._requests = Counter(
            "dbtether_api_requests_total",
            "Requests to the Kubernetes API by verb and status code (0: no answer)",
            ("verb", "code"),
            registry=self._registry,
        )
        for kind in kinds:
            self._durations.labels(kind)
            for outcome in OutcomeLabel:
                self._reconciles.labels(kind, outcome.value)

    def count_reconcile(self, key: Key, outcome: OutcomeLabel, _: BaseException | None, seconds: float) -> None:
        """Take in one reconcile; fits ControlLoop's `on_outcome`."""
        self._reconciles.labels(key.kind, outcome.value).inc()
        self._durations.labels(key.kind).observe(seconds)

    def count_rotation(self, outcome: RotationOutcome) -> None:
        """Take in one attempt to replace a password."""
        self._rotations.labels(outcome.value).inc()

    def count_request(self, verb: str, code: int) -> None:
        """Take in one request to the Kubernetes API."""
        self._requests.labels(verb, str(code)).inc()

    def set_leader(self, leads: bool) -> None:
        """Say whether this process leads."""
        self._leader.set(1 if leads else 0)

    def follow_queue(self, statistics: Callable[[], QueueStatistics]) -> None:
        """Show the queue's depth and latency as they are at each scrape."""
        self.gauge("dbtether_queue_depth", "Keys that are ready and wait", (), lambda: [((), statistics().ready)])
        self.gauge("dbtether_queue_in_work", "Keys in work", (), lambda: [((), statistics().in_work)])
        self.gauge("dbtether_queue_delayed", "Keys that wait for a time", (), lambda: [((), statistics().delayed)])
        self.gauge(
            "dbtether_queue_wait_seconds_sum",
            "Seconds that all keys taken so far had waited",
            (),
            lambda: [((), statistics().waited_seconds_total)],
        )
        self.gauge(
            "dbtether_queue_wait_seconds_count", "Keys taken so far", (), lambda: [((), statistics().taken_total)]
        )

    def gauge(self, name: str, text: str, labels: tuple[str, ...], samples: Samples) -> None:
        """Add a gauge whose samples are read at each scrape."""
        self._registry.register(_Live(name, text, labels, samples))

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Live(Collector):
    def __init__(self, name: str, text: str, labels: tuple[str, ...], samples: Samples) -> None:
        self._name, self._text, self._labels, self._samples = name, text, labels, samples

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._samples():
            family.add_metric(labels, value)
        yield family


def by_phase(statuses: Mapping[str, Iterable[Mapping[str, object]]]) -> list[tuple[tuple[str, ...], float]]:
    """How many resources of each kind are in each phase; 0 as well of those that failed, so that a first one shows."""
    counts: dict[tuple[str, ...], float] = {(kind, "Failed"): 0 for kind in statuses}
    for kind, found in statuses.items():
        for status in found:
            labels = (kind, str(status.get("phase", "Pending")))
            counts[labels] = counts.get(labels, 0) + 1
    return sorted(counts.items())
