"""What /metrics shows. All that knows prometheus_client."""

from collections.abc import Iterable, Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncctl.core.exits import ExitCode
from syncctl.operations.figures import Figures

TEXT_TYPE = CONTENT_TYPE_LATEST
"""The Content-Type of what Metrics.text returns."""

_METHODS = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}


class Metrics:
    """What one server counts, and the fleet's figures beside it."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._fleet = _FleetCollector()
        self._registry.register(self._fleet)
        labels = ("method", "route")
        self._count = Counter(
            "syncctl_http_requests", "Requests by route and status", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "syncctl_http_request_seconds", "From a request's headers to its answer", labels, registry=self._registry
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. All methods that are none count as one: callers may make up any number of them."""
        method = method if method in _METHODS else "other"
        self._count.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, figures: Figures | None) -> bytes:
        """Return all of it in the text format of Prometheus. No figures: the database did not give them."""
        self._fleet.figures = figures
        return generate_latest(self._registry)


class _FleetCollector(Collector):
    """The fleet's figures, as they were read last; None when the database did not give them."""

    figures: Figures | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name nothing beforehand: the database need not be there yet."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; of a database that is away, only that."""
        figures = self.figures
        yield GaugeMetricFamily("syncctl_database_up", "Whether the database answers", float(figures is not None))
        if figures is None:
            return
        yield GaugeMetricFamily("syncctl_clients", "Clients", figures.clients)
        enabled = GaugeMetricFamily("syncctl_algorithms_enabled", "Algorithms switched on", labels=["algorithm"])
        for algorithm, number in figures.enabled.items():
            enabled.add_metric([algorithm], number)
        yield enabled
        success = figures.last_success.finished_at.timestamp() if figures.last_success else 0
        yield GaugeMetricFamily(
            "syncctl_last_successful_pass_timestamp_seconds",
            "When the last pass with exit code 0 or 6 ended, of shards that of the one furthest behind; 0: none",
            success,
        )
        trouble = GaugeMetricFamily(
            "syncctl_pods_in_trouble", "Pods that need a look: a problem, or as asked and unhealthy", labels=["trouble"]
        )
        for kind, found in (("problem", figures.problems), ("unhealthy", figures.unhealthy)):
            if found is not None:
                trouble.add_metric([kind], found)
        yield trouble
        if figures.suspended_down is not None:
            yield GaugeMetricFamily(
                "syncctl_suspended_pods_down",
                "Suspended pods that do not run; among the problems",
                figures.suspended_down,
            )
        begun = [each.started_at.timestamp() for each in figures.suspensions]
        yield GaugeMetricFamily("syncctl_suspensions", "Suspensions in force", len(begun))
        yield GaugeMetricFamily(
            "syncctl_oldest_suspension_timestamp_seconds",
            "When the oldest of them began; 0: none",
            min(begun, default=0),
        )
        if (last := figures.last_pass) is None:
            return
        took = (last.finished_at - last.started_at).total_seconds()
        yield GaugeMetricFamily(
            "syncctl_last_pass_timestamp_seconds", "When the last pass ended", last.finished_at.timestamp()
        )
        yield GaugeMetricFamily("syncctl_last_pass_duration_seconds", "How long it took", took)
        yield GaugeMetricFamily("syncctl_last_pass_exit_code", "Its exit code", last.exit_code)
        outcome = GaugeMetricFamily("syncctl_last_pass_outcome", "1 for its outcome, 0 for others", labels=["outcome"])
        for code in ExitCode:
            outcome.add_metric([code.name.lower()], float(code == last.exit_code))
        yield outcome
        steps = GaugeMetricFamily("syncctl_last_pass_steps", "What became of its steps", labels=["result"])
        for result, number in last.counts.items():
            steps.add_metric([result], number)
        yield steps
