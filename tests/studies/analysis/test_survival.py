"""Trials to a target: Kaplan-Meier, the restricted mean and a curve's extra trials."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from studies.analysis import stats
from studies.analysis.survival import kaplan_meier, restricted_mean, trials_to

nan = math.nan


def test_trials_to_a_target():
    best = np.array([[0.1, 0.5, 0.5], [nan, 0.2, 0.3], [0.6, 0.6, 0.6], [nan, nan, nan]])
    times, reached = trials_to(best, 0.5, np.array([3, 3, 3, 2]))
    assert times.tolist() == [2, 3, 1, 2]
    assert reached.tolist() == [True, False, True, False]


def test_kaplan_meier_published():
    """The weeks of remission of 21 leukaemia patients on 6-MP (Freireich et al. 1963)."""
    in_remission = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]  # the week when last seen
    relapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    reached = np.repeat([True, False], [len(relapsed), len(in_remission)])
    survival = kaplan_meier(np.array(relapsed + in_remission), reached, 35)
    expected = {5: 1, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    assert {week: round(float(survival[week]), 3) for week in expected} == expected


runs = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=30)


@given(runs)
def test_kaplan_meier_is_scipys(pairs):
    times, reached = (np.array(column) for column in zip(*pairs, strict=True))
    data = scipy_stats.CensoredData(uncensored=times[reached], right=times[~reached])
    expected = scipy_stats.ecdf(data).sf.evaluate(np.arange(13))
    np.testing.assert_allclose(kaplan_meier(times, reached, 12), expected, atol=1e-12)


@given(runs)
def test_restricted_mean_without_early_censoring_is_a_plain_mean(pairs):
    times = np.array([time if reached else 12 for time, reached in pairs])
    reached = np.array([reached for _, reached in pairs])
    assert restricted_mean(kaplan_meier(times, reached, 12)) == pytest.approx(times.mean())


def test_many_resamples_at_once():
    times, reached = np.array([1, 2, 3]), np.array([True, True, False])
    got = kaplan_meier(times, reached, 3, np.array([[1, 0], [1, 0], [1, 3]]))
    np.testing.assert_allclose(got, np.transpose([[1, 2 / 3, 1 / 3, 1 / 3], [1, 1, 1, 1]]))
    np.testing.assert_allclose(restricted_mean(got), [2, 3])


@given(runs, st.integers(0, 99))
def test_a_resample_is_the_sample_of_the_runs_drawn(pairs, seed):
    times, reached = (np.array(column) for column in zip(*pairs, strict=True))
    draws = stats.resample(times.size, 20, np.random.default_rng(seed))
    got = kaplan_meier(times, reached, 12, draws)
    for drawn, survival in zip(draws.T, got.T, strict=True):
        rows = np.repeat(np.arange(times.size), drawn)
        np.testing.assert_array_equal(survival, kaplan_meier(times[rows], reached[rows], 12))
