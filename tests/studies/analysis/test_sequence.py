"""The sequential test: exact fairness, known answers, and how often it errs at any look."""

from itertools import product

import numpy as np
import pytest

from studies.analysis import sequence, stats

BETS = np.array(sequence.BETS)


def null(rng, studies, runs, sd=0.006):
    """Return paired differences of equal arms: skewed accuracies of two seeds on 500 samples each, on one split."""
    split = rng.normal(0, 0.01, (studies, runs, 1))
    skill = 0.93 + split - rng.exponential(sd, (studies, runs, 2))
    seen = rng.binomial(1000, np.clip(skill, 0, 1)) / 1000
    return seen[..., 0] - seen[..., 1]


def test_known_capital():
    ones = sequence.capital(np.ones(3))
    np.testing.assert_allclose(ones, [((1 + np.tanh(BETS)) ** n).mean() for n in (1, 2, 3)])
    against = sequence.capital(np.array([0.1, -0.1]))
    np.testing.assert_allclose(against[1], (1 - np.tanh(BETS) ** 2).mean())
    assert sequence.capital(np.zeros(4)).tolist() == [1.0] * 4


def test_capital_needs_no_unit_and_no_difference_is_no_bet():
    d = np.random.default_rng(0).normal(0.3, 1, 12)
    np.testing.assert_allclose(sequence.capital(1000 * d), sequence.capital(d))
    gone = sequence.capital(np.insert(d, 5, np.nan))
    np.testing.assert_allclose(np.delete(gone, 5), sequence.capital(d))
    assert gone[5] == gone[4]


def test_a_run_without_a_result_is_a_bet_like_others():
    won, lost = (sequence.capital(np.array([0.1, 0.1, end])) for end in (np.inf, -np.inf))
    assert won[2] / won[1] > 1.9
    assert 0 < lost[2] / lost[1] < 0.2


@pytest.mark.parametrize("sizes", [(0.1, 0.1, 0.2, 0.5, 0.1), (5, 1, 0, 3, 2, 2), (1, np.inf, 2)])
def test_no_betting_makes_money_where_signs_are_fair(sizes):
    """Exactly, for all sizes: the mean over all signs is 1 after each run."""
    signed = np.array(list(product((-1, 1), repeat=len(sizes)))) * np.array(sizes, dtype=float)
    np.testing.assert_allclose(sequence.capital(signed).mean(axis=0), 1.0)


def test_seven_equal_differences_are_told():
    for runs, level in ((7, 0.95), (6, 0.9)):
        a = np.full(runs, 0.02)
        assert (sequence.interval(a, 0 * a, level).low or 0) > 0
        assert sequence.interval(a[1:], 0 * a[1:], level).low is None
    d = np.full(9, 0.02)
    assert sequence.told_apart(d).tolist() == [0] * 6 + [1] * 3
    assert sequence.told_apart(-d).tolist() == [0] * 6 + [-1] * 3
    assert sequence.p_value(d[:7], 0 * d[:7]) == pytest.approx(2 / ((1 + np.tanh(BETS)) ** 7).mean())


def test_the_interval_holds_what_is_not_told_apart():
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.binomial(500, 0.9, (2, 15)) / 500
        found, shift = sequence.interval(a + 0.01, b), 0.005
        moved = sequence.interval(a + 0.01 + shift, b)
        assert moved.low == pytest.approx(found.low + shift, abs=1e-4)
        assert moved.high == pytest.approx(found.high + shift, abs=1e-4)
        assert found.value == stats.paired_hodges_lehmann(a + 0.01, b).value
        assert found.low < found.value < found.high
        inside = np.linspace(found.low, found.high, 50)[1:-1]
        told = sequence.told_apart(a + 0.01 - b - inside[:, None]).any(axis=1)
        assert told.mean() < 0.1  # only where capital does not rise with the centre
        beyond = np.array([found.low - 1e-3, found.high + 1e-3])
        assert sequence.told_apart(a + 0.01 - b - beyond[:, None]).any(axis=1).all()


def test_what_is_told_apart_has_0_outside_of_its_interval():
    rng = np.random.default_rng(2)
    for _ in range(60):
        a, b = rng.binomial(500, 0.9, (2, 20)) / 500
        told = sequence.told_apart(stats.differences(a + 0.012, b))
        if told.any():
            runs = max(7, int(np.flatnonzero(told)[0]) + 1)  # fewer bound no interval
            assert sequence.interval((a + 0.012)[:runs], b[:runs]).low > 0


@pytest.mark.parametrize("studies", [400, pytest.param(1500, marks=pytest.mark.slow)])
def test_equal_arms_are_called_different_in_at_most_one_study_of_twenty_at_any_look(studies):
    """Looked at after every run up to 40. The exact test for a fixed number, read each time, errs in a fifth."""
    d = null(np.random.default_rng(2), studies, 40)
    assert (sequence.told_apart(d) != 0).any(axis=1).mean() <= 0.05
    fixed = [
        any(stats.wilcoxon(each[:n], np.zeros(n)) < 0.05 for n in range(6, 41)) for each in d[: studies // 8]
    ]
    assert np.mean(fixed) > 0.15


def test_a_planted_difference_is_found_and_soon():
    """A difference of one standard deviation: by 20 runs in three of four studies. Of three: by 10 in all but a few."""
    rng = np.random.default_rng(3)
    d = np.round(rng.normal(0, 1, (400, 40)), 1)
    found = [(sequence.told_apart(d + shift) == 1).any(axis=1) for shift in (1.0, 3.0)]
    by = [(sequence.told_apart((d + shift)[:, :runs]) == 1).any(axis=1) for shift, runs in ((1, 20), (3, 10))]
    assert found[0].mean() > 0.97
    assert found[1].all()
    assert by[0].mean() > 0.75
    assert by[1].mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("runs", [6, 10, 20, 40])
def test_intervals_hold_the_truth(runs):
    """At a nominal 95 %, which the intervals exceed, as they hold at all numbers of runs at once."""
    d = null(np.random.default_rng(runs), 400, runs)
    held = []
    for each in d:
        e = sequence.interval(each + 0.004, np.zeros(runs))
        held.append((e.low is None or e.low <= 0.004 + 1e-9) and (e.high is None or e.high >= 0.004 - 1e-9))
    assert np.mean(held) >= 0.95
