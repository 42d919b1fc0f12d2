"""Progress of a study in the terminal: one bar a method, with the best so far and the time left."""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from studies.records import TrialRecord
from studies.spec import StudySpec
from trainers.tasks import TASKS

LINE_SECONDS = 15.0  # how often a log file, which shows no bars, gets a line


class StudyProgress:
    """Call it with each finished trial, inside its context."""

    def __init__(self, spec: StudySpec, history: Sequence[TrialRecord], console: Console) -> None:
        self._spec, self._console = spec, console
        self._maximize = TASKS[spec.task].direction == "maximize"
        self._total = spec.runs * spec.trials
        self._done = {method.name: 0 for method in spec.methods}
        self._best: dict[str, dict[int, float]] = defaultdict(dict)
        for trial in history:
            self._count(trial)
        self._before = sum(self._done.values())
        self._start = self._last_line = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        width = max(map(len, self._done))
        self._tasks = {
            method: self._bars.add_task(
                method.ljust(width),
                total=self._total,
                completed=done,
                best=self._best_text(method),
                left="starting",
            )
            for method, done in self._done.items()
        }

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, trial: TrialRecord) -> None:
        self._count(trial)
        left = self._left()
        self._bars.update(
            self._tasks[trial.method],
            completed=self._done[trial.method],
            best=self._best_text(trial.method),
            left="done" if self._done[trial.method] == self._total else left,
        )
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            parts = [f"{m} {done}/{self._total}, {self._best_text(m)}" for m, done in self._done.items()]
            self._console.print("; ".join([*parts, left]), soft_wrap=True)

    def _count(self, trial: TrialRecord) -> None:
        self._done[trial.method] += 1
        if trial.objective is None:
            return
        choose = max if self._maximize else min
        best = self._best[trial.method]
        best[trial.run] = choose(best.get(trial.run, trial.objective), trial.objective)

    def _best_text(self, method: str) -> str:
        if not self._best[method]:
            return "no result yet"
        return f"best so far {median(self._best[method].values()):.1%} (median run)"

    def _left(self) -> str:
        done = sum(self._done.values())
        rate = (done - self._before) / (time.monotonic() - self._start)
        seconds = round((len(self._done) * self._total - done) / rate)
        return f"{timedelta(seconds=seconds)} left"
