"""Best-so-far: the best objective of a run up to each of its trials."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from studies.analysis import stats
from studies.analysis.estimate import NONE, Estimate
from studies.design.spec import StudySpec
from studies.records import Outcome, RunRecord, TrialRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Finished = TypeVar("Finished", bound=Outcome)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The runs of one arm, row `r - 1` for run `r`, column `t - 1` for trial `t`.

    `best` is `(runs, trials)`: the best objective of the run's first `t` trials, NaN before its first trial with an
    objective and after its last finished trial. `incumbent` is the trial that has it, counted from 1; 0 if there is
    none. `done` is `(runs,)`: the number of finished trials of the run, failed ones included.
    """

    arm: str
    best: Floats
    incumbent: Ints
    done: Ints

    @property
    def n(self) -> Ints:
        """The number of runs that have a value after each trial: `(trials,)`."""
        return np.asarray((~np.isnan(self.best)).sum(axis=0), dtype=np.int64)

    @property
    def runs(self) -> list[list[float]]:
        """Each run up to its last finished trial, NaN before its first trial with an objective."""
        return [row[:done] for row, done in zip(self.best.tolist(), self.done.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Centre:
    """The number of runs that have a value after a trial, and their median, mean and interquartile mean."""

    n: int
    median: Estimate
    mean: Estimate
    iqm: Estimate


def best_so_far(
    objectives: Sequence[float | None], direction: Literal["maximize", "minimize"]
) -> tuple[Floats, Ints]:
    """Return the running best of one run and the trial (from 1) that has it, the earliest of equals.

    None is a failed trial: the incumbent stays; before there is one, the value is NaN and the trial 0. The values at
    trial `t` depend only on the first `t` objectives.
    """
    values = np.array([np.nan if value is None else value for value in objectives], dtype=np.float64)
    best = (np.fmax if direction == "maximize" else np.fmin).accumulate(values) if values.size else values
    before = np.concatenate([[np.nan], best[:-1]])[: values.size]
    takes_over = ~np.isnan(best) & (np.isnan(before) | (best != before))
    trial = np.arange(1, values.size + 1)
    holder = np.maximum.accumulate(np.where(takes_over, trial, 0)) if values.size else trial
    return best, holder.astype(np.int64)


def runs_of(trials: Sequence[TrialRecord]) -> tuple[RunRecord, ...]:
    """Sort the trials into their runs. Raises ValueError if a run's trials are not numbered 1, 2, ..."""
    return tuple(
        RunRecord(arm=arm, run=run, trials=tuple(its)) for (arm, run), its in sorted(_by_run(trials).items())
    )


def curves_of(
    arm: str,
    trials: Iterable[Outcome],
    shape: tuple[int, int],
    direction: Literal["maximize", "minimize"],
) -> Curves:
    """Return the best-so-far curves of `arm` in a study of `shape` (runs, trials), finished or not.

    Raises ValueError if a trial lies outside `shape`, is a duplicate or has a gap before it.
    """
    best, incumbent = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    done = np.zeros(shape[0], dtype=np.int64)
    for (_, run), its in _by_run([trial for trial in trials if trial.arm == arm]).items():
        length = len(its)
        if not (1 <= run <= shape[0] and length <= shape[1]):
            study = f"a study of {shape[0]} runs x {shape[1]} trials"
            raise ValueError(f"{arm} run {run} with {length} trials is outside {study}")
        objectives = [trial.objective for trial in its]
        row = run - 1
        best[row, :length], incumbent[row, :length] = best_so_far(objectives, direction)
        done[row] = length
    return Curves(arm=arm, best=best, incumbent=incumbent, done=done)


def of_study(spec: StudySpec, trials: Iterable[Outcome]) -> dict[str, Curves]:
    """Return the curves of every arm, in the study's order. Raises ValueError as `curves_of` does."""
    trials, direction = list(trials), spec.task_definition().direction
    return {m.name: curves_of(m.name, trials, (spec.runs, spec.trials), direction) for m in spec.arms}


def centre(curves: Curves) -> list[Centre]:
    """Return the centre of the runs after each trial that any of them has done."""
    columns = curves.best.T[: curves.done.max()]
    present = [column[~np.isnan(column)] for column in columns]
    return [Centre(v.size, stats.median(v), stats.mean(v), stats.interquartile_mean(v)) for v in present]


def means(values: Floats) -> list[Estimate]:
    """Return the mean over the runs after each trial, from values `(runs, trials)`; none if a run has no value."""
    return [NONE if np.isnan(column).any() else stats.mean(column) for column in values.T]


def bands(values: Floats) -> list[Estimate]:
    """Return the same means, with intervals that hold at all trials at once with the nominal level.

    Bonferroni's: each is Student's t interval for its share of the error; trials between which no run changes have one
    share. A critical value from the correlations of 6 to 20 skewed runs is smaller, but such bands hold in 80 to 90 %.
    """
    there = values[:, ~np.isnan(values).any(axis=0)]
    distinct = max(1, np.unique(there, axis=1).shape[1])
    level = 1 - (1 - stats.LEVEL) / distinct
    found = [NONE if np.isnan(column).any() else stats.mean(column, level) for column in values.T]
    return [replace(e, level=stats.LEVEL) if e.level is not None else e for e in found]


def _by_run(trials: Iterable[Finished]) -> dict[tuple[str, int], list[Finished]]:
    runs: dict[tuple[str, int], list[Finished]] = {}
    for trial in sorted(trials, key=lambda trial: trial.trial):
        runs.setdefault((trial.arm, trial.run), []).append(trial)
    for (arm, run), its in runs.items():
        numbers = [trial.trial for trial in its]
        if numbers != list(range(1, len(its) + 1)):
            raise ValueError(
                f"{arm} run {run}: trials must be numbered 1, 2, ... without a gap, got {numbers}"
            )
    return runs
