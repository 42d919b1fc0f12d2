"""Best-so-far curves: worked examples, and properties that hold for any objectives."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import figure8_like, study_of, trial_of, trials_of

from studies.analysis import stats
from studies.analysis.curves import bands, best_so_far, centre, curves_of, means, of_study, runs_of
from studies.analysis.estimate import NONE
from studies.design.spec import from_json
from studies.records import TrialState

objectives = st.lists(st.none() | st.floats(0, 1) | st.just(math.inf), max_size=30)
directions = st.sampled_from(["maximize", "minimize"])


@pytest.mark.parametrize(
    ("direction", "values", "best", "holder"),
    [
        ("maximize", [0.3, 0.2, 0.5, 0.5, 0.4], [0.3, 0.3, 0.5, 0.5, 0.5], [1, 1, 3, 3, 3]),
        ("minimize", [0.3, 0.2, 0.5, 0.2, 0.1], [0.3, 0.2, 0.2, 0.2, 0.1], [1, 2, 2, 2, 5]),
        ("maximize", [None, None, 0.1, None, 0.2], [math.nan, math.nan, 0.1, 0.1, 0.2], [0, 0, 3, 3, 5]),
        ("maximize", [0.0, 0.6], [0.0, 0.6], [1, 2]),
        ("maximize", [None], [math.nan], [0]),
        ("maximize", [], [], []),
    ],
    ids=["rising", "falling", "failed ones carry the incumbent on", "diverged first", "all failed", "none"],
)
def test_best_so_far_worked(direction, values, best, holder):
    got_best, got_holder = best_so_far(values, direction)
    np.testing.assert_array_equal(got_best, best)
    assert got_holder.tolist() == holder


@given(objectives, directions, st.data())
def test_never_looks_ahead(values, direction, data):
    cut = data.draw(st.integers(0, len(values)))
    whole, prefix = best_so_far(values, direction), best_so_far(values[:cut], direction)
    np.testing.assert_array_equal(whole[0][:cut], prefix[0])
    np.testing.assert_array_equal(whole[1][:cut], prefix[1])


@given(objectives, directions)
def test_monotone_and_held_by_its_incumbent(values, direction):
    best, holder = best_so_far(values, direction)
    sign = 1 if direction == "maximize" else -1
    known = sign * best[~np.isnan(best)]
    assert (known[1:] >= known[:-1]).all()
    for t, (value, trial) in enumerate(zip(best, holder, strict=True), start=1):
        seen = [v for v in values[:t] if v is not None]
        if not seen:
            assert math.isnan(value)
            assert trial == 0
            continue
        assert value == (max(seen) if direction == "maximize" else min(seen))
        assert values.index(value) + 1 == trial


def test_unfinished_study_has_only_the_trials_done():
    study = study_of(runs=3, trials=4)
    trials = trials_of(study, {"gradient-filter": [[0.5, 0.6, 0.4], [None, 0.2]]})
    curves = curves_of("gradient-filter", trials, (3, 4), "maximize")
    nan = math.nan
    np.testing.assert_array_equal(curves.best, [[0.5, 0.6, 0.6, nan], [nan, 0.2, nan, nan], [nan] * 4])
    assert curves.incumbent.tolist() == [[1, 2, 2, 0], [0, 2, 0, 0], [0] * 4]
    assert curves.done.tolist() == [3, 2, 0]
    assert curves.n.tolist() == [1, 2, 1, 0]


def test_diverged_trials_count_with_their_worst_objective():
    study = study_of(runs=1, trials=2)
    spec = from_json(study.spec)
    diverged = trial_of(spec, "latent-sgd", 1, 1, 0.0, state=TrialState.DIVERGED)
    trials = [diverged, trial_of(spec, "latent-sgd", 1, 2, None)]
    assert curves_of("latent-sgd", trials, (1, 2), "maximize").best.tolist() == [[0.0, 0.0]]


def test_the_order_of_the_records_does_not_matter():
    _, trials = figure8_like(runs=3, trials=5)
    turned = curves_of("latent-sgd", trials[::-1], (3, 5), "maximize")
    np.testing.assert_array_equal(turned.best, curves_of("latent-sgd", trials, (3, 5), "maximize").best)
    assert [(run.arm, run.run) for run in runs_of(trials[::-1])] == [
        (m, r) for m in ("gradient-filter", "latent-sgd") for r in (1, 2, 3)
    ]


def test_gaps_doubles_and_strangers_are_refused():
    _, trials = figure8_like(runs=2, trials=3)
    with pytest.raises(ValueError, match=r"gradient-filter run 1: .* got \[1, 3\]"):
        runs_of([trials[0], trials[2]])
    with pytest.raises(ValueError, match=r"got \[1, 1\]"):
        runs_of([trials[0], trials[0]])
    with pytest.raises(ValueError, match="run 2 with 3 trials is outside a study of 1 runs x 3 trials"):
        curves_of("latent-sgd", trials, (1, 3), "maximize")


def test_the_centre_is_of_the_runs_that_have_a_value():
    _, trials = figure8_like(runs=8, trials=5)
    some = [t for t in trials if t.trial <= 3 or t.run < 3]
    curves = curves_of("latent-sgd", some, (8, 5), "maximize")
    found = centre(curves)
    assert [after.n for after in found] == curves.n.tolist() == [8, 8, 8, 2, 2]
    for after, column in zip(found, curves.best.T, strict=True):
        values = column[~np.isnan(column)]
        assert (after.median, after.mean) == (stats.median(values), stats.mean(values))
        assert after.iqm == stats.interquartile_mean(values)


def test_a_band_is_a_means_interval_for_its_share_of_the_error():
    """Three trials, two of them equal, after one at which a run has no value yet."""
    best = np.array([[math.nan, 0.5, 0.5, 0.9], [0.1, 0.6, 0.6, 0.6], [0.2, 0.8, 0.8, 0.8]])
    none, *found = bands(best)
    assert none == NONE
    for e, column in zip(found, best.T[1:], strict=True):
        share = stats.mean(column, 0.975)
        assert (e.value, e.low, e.high, e.level) == (share.value, share.low, share.high, 0.95)
    flat = bands(np.array([[0.5] * 4, [0.6] * 4]))  # like a control's confirmed curve: one question
    assert flat == means(np.array([[0.5] * 4, [0.6] * 4]))


def test_a_runs_curve_is_as_long_as_it_is_done():
    study = study_of(runs=2, trials=4)
    trials = trials_of(study, {"gradient-filter": [[None, 0.5, 0.25], [-math.inf]]})
    filters, latent = of_study(from_json(study.spec), trials).values()
    (first, *rest), second = filters.runs
    assert math.isnan(first)
    assert (rest, second) == ([0.5, 0.5], [-math.inf])
    middle = centre(filters)
    assert [after.n for after in middle] == [1, 1, 1]
    assert [after.median.value for after in middle] == [-math.inf, 0.5, 0.5]
    assert [after.mean.low for after in middle] == [None, None, None]
    assert latent.runs == [[], []]
    assert centre(latent) == []


def test_curves_before_the_first_trial_and_of_one_method():
    study, trials = figure8_like(runs=2, trials=3)
    assert of_study(from_json(study.spec), [])["latent-sgd"].runs == [[], []]
    alone, trials = figure8_like(runs=2, trials=3, methods=["latent-sgd"])
    curves = of_study(from_json(alone.spec), trials)
    assert list(curves) == ["latent-sgd"]
    assert [after.n for after in centre(curves["latent-sgd"])] == [2, 2, 2]


def test_four_columns_of_a_trial_are_enough():
    @dataclass(frozen=True)
    class Row:
        arm: str
        run: int
        trial: int
        objective: float | None

    study, trials = figure8_like(runs=3, trials=5)
    rows = [Row(t.arm, t.run, t.trial, t.objective) for t in trials]
    spec = from_json(study.spec)
    found, expected = of_study(spec, rows), of_study(spec, trials)
    assert found.keys() == expected.keys()
    for method, curves in found.items():
        for what in ("best", "incumbent", "done"):
            np.testing.assert_array_equal(getattr(curves, what), getattr(expected[method], what))
