"""Combined series: means by hand, missing values, pairs of arms."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import study_of, trial_of

from studies.analysis.recorded import (
    by_setting,
    differing,
    differing_signs,
    first_gradients,
    named,
    of_epochs,
)
from studies.design.spec import stored
from studies.records import EpochRecord, Series, TrialRecord, TrialState

GRID = {"name": "grid", "method": "gradient-filter", "space": {"alpha": [1e-3, 1e-2], "gamma": 0.1}}
ONE = {"name": "one", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
SPEC = stored(study_of(arms=[ONE, GRID], searcher="grid", runs=2))


def trial(
    arm: str, run: int, number: int, *trainings: tuple[Series, ...], alpha: float = 1e-3
) -> TrialRecord:
    record = trial_of(SPEC, arm, run, number, 0.5, hyperparameters={"alpha": alpha, "gamma": 0.1})
    return replace(record, series=trainings)


def flips(steps: list[int], values: list[float]) -> tuple[Series, ...]:
    return (Series.of("other", [1], [9.0]), Series.of("flip_ratio", steps, values))


def test_a_setting_has_the_mean_of_its_runs_and_a_run_that_of_its_trainings() -> None:
    """A training that diverged has fewer steps; a step's mean is over the trainings that have it."""
    trials = [
        trial("grid", 1, 2, flips([5, 10], [0.5, 0.25]), alpha=1e-2),
        trial("grid", 1, 1, flips([5, 10, 15], [1.0, 2.0, 4.0]), flips([5, 10], [3.0, 6.0])),
        trial("grid", 2, 1, flips([5], [6.0])),
        trial("one", 1, 1, flips([5], [1.0])),
        trial("one", 1, 2, flips([5], [2.0])),
        trial("one", 2, 1),
    ]
    found = by_setting(SPEC, trials, named("flip_ratio"))
    assert list(found) == [("one", ()), ("grid", (1e-3,)), ("grid", (1e-2,))]
    assert found["one", ()].runs.tolist() == [[1.5]]
    grid = found["grid", (1e-3,)]
    assert grid.steps.tolist() == [5, 10, 15]
    np.testing.assert_array_equal(grid.runs, [[2.0, 4.0, 4.0], [6.0, np.nan, np.nan]])
    assert grid.mean.tolist() == [4.0, 4.0, 4.0]
    assert by_setting(SPEC, trials, named("signs")) == {}


def test_a_trial_that_failed_before_it_had_hyperparameters_is_of_no_setting() -> None:
    failed = replace(trial("grid", 2, 1), state=TrialState.FAILED, objective=None, hyperparameters={})
    found = by_setting(SPEC, [trial("grid", 1, 1, flips([5], [1.0])), failed], named("flip_ratio"))
    assert {setting: traces.runs.tolist() for setting, traces in found.items()} == {
        ("grid", (1e-3,)): [[1.0]]
    }


def test_a_number_of_epochs_is_there_where_it_was_recorded() -> None:
    epoch = EpochRecord(epoch=1, train_loss=1.0, validation_metric=0.5, test_metric=0.25, flip_ratio=0.1,
                        train_seconds=1.0, evaluate_seconds=1.0)  # fmt: skip
    epochs = (epoch, replace(epoch, epoch=2, train_metric=0.75))
    trials = [replace(trial("one", 1, 1), epochs=epochs)]
    found = by_setting(SPEC, trials, of_epochs("train_metric"))["one", ()]
    assert (found.steps.tolist(), found.mean.tolist()) == ([2], [0.75])
    assert by_setting(SPEC, trials, of_epochs("test_metric"))["one", ()].mean.tolist() == [0.25, 0.25]
    assert by_setting(SPEC, trials, of_epochs("latent_test_metric")) == {}


def test_differing_signs_are_counted_where_both_have_them() -> None:
    signs = np.random.default_rng(0).integers(0, 2, (4, 20)).astype(bool)
    other = signs[:3].copy()
    other[1, [2, 11, 19]] ^= True
    other[2] ^= True
    first = Series.of("signs", [5, 10, 15, 20], np.packbits(signs, axis=1))
    second = Series.of("signs", [5, 10, 15], np.packbits(other, axis=1))
    assert differing_signs(first, second) == ([5, 10, 15], [0, 3, 20])
    trials = [
        trial("one", 1, 1, (first,), (first,)),
        trial("grid", 1, 1, (second,), (first,)),
        trial("one", 2, 1, (first,)),
        trial("grid", 2, 2, (second,)),
    ]
    found = differing(SPEC, trials, ("one", "grid"))
    assert found is not None
    assert found.steps.tolist() == [5, 10, 15, 20]
    assert found.runs.tolist() == [[0, 1.5, 10, 0]]
    assert differing(SPEC, trials[2:], ("one", "grid")) is None
    other_start = [trial("one", 1, 2, (first,)), replace(trial("grid", 1, 2, (second,)), seed=7)]
    assert differing(SPEC, other_start, ("one", "grid")) is None
    assert differing(SPEC, trials + other_start, ("one", "grid")).runs.tolist() == found.runs.tolist()
    narrow = study_of(arms=[ONE, GRID | {"proxy": {"width": 64}}], searcher="grid", runs=2)
    assert differing(stored(narrow), trials, ("one", "grid")) is None, "signs of another network"
    double = study_of(arms=[ONE, GRID | {"proxy": {"precision": "float64"}}], searcher="grid", runs=2)
    again = differing(stored(double), trials, ("grid", "one"))
    assert again is not None
    assert again.runs.tolist() == found.runs.tolist()


@pytest.mark.parametrize("runs", [[], [1.0, np.nan]])
def test_a_mean_of_nothing_is_no_number(runs: list[float]) -> None:
    trials = [trial("one", i, 1, flips([1], [value])) for i, value in enumerate(runs, start=1)]
    found = by_setting(SPEC, trials, named("flip_ratio"))
    assert [traces.mean.tolist() for traces in found.values()] == [[1.0]] * bool(runs)


def test_gradients_of_the_first_epoch_are_all_of_them_or_none() -> None:
    """The series of one training joins those of its epochs, here two of three steps."""
    epoch = EpochRecord(epoch=1, train_loss=1.0, validation_metric=0.5, test_metric=0.5, flip_ratio=0.1,
                        train_seconds=0.1, evaluate_seconds=0.1)  # fmt: skip
    steps, values = [1, 2, 3, 4, 5, 6], [1.0, -2.0, 3.0, -4.0, 5.0, -6.0]
    its = (Series.of("0[1,2].gradient", steps, values), Series.of("0[1,2].m", steps, values))
    both = replace(trial("one", 1, 1, its, flips([1], [1.0])), epochs=(epoch, replace(epoch, epoch=2)))
    assert {name: g.tolist() for name, g in first_gradients(both).items()} == {"0[1,2]": [1.0, -2.0, 3.0]}
    every_second = (Series.of("0[1,2].gradient", steps[1::2], values[1::2]),)
    not_finite = (Series.of("0[1,2].gradient", steps, [1.0, np.inf, *values[2:]]),)
    for other in (every_second, not_finite, flips(steps, values)):
        assert first_gradients(replace(both, series=(other,))) == {}
    assert first_gradients(replace(both, series=())) == first_gradients(replace(both, epochs=())) == {}
