"""A running study's gauges among the metrics that Ray exports, by arm."""

from collections import Counter
from collections.abc import Sequence

from ray.util.metrics import Gauge

from studies.design.spec import StudySpec
from studies.records import TrialRecord, TrialState
from trainers.tasks import TASKS


class Gauges:
    """`ray_tunebench_trials_done`, `_running`, `_failed` and `ray_tunebench_best_objective`, tagged study and arm."""

    def __init__(self, spec: StudySpec, study: str, history: Sequence[TrialRecord]) -> None:
        self._maximize = TASKS[spec.task].direction == "maximize"
        self._done, self._failed, self._running = Counter[str](), Counter[str](), Counter[str]()
        self._best: dict[str, float] = {}

        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"tunebench_{name}", description, tag_keys=("study", "arm")).set_default_tags(
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
        for arm in spec.arms:
            self._show(arm.name)

    def running(self, arm: str, change: int) -> None:
        """Count `change` more trials of the arm as under way."""
        self._running[arm] += change
        self._show(arm)

    def finished(self, record: TrialRecord) -> None:
        self._count(record)
        self._show(record.arm)

    def _count(self, record: TrialRecord) -> None:
        self._done[record.arm] += 1
        self._failed[record.arm] += record.state is TrialState.FAILED
        if record.objective is not None:
            best = self._best.get(record.arm, record.objective)
            self._best[record.arm] = (max if self._maximize else min)(best, record.objective)

    def _show(self, arm: str) -> None:
        tags = {"arm": arm}
        self._gauges["done"].set(self._done[arm], tags)
        self._gauges["running"].set(self._running[arm], tags)
        self._gauges["failed"].set(self._failed[arm], tags)
        if arm in self._best:
            self._gauges["best"].set(self._best[arm], tags)
