"""Confirmations: incumbents trained again, to learn what a run's best so far is worth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from studies.analysis.curves import Floats, Ints, best_so_far, runs_of
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, TrialRecord, TrialState
from trainers.hyperparameters import Value

# the test metrics with the fresh seeds, by run and trial
Anew = Mapping[tuple[int, int], tuple[float, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """The worth of one arm's incumbents on the test split.

    Arrays are `(runs, trials)`, row `r - 1` for run `r`, column `t - 1` for trial `t`; NaN is no value. `held_out` is
    the test metric of the incumbent network itself. `confirmed` is the mean test metric of its hyperparameters over the
    study's fresh seeds, NaN if one of these trainings is missing or has failed. `stands` is the trial, from 1, that is
    trained again for the incumbent, 0 if there is no incumbent and -1 if the run has not got to this trial. `anew`
    holds the test metrics of the fresh trainings, of each incumbent that has all of them, by run and trial; `diverged`
    has the run and trial of those of which a fresh training diverged.
    """

    held_out: Floats
    confirmed: Floats
    stands: Ints
    anew: Anew
    diverged: frozenset[tuple[int, int]]

    @property
    def incumbents(self) -> int:
        """The number of trials that must be trained again in the runs that are over."""
        over = self.stands[self.stands[:, -1] >= 0]
        return sum(len(set(run.tolist()) - {0}) for run in over)


def representatives(
    objectives: Sequence[float | None],
    hyperparameters: Sequence[Mapping[str, Value]],
    direction: Literal["maximize", "minimize"],
) -> tuple[int, ...]:
    """Return, after each trial of a run, the trial (from 1) that is trained again for the incumbent; 0 for none.

    That is the incumbent or the first incumbent with the same hyperparameters. A control has one for its whole run.
    """
    _, incumbents = best_so_far(objectives, direction)
    return _standing(incumbents, hyperparameters)


def _standing(incumbents: Ints, hyperparameters: Sequence[Mapping[str, Value]]) -> tuple[int, ...]:
    first: dict[tuple[tuple[str, Value], ...], int] = {}
    chosen = []
    for incumbent in incumbents.tolist():
        values = tuple(sorted(hyperparameters[incumbent - 1].items())) if incumbent else ()
        chosen.append(first.setdefault(values, incumbent) if incumbent else 0)
    return tuple(chosen)


def worth(
    spec: StudySpec, arm: str, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord]
) -> Worth:
    """Return what the incumbents of `arm` are worth in a study, finished or not."""
    shape, direction = (spec.runs, spec.trials), spec.task_definition().direction
    seeds = spec.confirm.seeds if spec.confirm else 0
    fresh = [each for each in confirmations if each.arm == arm]
    anew = _anew(fresh, seeds)
    held_out, confirmed = np.full(shape, np.nan), np.full(shape, np.nan)
    stands = np.full(shape, -1)
    for run in runs_of([trial for trial in trials if trial.arm == arm]):
        objectives = [trial.objective for trial in run.trials]
        tested = [np.nan if trial.test_metric is None else trial.test_metric for trial in run.trials]
        _, incumbents = best_so_far(objectives, direction)
        stand = _standing(incumbents, [trial.hyperparameters for trial in run.trials])
        row = (run.run - 1, slice(len(run.trials)))
        held_out[row] = np.array([np.nan, *tested])[incumbents]
        confirmed[row] = [np.mean(anew.get((run.run, trial), np.nan)) for trial in stand]
        stands[row] = stand
    diverged = frozenset((each.run, each.trial) for each in fresh if each.state is TrialState.DIVERGED)
    return Worth(held_out, confirmed, stands, anew, diverged)


def seed_sd(worths: Iterable[Worth], trial: int) -> float:
    """Return the standard deviation of one training over seeds, pooled over the incumbents after `trial` trials.

    NaN if no hyperparameters were trained with two seeds. Earlier incumbents are left out, since bad settings vary more
    than good ones. So are those of which a training diverged: the worst value, which it counts as, would be all of
    their spread or, if all of them diverged, none.
    """
    return float(seed_sds(worths, trial)[-1])


def seed_sds(worths: Iterable[Worth], trial: int) -> Floats:
    """Return `seed_sd` of the first run, of the first two runs, and so on: `(runs,)`."""
    groups = [
        [
            np.array(() if key in of.diverged else of.anew.get(key, ()))
            for key in enumerate(of.stands[:, trial - 1].tolist(), 1)
        ]
        for of in worths
    ]
    with np.errstate(invalid="ignore", divide="ignore"):  # infinity minus infinity, 0 by 0
        squares = [[((g - g.mean()) ** 2).sum() if g.size else 0.0 for g in runs] for runs in groups]
        freedom = [[max(0, g.size - 1) for g in runs] for runs in groups]
        return np.asarray(np.sqrt(np.cumsum(np.sum(squares, axis=0)) / np.cumsum(np.sum(freedom, axis=0))))


def _anew(confirmations: Iterable[ConfirmationRecord], seeds: int) -> Anew:
    """Return the test metrics of each run and trial for which all `seeds` trainings have one."""
    found: dict[tuple[int, int], list[float]] = {}
    for each in sorted(confirmations, key=lambda each: each.number):
        if each.test_metric is not None:
            found.setdefault((each.run, each.trial), []).append(each.test_metric)
    return {key: tuple(values) for key, values in found.items() if len(values) == seeds}
