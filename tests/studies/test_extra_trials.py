"""Extra trials: worked curves, and the median and mean they come from."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from studies.extra_trials import extra_trials, mean_curve, median_curve, resampled_curves

nan, inf = math.nan, math.inf


def test_worked():
    fast, slow = np.array([0.5, 0.7, 0.9, 0.9]), np.array([0.1, 0.5, 0.6, 0.7])
    assert extra_trials(slow, fast).tolist() == [1, 2, inf, inf]
    assert extra_trials(fast, slow).tolist() == [0, -1, -1, -2]
    assert extra_trials(fast, fast).tolist() == [0, 0, 0, -1]


def test_a_delay_is_found_until_the_budget_ends():
    curve = np.linspace(0.1, 0.9, 25)
    late = np.concatenate([np.zeros(10), curve[:15]])
    assert extra_trials(late, curve).tolist() == [10] * 15 + [inf] * 10


def test_no_value_yet():
    np.testing.assert_array_equal(extra_trials(np.array([nan, 0.5]), np.array([nan, 0.4])), [nan, 0])


def test_equal_means_are_reached_in_whatever_order_they_were_added():
    runs = np.random.default_rng(0).random((20, 1)).round(3)
    for seed in range(50):
        other = np.random.default_rng(seed).permutation(runs)
        assert extra_trials(mean_curve(other), mean_curve(runs)).tolist() == [0]


def test_curves_are_of_all_runs_or_of_none():
    """A bad run that gets its first value, or a good one that stops early, does not make them fall."""
    best = np.array([[0.9, 0.9, 0.9, nan], [nan, 0.1, 0.5, 0.5], [0.6, 0.6, 0.7, 0.7], [0.8, 0.8, 0.8, 0.8]])
    np.testing.assert_allclose(mean_curve(best), [nan, 0.6, 0.725, nan])
    np.testing.assert_allclose(median_curve(best), [nan, 0.7, 0.75, nan])


@given(arrays(float, (5, 8), elements=st.floats(0, 1) | st.just(nan)), st.integers(1, 8))
def test_curves_never_fall(objectives, done):
    best = np.fmax.accumulate(objectives, axis=1)
    best[0, done:] = nan
    for curve in (mean_curve(best), median_curve(best)):
        known = curve[~np.isnan(curve)]
        assert (np.diff(known) > -1e-12).all()


def test_resampled_curves_are_those_of_the_rows_drawn():
    best = np.random.default_rng(0).random((6, 3))
    rows = np.array([[0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 1]])
    got = resampled_curves(best, rows)
    np.testing.assert_allclose(got["mean"], [best.mean(axis=0), (4 * best[0] + 2 * best[1]) / 6])
    np.testing.assert_allclose(got["median"], [np.median(best, axis=0), best[0]])
