"""A running study's figures for the metrics that Ray exports, by method."""

from collections import Counter
from collections.abc import Sequence

from ray.util.metrics import Gauge

from studies.design.spec import StudySpec
from studies.records import TrialRecord, TrialState
from trainers.tasks import TASKS


class Gauges:
    """`ray_tunebench_trials_done`, `_running`, `_failed`, `ray_tunebench_best_objective`, tagged study and method."""

    def __init__(self, spec: StudySpec, study: str, history: Sequence[TrialRecord]) -> None:
        self._maximize = TASKS[spec.task].direction == "maximize"
        self._done, self._failed, self._running = Counter[str](), Counter[str](), Counter[str]()
        self._best: dict[str, float] = {}

        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"tunebench_{name}", description, tag_keys=("study", "method")).set_default_tags(
                {"study": study}
            )

        self._gauges = {
            "done": gauge("trials_done", "Trials that have finished, in whatever state."),
            "running": gauge("trials_running", "Trials that are under way on a worker."),
            "failed": gauge("trials_failed", "Trials that have crashed more often than they may be retried."),
            "best": gauge("best_objective", "The best objective of any run so far."),
        }
        for record in history:
            self._count(record)
        for method in spec.methods:
            self._show(method.name)

    def running(self, method: str, change: int) -> None:
        """So many more trials of the method are under way."""
        self._running[method] += change
        self._show(method)

    def finished(self, record: TrialRecord) -> None:
        self._count(record)
        self._show(record.method)

    def _count(self, record: TrialRecord) -> None:
        self._done[record.method] += 1
        self._failed[record.method] += record.state is TrialState.FAILED
        if record.objective is not None:
            best = self._best.get(record.method, record.objective)
            self._best[record.method] = (max if self._maximize else min)(best, record.objective)

    def _show(self, method: str) -> None:
        tags = {"method": method}
        self._gauges["done"].set(self._done[method], tags)
        self._gauges["running"].set(self._running[method], tags)
        self._gauges["failed"].set(self._failed[method], tags)
        if method in self._best:
            self._gauges["best"].set(self._best[method], tags)
