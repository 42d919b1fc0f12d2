"""The results of each setting that a study lists, run by run."""

from collections.abc import Callable, Mapping, Sequence

from studies.design.space import searched
from studies.design.spec import StudySpec
from studies.records import TrialRecord
from trainers.hyperparameters import Value

Point = tuple[
    Value, ...
]  # values of an arm's searched hyperparameters, in the order of its space; () for a control
Runs = Mapping[int, float]  # by the run's number
Measure = Callable[[TrialRecord], float | None]


def objective(trial: TrialRecord) -> float | None:
    """Return the validation metric after the last epoch; None if the trial failed."""
    return trial.objective


def flips(trial: TrialRecord) -> float | None:
    """Return the share of binary weights that a step flips, averaged over the epochs; None without epochs."""
    ratios = [epoch.flip_ratio for epoch in trial.epochs]
    return sum(ratios) / len(ratios) if ratios else None


def by_setting(
    spec: StudySpec, trials: Sequence[TrialRecord], measure: Measure
) -> dict[str, dict[Point, Runs]]:
    """Return what was measured in each run, by arm and point, with points in the order in which the study tries them.

    A run that tries a point more than once, as a control's does, has the mean.
    """
    found: dict[str, dict[Point, dict[int, list[float]]]] = {arm.name: {} for arm in spec.arms}
    names = {arm.name: tuple(searched(arm.space)) for arm in spec.arms}
    for trial in sorted(trials, key=lambda trial: trial.trial):
        value = measure(trial)
        if value is None:
            continue
        point = tuple(trial.hyperparameters[name] for name in names[trial.arm])
        found[trial.arm].setdefault(point, {}).setdefault(trial.run, []).append(value)
    return {
        arm: {
            point: {run: sum(values) / len(values) for run, values in sorted(runs.items())}
            for point, runs in points.items()
        }
        for arm, points in found.items()
    }
