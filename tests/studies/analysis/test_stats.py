"""Every estimator, checked against SciPy, a published example or a worked one."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats

from studies.analysis import stats
from studies.analysis.estimate import Estimate

# Hollander, Wolfe & Chicken 2014: permeability of human chorioamnion (example 4.1), Hamilton depression
# scores before and after (example 3.1); also the examples of R's wilcox.test
TERM = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
EARLY = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])

grid = st.lists(st.integers(0, 6), min_size=2, max_size=6).map(lambda v: np.array(v, dtype=float) / 7)


@pytest.mark.parametrize(
    ("n", "low", "high", "level"),
    [
        (20, 6, 15, 1 - 2 * 21700 / 2**20),
        (10, 2, 9, 1 - 22 / 1024),
        (6, 1, 6, 1 - 2 / 64),
        (5, 1, 5, 1 - 2 / 32),
        (2, 1, 2, 0.5),
    ],
)
def test_median_between_order_statistics(n, low, high, level):
    got = stats.median(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)))
    assert (got.value, got.low, got.high) == ((n + 1) / 2, low, high)
    assert got.level == pytest.approx(level, abs=1e-12)
    k = np.searchsorted(np.arange(1, n + 1), low) + 1
    assert got.level == pytest.approx(1 - 2 * scipy_stats.binom.cdf(k - 1, n, 0.5), abs=1e-12)


def test_mean_is_students():
    got = stats.mean(TERM)
    low, high = scipy_stats.ttest_1samp(TERM, 0).confidence_interval(0.95)
    assert (got.value, got.low, got.high) == pytest.approx((TERM.mean(), low, high))


def test_interquartile_mean_worked():
    """Two of eight values are left out at either end; the winsorised values are 3, 3, 3, 4, 5, 6, 6, 6."""
    got = stats.interquartile_mean(np.array([100.0, 1, 3, 2, 4, 5, 6, 7]))
    error = np.std([3, 3, 3, 4, 5, 6, 6, 6], ddof=1) / (0.5 * math.sqrt(8))
    half = scipy_stats.t.ppf(0.975, 3) * error
    assert (got.value, got.low, got.high) == pytest.approx((4.5, 4.5 - half, 4.5 + half))
    assert got.value == scipy_stats.trim_mean([100.0, 1, 3, 2, 4, 5, 6, 7], 0.25)
    assert stats.interquartile_mean(np.array([1.0, 5, 5, 9])) == Estimate(5.0, None, None, None)
    of_three = np.array([1.0, 2, 6])
    assert stats.interquartile_mean(of_three) == stats.mean(of_three)  # nothing is left out


def test_bounded_mean_worked():
    times = np.array([3.0, 4, 3, 5, 3, 25])
    wider, got = stats.mean(np.array([3.0, 4, 3, 5, 3, 25, 1, 25])), stats.bounded_mean(times, (1, 25))
    assert (got.value, got.high, got.level) == (times.mean(), wider.high, 0.95)
    assert got.low == 1  # Student's end is lower
    at_the_end = stats.bounded_mean(np.full(6, 25.0), (1, 25))
    assert at_the_end.low < at_the_end.value == at_the_end.high == 25
    assert stats.bounded_mean(times[:5], (1, 25)) == Estimate(times[:5].mean(), None, None, None)
    assert stats.bounded_mean(np.array([]), (1, 25)).value is None


def test_hodges_lehmann_published():
    got = stats.hodges_lehmann(TERM, EARLY)
    assert got.value == pytest.approx(0.305)
    shifts = np.linspace(-0.5, 1.2, 3401) + 1e-4  # between the differences, which are whole hundredths
    kept = [s for s in shifts if scipy_stats.mannwhitneyu(TERM - s, EARLY, method="exact").pvalue > 0.05]
    assert (got.low, got.high) == pytest.approx((min(kept), max(kept)), abs=1e-3)


def test_paired_hodges_lehmann_published():
    got = stats.paired_hodges_lehmann(BEFORE, AFTER)
    assert (got.value, got.low, got.high) == pytest.approx((0.46, 0.010, 0.786))
    assert got.level == pytest.approx(1 - 2 * 10 / 512)


def test_mann_whitney_published():
    assert stats.mann_whitney(TERM, EARLY) == pytest.approx(0.2544, abs=5e-5)


def test_wilcoxon_published():
    assert stats.wilcoxon(BEFORE, AFTER) == pytest.approx(0.03906, abs=5e-6)


@given(grid, grid)
def test_mann_whitney_counts_every_split(a, b):
    pooled = scipy_stats.rankdata(np.concatenate([a, b]))
    sums = [sum(pooled[list(chosen)]) for chosen in combinations(range(pooled.size), a.size)]
    observed = sum(pooled[: a.size])
    tail = min(np.mean(np.array(sums) <= observed + 1e-9), np.mean(np.array(sums) >= observed - 1e-9))
    assert stats.mann_whitney(a, b) == pytest.approx(min(1, 2 * tail))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_wilcoxon_counts_every_sign(steps):
    d = np.array(steps) / 500
    a = 0.9 + d  # differences that tie, but not to the last bit
    ranks = scipy_stats.rankdata(np.abs(steps))[d != 0]
    sums = np.array([np.dot(signs, ranks) for signs in product([0, 1], repeat=ranks.size)])
    observed = np.dot(d[d != 0] > 0, ranks)
    tail = min(np.mean(sums <= observed + 1e-9), np.mean(sums >= observed - 1e-9))
    assert stats.wilcoxon(a, np.full(d.size, 0.9)) == pytest.approx(min(1, 2 * tail))


def test_ties_against_scipys_permutations():
    a, b = np.array([1.0, 2, 2, 3, 5]), np.array([2.0, 4, 4, 5, 6])
    method = scipy_stats.PermutationMethod(n_resamples=10**6)
    assert stats.mann_whitney(a, b) == pytest.approx(scipy_stats.mannwhitneyu(a, b, method=method).pvalue)
    c = np.array([1.0, 3, 2, 1, 5])
    expected = scipy_stats.wilcoxon(b, c, zero_method="pratt", method=method).pvalue
    assert stats.wilcoxon(b, c) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 20, 50])
def test_exact_without_ties_is_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.4, 1, n), rng.normal(0, 1, n)
    assert stats.mann_whitney(a, b) == pytest.approx(scipy_stats.mannwhitneyu(a, b, method="exact").pvalue)
    assert stats.wilcoxon(a, b) == pytest.approx(scipy_stats.wilcoxon(a, b, method="exact").pvalue)


def test_beyond_the_exact_sizes_the_normal_approximation_goes_on_smoothly():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 51), rng.normal(0, 1, 51)
    assert stats.mann_whitney(a, b) == pytest.approx(
        scipy_stats.mannwhitneyu(a, b, method="exact").pvalue, rel=0.01
    )
    assert stats.wilcoxon(a, b) == pytest.approx(scipy_stats.wilcoxon(a, b, method="exact").pvalue, rel=0.02)
    for interval in (stats.hodges_lehmann, stats.paired_hodges_lehmann):
        big, small = interval(a, b), interval(a[:50], b[:50])
        assert big.low == pytest.approx(small.low, abs=0.05)
        assert big.high == pytest.approx(small.high, abs=0.05)


def test_a_difference_of_equal_steps_is_zero_exactly():
    """0.93 - 0.92 and 0.92 - 0.93 average to zero, and 0.94 - 0.93 ties with them: no false 1e-17 above zero."""
    a, b = (
        np.array([0.93, 0.92, 0.94, 0.93, 0.92, 0.91, 0.94]),
        np.array([0.92, 0.93, 0.93, 0.94, 0.93, 0.92, 0.93]),
    )
    assert stats.paired_hodges_lehmann(a, b).high == pytest.approx(0.01)
    assert stats.paired_hodges_lehmann(a, b).value == 0.0
    assert stats.hodges_lehmann(a, a).value == 0.0


def test_superiority_worked():
    got = stats.superiority(np.array([1.0, 2, 3]), np.array([2.0, 0]))
    assert got.value == pytest.approx((1 + 1.5 + 2) / 6)
    turned = stats.superiority(np.array([2.0, 0]), np.array([1.0, 2, 3]))
    assert (1 - turned.high, 1 - turned.low) == pytest.approx((got.low, got.high))
    for theta in (got.low, got.high):  # Hanley & McNeil's variance as they wrote it, equal sizes (3 + 2) / 2
        q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
        variance = (theta * (1 - theta) + 1.5 * (q1 - theta**2) + 1.5 * (q2 - theta**2)) / 6
        assert abs(got.value - theta) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)


def test_superiority_published():
    """The NAP of phase B over phase A in the documentation of the R package SingleCaseES."""
    got = stats.superiority(np.array([28.0, 25, 24, 27, 30, 30, 29]), np.array([20.0, 20, 26, 25, 22, 23]))
    assert (got.value, got.low, got.high) == pytest.approx((0.9166667, 0.5973406, 0.9860176), abs=1e-4)


@given(grid, grid)
def test_superiority_solves_its_equation_to_the_last_bit(a, b):
    got = stats.superiority(a, b)

    def excess(theta):
        others = (a.size + b.size) / 2 - 1
        spread = theta * (1 - theta) * (1 + others * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return (got.value - theta) ** 2 - scipy_stats.norm.ppf(0.975) ** 2 * spread / (a.size * b.size)

    if 0 < got.value < 1:
        assert got.low == pytest.approx(optimize.brentq(excess, 0, got.value), abs=5e-12)
        assert got.high == pytest.approx(optimize.brentq(excess, got.value, 1), abs=5e-12)


def test_superiority_of_a_clean_sweep_still_has_a_width():
    got = stats.superiority(np.arange(10.0, 30), np.arange(-20.0, 0))
    assert got.value == got.high == 1
    assert 0.8 < got.low < 0.95


def test_holm_worked():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.7, math.nan, 0.6]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)
    assert stats.holm([]) == []


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(5, 10, 0.2366, 0.7634), (20, 20, 0.8389, 1.0), (0, 20, 0.0, 0.1611)]
)
def test_wilson_published(successes, n, low, high):
    got = stats.wilson(successes, n)
    assert (got.value, got.low, got.high) == pytest.approx((successes / n, low, high), abs=5e-5)


@given(st.integers(1, 60), st.data())
def test_wilson_is_scipys(n, data):
    successes = data.draw(st.integers(0, n))
    expected = scipy_stats.binomtest(successes, n).proportion_ci(method="wilson")
    got = stats.wilson(successes, n)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-15)


@given(st.integers(1, 300), st.integers(0, 99))
def test_a_resample_draws_as_many_runs_as_there_are(runs, seed):
    draws = stats.resample(runs, 7, np.random.default_rng(seed))
    rows = np.random.default_rng(seed).integers(runs, size=(7, runs))
    np.testing.assert_array_equal(draws.T, [np.bincount(row, minlength=runs) for row in rows])


def test_percentiles_move_outwards_and_keep_infinity():
    replicates = np.arange(1.0, 10_001)
    low, high = stats.percentiles(replicates, runs=20)
    tail = scipy_stats.norm.cdf(-scipy_stats.t.ppf(0.975, 19) * math.sqrt(20 / 19))
    assert (low, high) == (math.ceil(tail * 10_000), 10_001 - math.ceil(tail * 10_000))
    assert 155 < low < 165  # 250 without the correction
    replicates[-300:] = math.inf
    assert stats.percentiles(replicates, runs=20)[1] == math.inf


def test_an_undefined_replicate_is_not_an_infinite_one():
    replicates = np.tile(np.arange(1000.0), (3, 1))
    replicates[1, -50:], replicates[2, -50:] = math.inf, math.nan
    low, high = stats.percentiles(replicates, runs=20)
    np.testing.assert_array_equal(np.isnan(low), [False, False, True])
    np.testing.assert_array_equal(high[1:], [math.inf, math.nan])


def test_a_bootstrap_interval_takes_six_runs():
    for runs, there in ((2, False), (5, False), (6, True)):
        sample = np.arange(float(runs))
        draws = stats.resample(runs, 500, np.random.default_rng(0))
        got = stats.bootstrap(sample.mean(), sample @ draws / runs, runs)
        assert got.value == sample.mean()
        ends = (got.low, got.high, got.level)
        assert all(map(math.isfinite, ends)) if there else ends == (None, None, None)


def test_bootstrap_of_the_mean_is_close_to_students():
    sample = np.random.default_rng(3).normal(5, 1, 20)
    draws = stats.resample(20, 20_000, np.random.default_rng(0))
    got, expected = stats.bootstrap(sample.mean(), sample @ draws / 20, 20), stats.mean(sample)
    assert (got.value, got.low, got.high) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=0.05
    )


def test_one_run_has_no_interval():
    one = np.array([0.5])
    draws = stats.resample(1, 10, np.random.default_rng(0))
    for got in (
        stats.median(one),
        stats.mean(one),
        stats.interquartile_mean(one),
        stats.hodges_lehmann(one, one),
        stats.paired_hodges_lehmann(one, one),
        stats.superiority(one, one),
        stats.bootstrap(0.5, one @ draws, 1),
    ):
        assert got.value in (0.0, 0.5)
        assert got.low is None
        assert got.high is None


def test_no_run_is_no_value():
    none = np.array([])
    for got in (stats.median(none), stats.mean(none), stats.hodges_lehmann(none, none), stats.wilson(0, 0)):
        assert got.value is None
    assert math.isnan(stats.mann_whitney(none, none))
    assert math.isnan(stats.wilcoxon(none, none))


failing = st.lists(st.integers(0, 6) | st.just(-math.inf), min_size=8, max_size=8).map(np.array)


@given(failing, failing)
def test_a_run_without_a_result_ranks_below_all_others(a, b):
    """As an objective far below all others would; shifts are compared if they do not depend on how far."""
    worst = -(2.0**30)
    low_a, low_b = (np.where(np.isinf(side), worst, side) for side in (a, b))
    assert stats.mann_whitney(a, b) == stats.mann_whitney(low_a, low_b)
    differences = np.clip(low_a - low_b, -100, 100)  # all failures are equally far from all results
    assert stats.wilcoxon(a, b) == stats.wilcoxon(differences, np.zeros(8))
    assert stats.superiority(a, b) == stats.superiority(low_a, low_b)
    for shift in (stats.hodges_lehmann, stats.paired_hodges_lehmann):
        got, far = shift(a, b), shift(low_a, low_b)
        value, low, high = (
            e if abs(e) < 1e6 else math.copysign(math.inf, e) for e in (far.value, far.low, far.high)
        )
        assert got.value is None or got.value == pytest.approx(value, abs=0.01)
        assert got.low == -math.inf or got.low == pytest.approx(low, abs=0.01)
        assert got.high == math.inf or got.high == pytest.approx(high, abs=0.01)


def test_a_shift_with_failed_runs_keeps_what_is_defined():
    a, b = np.arange(10.0), np.arange(10.0) - 1
    a[0] = -math.inf
    got = stats.paired_hodges_lehmann(a, b)
    assert (got.value, got.low, got.high) == pytest.approx((1, -math.inf, 1))
    b[1] = -math.inf  # half the sum of one failure each way is undefined, but not in the middle
    got = stats.paired_hodges_lehmann(a, b)
    assert (got.value, got.low, got.high) == pytest.approx((1, -math.inf, math.inf))
    got = stats.paired_hodges_lehmann(np.array([-math.inf, 1.0]), np.array([0.0, -math.inf]))
    assert got.value is None


def test_a_mean_of_equal_values_has_no_interval():
    """An interval without width would claim to know the mean from two runs that happen to tie."""
    assert stats.mean(np.array([0.93, 0.93])) == Estimate(0.93, None, None, None)
    assert stats.mean(np.array([0.93, 0.94])).level == stats.LEVEL


def test_differences_have_no_digits_of_their_own():
    a, b = (
        np.array([0.978, 0.974, 0.976, 0.972, 0.98, 0.97]),
        np.array([0.976, 0.97, 0.97, 0.962, 0.966, 0.952]),
    )
    for found in (stats.paired_hodges_lehmann(a, b), stats.hodges_lehmann(a, b)):
        assert all(abs(x - round(x, 6)) <= 2e-18 for x in (found.value, found.low, found.high))


def test_rounding_alone_leaves_no_median_undefined():
    """With a failed run in both arms, the two medians that bound a NaN differ by rounding."""
    values = np.array([np.nan, 0.00799999999988, 0.00800000000037])
    assert stats._inverted(values, stats.signed_rank_cdf(2), 0.5).value == pytest.approx(0.008)
    values[2] = 0.01
    assert stats._inverted(values, stats.signed_rank_cdf(2), 0.5).value is None
    ends = np.array([np.nan, np.inf, -np.inf])
    assert stats._inverted(ends, stats.signed_rank_cdf(2), 0.5).value is None
