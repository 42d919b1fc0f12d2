"""Progress of a study in the terminal: one bar per arm, with the best so far and the time left."""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

from service.commands.terminal import plain, say
from studies.analysis.failures import commonest
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord
from studies.results.wording import value
from trainers.tasks import TASKS

if TYPE_CHECKING:
    from service.schemas import Trial

LINE_SECONDS = 15.0  # between lines in a log file, which shows no bars


class _Bars(Progress):
    """Bars that leave room for the ^C that a terminal prints: if it wrapped, an old bar would stay on the screen."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self._on = console
        super().__init__(*columns, console=console, disable=not console.is_terminal)

    def get_renderable(self) -> RenderableType:
        return Constrain(super().get_renderable(), max(self._on.width - len("^C") - 1, 1))


class StudyProgress:
    """A context in which to call it with each finished trial and confirmation, starting with those done before.

    Each arm has `trials` trials; `before` trials of all arms are done. The time left is estimated from the others, from
    the start of the first of them, and restarted whenever the state changes, so that waiting does not count.
    """

    def __init__(
        self,
        arms: Sequence[str],
        trials: int,
        *,
        metric: str,
        maximize: bool,
        before: int,
        console: Console,
    ) -> None:
        self._metric = metric
        self._total, self._maximize, self._before, self._console = trials, maximize, before, console
        self._done, self._state = dict.fromkeys(arms, 0), ""
        self._failures: set[str] = set()
        self._confirmations = 0
        self._best: dict[str, dict[int, float]] = defaultdict(dict)
        self._start, self._last_line = 0.0, time.monotonic()
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
        )
        width = max(map(len, arms))
        self._tasks = {
            arm: self._bars.add_task(
                plain(arm).ljust(width), total=trials, best=self._best_text(arm), left=""
            )
            for arm in arms
        }

    @classmethod
    def of(cls, study: StudyRecord, console: Console) -> Self:
        """Return the progress of a study in a local database."""
        task = TASKS[study.task]
        return cls(
            tuple(study.arms),
            study.runs * study.budget,
            metric=task.metric,
            maximize=task.direction == "maximize",
            before=study.trials,
            console=console,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, trial: "TrialRecord | Trial | ConfirmationRecord") -> None:
        if isinstance(trial, ConfirmationRecord):
            self._confirmed()
            return
        self._done[trial.arm] += 1
        self._tell_failure(trial)
        if trial.objective is not None:
            best = self._best[trial.arm]
            choose = max if self._maximize else min
            best[trial.run] = choose(best.get(trial.run, trial.objective), trial.objective)
        done = sum(self._done.values())
        if trial.taken_from and done > self._before:
            self._before += 1  # it took no time here
        elif done == self._before + 1:
            self._start = time.monotonic() - trial.suggest_seconds - trial.train_seconds
        self._show(trial.arm, self._left(done))
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            parts = [f"{m} {n}/{self._total}, {self._best_text(m)}" for m, n in self._done.items()]
            say("; ".join(filter(None, [*parts, self._left(done)])), self._console)

    def _confirmed(self) -> None:
        """Count a confirmation. Their total is known only once all runs are over."""
        self._confirmations += 1
        if self._confirmations == 1:
            self._confirming = self._bars.add_task("confirmations", total=None, best="", left="")
        self._bars.update(self._confirming, completed=self._confirmations)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            say(f"confirming incumbents, {self._confirmations} trainings so far", self._console)

    def state(self, text: str) -> None:
        """Show what the study is doing, beside its bars, until the next trial."""
        if text != self._state:
            self._before = max(self._before, sum(self._done.values()))
        for arm in self._tasks:
            self._show(arm, text)
        if not self._console.is_terminal and text != self._state:
            say(text, self._console)
        self._state = text

    def note(self, text: str) -> None:
        """Print a line that stays."""
        say(text, self._console)

    def _tell_failure(self, trial: "TrialRecord | Trial") -> None:
        """Print why the trial failed, unless an earlier one failed with the same kind of error."""
        for failure in commonest([trial]):
            if (kind := failure.kind) not in self._failures:
                self._failures.add(kind)
                say(
                    f"{trial.arm}, run {trial.run} trial {trial.trial} failed: {failure.error}",
                    self._console,
                )

    def _show(self, arm: str, left: str) -> None:
        done = self._done[arm]
        self._bars.update(
            self._tasks[arm],
            completed=done,
            best=self._best_text(arm),
            left="done" if done == self._total else plain(left),
        )

    def _best_text(self, arm: str) -> str:
        if not self._best[arm]:
            return "no result yet"
        return f"best so far {value(median(self._best[arm].values()), self._metric)} (median run)"

    def _left(self, done: int) -> str:
        if done <= self._before:
            return ""
        since = time.monotonic() - self._start
        seconds = round((len(self._done) * self._total - done) * since / (done - self._before))
        return f"{timedelta(seconds=seconds)} left"
