"""The recorded series of a study's trainings, combined by setting and by pair of arms."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from studies.analysis.settings import Point
from studies.analysis.stats import Floats
from studies.design.space import searched
from studies.design.spec import ArmSpec, StudySpec
from studies.records import Series, TrialRecord

Setting = tuple[str, Point]  # an arm and, for a grid, the point that its trials tried; else ()


class Traces(NamedTuple):
    """A quantity at ascending `steps` (n,) in each of the `runs`: (runs, n), NaN where a run has no value.

    `numbers` are the runs' numbers.
    """

    steps: np.ndarray[tuple[int], np.dtype[np.int64]]
    runs: Floats
    numbers: tuple[int, ...] = ()

    @property
    def mean(self) -> Floats:
        """The mean over the runs that have a value: (n,)."""
        counts = np.isfinite(self.runs).sum(axis=0)
        sums = np.where(np.isfinite(self.runs), self.runs, 0.0).sum(axis=0)
        means: Floats = np.divide(sums, counts, out=np.full(len(self.steps), np.nan), where=counts > 0)
        return means


Trace = tuple[Any, Any]  # steps and as many values, in arrays or lists
Of = Callable[[TrialRecord], Iterable[Trace]]


def named(name: str) -> Of:
    """Return a function that gives the series of this name of each of a trial's trainings."""
    return lambda trial: ((s.steps, s.values) for s in each_of(trial, name))


def of_epochs(name: str) -> Of:
    """Return a function that gives this field of a trial's first training by epoch, without epochs that lack it."""

    def found(trial: TrialRecord) -> Iterable[Trace]:
        numbers = {epoch.epoch: getattr(epoch, name) for epoch in trial.epochs}
        numbers = {epoch: value for epoch, value in numbers.items() if value is not None}
        return [([*numbers], [*numbers.values()])] if numbers else []

    return found


def by_setting(spec: StudySpec, trials: Sequence[TrialRecord], of: Of) -> dict[Setting, Traces]:
    """Return traces by setting, in the order of arms and trials; a run has the mean of its trainings with a setting."""
    found: dict[Setting, dict[int, list[Trace]]] = {}
    listed = {arm.name: _listed(spec, arm) for arm in spec.arms}
    order = {arm.name: i for i, arm in enumerate(spec.arms)}
    for trial in sorted(trials, key=lambda t: (order[t.arm], t.trial, t.run)):
        for trace in of(trial):  # without one, it may have failed before it had hyperparameters
            point = tuple(trial.hyperparameters[name] for name in listed[trial.arm])
            found.setdefault((trial.arm, point), {}).setdefault(trial.run, []).append(trace)
    return {setting: _traces(runs) for setting, runs in found.items()}


def differing_signs(first: Series, second: Series) -> tuple[list[int], list[int]]:
    """Return the steps at which both series have signs, and how many signs differ there."""
    steps, mine, its = np.intersect1d(first.steps, second.steps, assume_unique=True, return_indices=True)
    counts = np.bitwise_count(first.values[mine] ^ second.values[its]).sum(axis=1, dtype=np.int64)
    return steps.tolist(), counts.tolist()


class Differing(NamedTuple):
    """The number of signs that differ between two arms in one training of one trial: `counts` at `steps`."""

    run: int
    trial: int
    repeat: int
    steps: list[int]
    counts: list[int]


def pairs_of_signs(spec: StudySpec) -> list[tuple[ArmSpec, ArmSpec]]:
    """Return the pairs of arms whose signs are compared: the first two, the next two and so on.

    A pair whose networks differ is left out: its signs belong to different weights.
    """
    pairs = zip(spec.arms[::2], spec.arms[1::2], strict=False)
    return [(a, b) for a, b in pairs if spec.network_of(a) == spec.network_of(b)]


def counted_signs(trials: Sequence[TrialRecord], first: str, second: str) -> Iterator[Differing]:
    """Yield the differing signs of two arms with the same network, for each run, trial and training with signs of both.

    The two trainings share a seed: beside a trial of a grid, whose trials have the seed of its run, another arm's later
    trials start from other weights and are left out. Signs are compared pair by pair, so that no more of them need be
    in memory at once.
    """
    at = {(trial.arm, trial.run, trial.trial): trial for trial in trials}
    for (arm, run, number), trial in sorted(at.items()):
        if arm != first or (other := at.get((second, run, number))) is None or trial.seed != other.seed:
            continue
        for repeat, trainings in enumerate(zip(trial.series, other.series, strict=False), start=1):
            signs = [next((s for s in training if s.name == "signs"), None) for training in trainings]
            if signs[0] is not None and signs[1] is not None:
                yield Differing(run, number, repeat, *differing_signs(signs[0], signs[1]))


def differing(spec: StudySpec, trials: Sequence[TrialRecord], arms: tuple[str, str]) -> Traces | None:
    """Return how many signs differ between two arms of the study, in a run as the mean over trainings that share seeds.

    None if no training has signs of both, or if the networks differ: their signs belong to different weights.
    """
    first, second = arms
    if spec.network_of(spec.arm(first)) != spec.network_of(spec.arm(second)):
        return None
    found: dict[int, list[Trace]] = {}
    for each in counted_signs(trials, first, second):
        found.setdefault(each.run, []).append((each.steps, each.counts))
    return _traces(found) if found else None


def each_of(trial: TrialRecord, name: str) -> list[Series]:
    """Return the series of this name from each of the trial's trainings that has it."""
    return [series for training in trial.series for series in training if series.name == name]


def by_weight(trial: TrialRecord) -> dict[str, dict[str, Series]]:
    """Return the series by weight and by what they record of it, from the trial's first training that has any."""
    found: dict[str, dict[str, Series]] = {}
    for series in next((training for training in trial.series if training), ()):
        weight, dot, what = series.name.rpartition(".")
        if dot:
            found.setdefault(weight, {})[what] = series
    return found


def first_gradients(trial: TrialRecord) -> dict[str, Floats]:
    """Return the gradient (steps,) of each recorded weight in the trial's first epoch.

    Empty if the gradient was not recorded after every step of the epoch, or is not finite.
    """
    recorded = {weight: its["gradient"] for weight, its in by_weight(trial).items() if "gradient" in its}
    if not recorded or not trial.epochs:
        return {}
    steps = next(iter(recorded.values())).steps
    first = steps[: steps[-1] // len(trial.epochs)]
    found = {weight: series.values[: len(first)] for weight, series in recorded.items()}
    whole = np.array_equal(first, np.arange(1, len(first) + 1))
    return found if whole and all(np.isfinite(values).all() for values in found.values()) else {}


def _listed(spec: StudySpec, arm: ArmSpec) -> tuple[str, ...]:
    """Return the hyperparameters that tell an arm's settings apart: those that a grid searches."""
    return tuple(searched(arm.space)) if spec.is_grid(arm) else ()


def _traces(runs: Mapping[int, Sequence[Trace]]) -> Traces:
    steps = np.unique(np.concatenate([np.asarray(s, np.int64) for its in runs.values() for s, _ in its]))
    means = []
    for run in sorted(runs):
        rows = np.full((len(runs[run]), len(steps)), np.nan)
        for row, (at, values) in zip(rows, runs[run], strict=True):
            row[np.searchsorted(steps, at)] = values
        means.append(Traces(steps, rows).mean)
    return Traces(steps, np.array(means), tuple(sorted(runs)))
