"""Counts for Prometheus, in a registry of their own; none of them holds content."""

from __future__ import annotations

from collections.abc import Callable

from sensorium.errors import SensoriumError

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What a server counts.

    Args:
        pending: how many requests are accepted and not yet answered.
    """

    def __init__(self, pending: Callable[[], int]) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ModuleNotFoundError as error:
            raise SensoriumError('serving needs more packages: pip install "sensorium[serve]"') from error
        self.registry = CollectorRegistry()
        self.calls = Counter("sensorium_calls", "Calls by verb and outcome.", ["verb", "outcome"],
                             registry=self.registry)
        self.seconds = Histogram("sensorium_call_seconds", "From acceptance to answer.", ["verb"], buckets=SECONDS,
                                 registry=self.registry)
        self.model_seconds = Histogram("sensorium_model_seconds", "One batch in the model.", ["verb"], buckets=SECONDS,
                                       registry=self.registry)
        self.batch_rows = Histogram("sensorium_batch_rows", "Rows that the model read together.", buckets=ROWS,
                                    registry=self.registry)
        self.unreadable = Counter("sensorium_unreadable_cells", "Cells that could not be read.",
                                  registry=self.registry)
        self.responses = Counter("sensorium_http_responses", "HTTP answers by route and status.", ["route", "status"],
                                 registry=self.registry)
        Gauge("sensorium_pending_calls", "Calls that are accepted and not yet answered.",
              registry=self.registry).set_function(pending)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
