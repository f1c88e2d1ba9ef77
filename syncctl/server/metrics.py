"""What /metrics shows of the fleet."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncctl.core.exits import ExitCode
from syncctl.operations.figures import Figures


class FleetCollector(Collector):
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
            "When the last pass with exit code 0 ended, of shards that of the one furthest behind; 0: none",
            success,
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
