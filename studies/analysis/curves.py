"""Best-so-far: the best objective of a run up to each of its trials."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from studies.analysis import stats
from studies.design.spec import stored
from studies.encoding import number
from studies.records import Outcome, RunRecord, StudyRecord, TrialRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# what `centre` gives beside n: the middle of the runs, its interval and that interval's level
CENTRE = tuple(f"{what}{end}" for what in ("median", "mean") for end in ("", "_low", "_high", "_level"))


Finished = TypeVar("Finished", bound=Outcome)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The runs of one method, row `r - 1` for run `r`, column `t - 1` for trial `t`.

    `best` is `(runs, trials)`: the best objective of the run's first `t` trials, NaN before its first trial
    with an objective and after its last trial done. `incumbent` is the trial holding it, counted from 1, and
    0 where there is none. `done` is `(runs,)`: how many trials of the run are over, failed ones too.
    """

    method: str
    best: Floats
    incumbent: Ints
    done: Ints

    @property
    def n(self) -> Ints:
        """`(trials,)`: how many runs have a value after each trial."""
        return np.asarray((~np.isnan(self.best)).sum(axis=0), dtype=np.int64)


def best_so_far(
    objectives: Sequence[float | None], direction: Literal["maximize", "minimize"]
) -> tuple[Floats, Ints]:
    """Running best of one run and the trial (from 1) that holds it; of equals, the earliest.

    None is a failed trial: the incumbent stays, and before there is one the value is NaN and the holder 0.
    What stands at trial `t` depends on the first `t` objectives only.
    """
    values = np.array([np.nan if value is None else value for value in objectives], dtype=np.float64)
    best = (np.fmax if direction == "maximize" else np.fmin).accumulate(values) if values.size else values
    before = np.concatenate([[np.nan], best[:-1]])[: values.size]
    takes_over = ~np.isnan(best) & (np.isnan(before) | (best != before))
    trial = np.arange(1, values.size + 1)
    holder = np.maximum.accumulate(np.where(takes_over, trial, 0)) if values.size else trial
    return best, holder.astype(np.int64)


def runs_of(trials: Sequence[TrialRecord]) -> tuple[RunRecord, ...]:
    """The trials sorted into their runs. Raises ValueError where a run's trials are not numbered 1, 2, ..."""
    return tuple(
        RunRecord(method=method, run=run, trials=tuple(its))
        for (method, run), its in sorted(_by_run(trials).items())
    )


def curves_of(
    method: str,
    trials: Iterable[Outcome],
    shape: tuple[int, int],
    direction: Literal["maximize", "minimize"],
) -> Curves:
    """The best-so-far curves of `method` in a study of `shape` (runs, trials), finished or not.

    Raises ValueError where a trial lies outside `shape`, is there twice or leaves a gap before it.
    """
    best, incumbent = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    done = np.zeros(shape[0], dtype=np.int64)
    for (_, run), its in _by_run([trial for trial in trials if trial.method == method]).items():
        length = len(its)
        if not (1 <= run <= shape[0] and length <= shape[1]):
            study = f"a study of {shape[0]} runs x {shape[1]} trials"
            raise ValueError(f"{method} run {run} with {length} trials is outside {study}")
        objectives = [trial.objective for trial in its]
        row = run - 1
        best[row, :length], incumbent[row, :length] = best_so_far(objectives, direction)
        done[row] = length
    return Curves(method=method, best=best, incumbent=incumbent, done=done)


def centre(curves: Curves) -> dict[str, list[float]]:
    """After each trial that any run has done: `n` runs with a value, and CENTRE of them, NaN where there is none."""
    columns = curves.best.T[: curves.done.max()]
    present = [column[~np.isnan(column)] for column in columns]
    found: dict[str, list[float]] = {"n": [values.size for values in present]} | {name: [] for name in CENTRE}
    for values in present:
        for what, e in (("median", stats.median(values)), ("mean", stats.mean(values))):
            for end, x in (("", e.value), ("_low", e.low), ("_high", e.high), ("_level", e.level)):
                found[f"{what}{end}"].append(x)
    return found


def as_json(study: StudyRecord, trials: Sequence[Outcome]) -> dict[str, Any]:
    """Every method's best-so-far curves and their middle, JSON values: null is no value, "inf" and "-inf" text.

    `runs` has one list a run, as long as the run's trials done, null before the first with an objective. The other
    lists have one entry a trial that any run has done, the numbers of curves.csv.
    """
    spec = stored(study)
    task = spec.task_definition()
    methods = {}
    for m in spec.methods:
        curves = curves_of(m.name, trials, (spec.runs, spec.trials), task.direction)
        rows = zip(curves.best.tolist(), curves.done.tolist(), strict=True)
        methods[m.name] = {"runs": [[number(value) for value in row[:done]] for row, done in rows]} | {
            name: [number(value) for value in values] for name, values in centre(curves).items()
        }
    return {
        "study": study.id,
        "metric": task.metric,
        "direction": task.direction,
        "runs": spec.runs,
        "trials": spec.trials,
        "methods": methods,
    }


def _by_run(trials: Iterable[Finished]) -> dict[tuple[str, int], list[Finished]]:
    runs: dict[tuple[str, int], list[Finished]] = {}
    for trial in sorted(trials, key=lambda trial: trial.trial):
        runs.setdefault((trial.method, trial.run), []).append(trial)
    for (method, run), its in runs.items():
        numbers = [trial.trial for trial in its]
        if numbers != list(range(1, len(its) + 1)):
            raise ValueError(
                f"{method} run {run}: trials must be numbered 1, 2, ... without a gap, got {numbers}"
            )
    return runs
