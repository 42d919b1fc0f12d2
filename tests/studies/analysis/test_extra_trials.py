"""Extra trials: worked curves, and the mean and median curves that they come from."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from studies.analysis import stats
from studies.analysis.extra_trials import CURVES, extra_trials, mean_curve, median_curve

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


def test_what_is_reached_stays_so_where_the_curve_ends():
    a = np.array([[0.5, 0.1], [0.9, 0.1], [nan, 0.2]])  # the second never gets there
    b = np.array([[0.5, 0.3], [0.9, 0.3], [0.9, 0.3]])
    np.testing.assert_array_equal(extra_trials(a, b), [[0, inf], [0, inf], [-1, inf]])


def test_a_curve_that_falls_counts_from_where_it_first_was():
    dips = np.array([0.5, 0.8, 0.6, 0.7])
    assert extra_trials(np.array([0.1, 0.6, 0.9, 0.2]), dips).tolist() == [1, 1, -1, -1]
    assert extra_trials(dips, np.array([0.6, 0.7, 0.5, 0.9])).tolist() == [1, 0, -2, inf]


def test_equal_means_are_reached_in_whatever_order_they_were_added():
    runs = np.random.default_rng(0).random((20, 1)).round(3)
    for seed in range(50):
        other = np.random.default_rng(seed).permutation(runs)
        assert extra_trials(mean_curve(other), mean_curve(runs)).tolist() == [0]


def test_curves_are_of_all_runs_or_of_none():
    """A bad run that gets its first value, or a good run that stops early, does not make the curves fall."""
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


objectives = st.sampled_from([nan, -inf, 0.25, 0.5, 0.75]) | st.floats(0, 1)


@given(
    arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=objectives), st.integers(0, 99)
)
def test_resampled_curves_are_those_of_the_runs_drawn(objectives, seed):
    best = np.fmax.accumulate(objectives, axis=1)
    draws = stats.resample(len(best), 20, np.random.default_rng(seed))
    for curve, resampled in CURVES.values():
        for drawn, got in zip(draws.T, resampled(best, draws).T, strict=True):
            np.testing.assert_allclose(got, curve(np.repeat(best, drawn, axis=0)), rtol=1e-14)


def test_more_runs_than_a_byte_counts():
    best = np.random.default_rng(0).random((300, 2))
    draws = np.full((300, 1), 1, stats.resample(300, 1, np.random.default_rng(0)).dtype)
    for curve, resampled in CURVES.values():
        np.testing.assert_allclose(resampled(best, draws)[:, 0], curve(best))


rising = arrays(float, (9, 4), elements=st.sampled_from([nan, -inf, 0.1, 0.2, 0.3, 0.4, 0.5]))


@given(rising, rising)
def test_many_curves_at_once_are_each_searched_from_the_first_trial(a, b):
    a = np.fmax.accumulate(a)
    for got, one, other in zip(extra_trials(a, b).T, a.T, b.T, strict=True):
        np.testing.assert_array_equal(extra_trials(one, other), got)
        for i, goal in enumerate(other):
            there = np.flatnonzero(one >= goal)
            assert math.isnan(got[i]) if math.isnan(goal) else got[i] == (there[0] - i if there.size else inf)
