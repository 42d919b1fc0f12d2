"""Metrics for Prometheus: requests from memory, the queue and the trials from the database."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.api.stream import Streams
from service.database.store import Store
from service.errors import DatabaseError
from service.records import QUEUED
from studies.records import StudyState

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one app."""

    def __init__(self, store: Store, streams: Streams) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "tunebench_http_requests",
            "Requests answered, by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tunebench_http_request_seconds",
            "Seconds from a request to the start of its answer.",
            ("route", "method"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Stored(store, streams))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. `route` is the route's template, so that there are no more labels than routes."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format. Queries the database, so it must not run on the event loop."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """Metrics read from the database when Prometheus asks. Gauges only: deleting a study lowers its numbers."""

    def __init__(self, store: Store, streams: Streams) -> None:
        self._store, self._streams = store, streams

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # else registering would query the database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "tunebench_event_streams", "Open event streams and followed logs.", self._streams.open
        )
        try:
            found = self._store.totals()
        except DatabaseError:
            yield GaugeMetricFamily("tunebench_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("tunebench_database_up", "Whether the database answers.", 1)
        states = GaugeMetricFamily("tunebench_studies", "Studies by state.", labels=["state"])
        for study_state in StudyState:
            states.add_metric([study_state], found.studies.get(study_state, 0))
        yield states
        yield GaugeMetricFamily(
            "tunebench_queue_depth", "Studies that wait to run.", found.studies.get(QUEUED, 0)
        )
        yield GaugeMetricFamily(
            "tunebench_queue_lag_seconds", "Seconds that the first queued study has waited.", found.waited
        )
        trials = GaugeMetricFamily("tunebench_trials", "Finished trials by state.", labels=["state"])
        for trial_state, total in found.trials.items():
            trials.add_metric([trial_state], total)
        yield trials
        yield GaugeMetricFamily(
            "tunebench_trials_taken_over",
            "Finished trials that another study has trained.",
            found.taken_over,
        )
        yield GaugeMetricFamily(
            "tunebench_suggest_seconds", "Seconds spent choosing trials.", found.suggest_seconds
        )
        yield GaugeMetricFamily(
            "tunebench_train_seconds", "Seconds spent training trials.", found.train_seconds
        )
