"""What Prometheus is told: requests from memory, the queue and the trials from the database."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select

from service.database import now, reading
from service.errors import DatabaseError
from service.events import EventKind
from service.states import QUEUED
from service.stream import Streams
from service.tables import events, studies
from studies.records import StudyState, TrialState

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one app."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
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
        self._registry.register(_Stored(engine, streams))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the route's template, so that there are as many as there are routes."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format. Asks the database, so not for the event loop."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """What is true at the moment of asking. A study that is deleted takes its numbers along, hence only gauges."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # or the database would be asked while the app is made

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "tunebench_event_streams", "Open event streams and followed logs.", self._streams.open
        )
        counts = {TrialState.COMPLETED: studies.c.completed, TrialState.DIVERGED: studies.c.diverged}
        counts[TrialState.FAILED] = studies.c.failed
        sums = [func.sum(column) for column in counts.values()]
        seconds = [func.sum(studies.c.suggest_seconds), func.sum(studies.c.train_seconds)]
        by_state = select(studies.c.state, func.count(), *sums, *seconds).group_by(studies.c.state)
        # queued by its last change of state, which is among its last events
        changes = select(events.c.time).where(
            events.c.study == studies.c.id, events.c.kind == EventKind.STATE
        )
        queued = changes.order_by(events.c.number.desc()).limit(1).scalar_subquery()
        oldest = select(func.min(queued)).where(studies.c.state == QUEUED)
        try:
            with reading(self._engine) as connection:
                rows = connection.execute(by_state).all()
                since = connection.scalar(oldest)
                lag = 0.0 if since is None else max((now(connection) - since).total_seconds(), 0.0)
        except DatabaseError:
            yield GaugeMetricFamily("tunebench_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("tunebench_database_up", "Whether the database answers.", 1)
        found = {row[0]: row[1] for row in rows}
        states = GaugeMetricFamily("tunebench_studies", "Studies by state.", labels=["state"])
        for study_state in StudyState:
            states.add_metric([study_state], found.get(study_state, 0))
        yield states
        yield GaugeMetricFamily("tunebench_queue_depth", "Studies that wait to run.", found.get(QUEUED, 0))
        yield GaugeMetricFamily("tunebench_queue_lag_seconds", "How long the first of them has waited.", lag)
        totals = [sum(row[2 + i] for row in rows) for i in range(5)]
        trials = GaugeMetricFamily("tunebench_trials", "Finished trials by state.", labels=["state"])
        for trial_state, total in zip(counts, totals, strict=False):
            trials.add_metric([trial_state], total)
        yield trials
        yield GaugeMetricFamily("tunebench_suggest_seconds", "Seconds spent to choose them.", totals[3])
        yield GaugeMetricFamily("tunebench_train_seconds", "Seconds spent to train them.", totals[4])
