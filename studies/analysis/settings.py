"""What each setting that a study lists came to, run by run."""

from collections.abc import Callable, Mapping, Sequence

from studies.design.space import searched
from studies.design.spec import StudySpec
from studies.records import TrialRecord
from trainers.hyperparameters import Value

Point = tuple[Value, ...]  # of an arm's searched hyperparameters, in the order of its space; of a control ()
Runs = Mapping[int, float]  # by the run's number
Measure = Callable[[TrialRecord], float | None]


def objective(trial: TrialRecord) -> float | None:
    """Its validation metric after the last epoch; None where it failed."""
    return trial.objective


def flips(trial: TrialRecord) -> float | None:
    """Share of binary weights that a step flips, mean over the epochs; None where they are not known."""
    ratios = [epoch.flip_ratio for epoch in trial.epochs]
    return sum(ratios) / len(ratios) if ratios else None


def by_setting(
    spec: StudySpec, trials: Sequence[TrialRecord], measure: Measure
) -> dict[str, dict[Point, Runs]]:
    """By arm and point what was measured in each run, the points in the order in which the study tries them.

    A control's run, and any in which a point is tried more than once, has the mean.
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
