"""Intervals cover what they claim, in simulated studies of known truth with 20 runs per method as in Figure 8.

`SLACK` standard errors of the simulated share are allowed. Exact and conservative intervals must cover at least their
level, the score interval at least its level less `APPROXIMATE`. Bootstrap intervals of few runs cover less than their
nominal 95%: they must reach `BOOTSTRAPPED`, which the report states.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats as scipy_stats

from studies.analysis import stats
from studies.analysis.estimate import Estimate
from studies.analysis.extra_trials import extra_trials, resampled_means
from studies.analysis.survival import kaplan_meier, restricted_mean

RUNS = 20
SLACK = 3.5
APPROXIMATE = 0.02
BOOTSTRAPPED = {6: 0.93, 10: 0.94, 20: 0.95}  # by the number of runs


def noise(size: int, rng: np.random.Generator, steps: int = 0) -> np.ndarray:
    """Return final accuracies of runs: skewed to the worse, in multiples of `1 / steps` if given."""
    values = 0.93 - rng.gamma(2.0, 0.004, size)
    return np.rint(values * steps) / steps if steps else values


def covered(intervals: Iterator[Estimate], truth: float) -> tuple[float, float, float]:
    """Return the share of intervals that hold `truth`, their mean level, and the standard error of the share."""
    found = list(intervals)
    share = float(np.mean([e.low - 1e-12 <= truth <= e.high + 1e-12 for e in found]))
    level = float(np.mean([e.level for e in found]))
    return share, level, math.sqrt(level * (1 - level) / len(found))


def test_median_exactly():
    rng = np.random.default_rng(1)
    truth = 0.93 - float(scipy_stats.gamma.ppf(0.5, 2.0, scale=0.004))
    share, level, error = covered((stats.median(noise(RUNS, rng)) for _ in range(4000)), truth)
    assert abs(share - level) < SLACK * error


def test_median_of_tied_values_at_least():
    rng = np.random.default_rng(2)
    truth = float(np.median(noise(1_000_001, np.random.default_rng(0), steps=500)))
    share, level, error = covered((stats.median(noise(RUNS, rng, steps=500)) for _ in range(2000)), truth)
    assert share > level - SLACK * error


def test_mean_of_normal_values_exactly():
    rng = np.random.default_rng(3)
    share, level, error = covered((stats.mean(rng.normal(0.9, 0.01, RUNS)) for _ in range(2000)), 0.9)
    assert abs(share - level) < SLACK * error


@pytest.mark.parametrize("steps", [0, 500])
def test_hodges_lehmann(steps):
    rng = np.random.default_rng(4)
    shifted = (
        stats.hodges_lehmann(noise(RUNS, rng, steps) - 0.01, noise(RUNS, rng, steps)) for _ in range(2000)
    )
    share, level, error = covered(shifted, -0.01)
    assert share > level - SLACK * error
    assert steps or abs(share - level) < SLACK * error


@pytest.mark.parametrize("steps", [0, 500])
def test_paired_hodges_lehmann(steps):
    rng = np.random.default_rng(5)

    def study() -> Estimate:
        common = rng.normal(0, 0.005, RUNS)  # what the runs of a pair share
        a, b = (common + 0.9 + rng.normal(0, 0.003, RUNS) for _ in range(2))
        if steps:
            a, b = np.rint(a * steps) / steps, np.rint(b * steps) / steps
        return stats.paired_hodges_lehmann(a - 0.01, b)

    share, level, error = covered((study() for _ in range(2000)), -0.01)
    assert share > level - SLACK * error
    assert steps or abs(share - level) < SLACK * error


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_superiority(shift):
    rng = np.random.default_rng(6)
    truth = float(scipy_stats.norm.cdf(shift / math.sqrt(2)))
    studies = (stats.superiority(rng.normal(shift, 1, RUNS), rng.normal(0, 1, RUNS)) for _ in range(1500))
    share, level, error = covered(studies, truth)
    assert share > level - APPROXIMATE - SLACK * error


@pytest.mark.parametrize("test", [stats.mann_whitney, stats.wilcoxon])
def test_exact_tests_reject_no_more_than_they_may(test):
    rng = np.random.default_rng(7)
    p = np.array([test(noise(RUNS, rng, 500), noise(RUNS, rng, 500)) for _ in range(2000)])
    for alpha in (0.01, 0.05, 0.2):
        assert np.mean(p <= alpha) < alpha + SLACK * math.sqrt(alpha * (1 - alpha) / p.size)


def test_wilson_on_average():
    """Exact sum over the binomial: Wilson's coverage varies with p around its level, and is near it on average."""
    intervals = [stats.wilson(k, RUNS) for k in range(RUNS + 1)]
    shares = []
    for p in np.linspace(0.02, 0.98, 97):
        chance = scipy_stats.binom.pmf(np.arange(RUNS + 1), RUNS, p)
        shares.append(sum(c for c, e in zip(chance, intervals, strict=True) if e.low <= p <= e.high))
    assert 0.945 < np.mean(shares) < 0.965
    assert min(shares) > 0.83


@pytest.mark.parametrize("runs", BOOTSTRAPPED)
def test_restricted_mean_difference(runs):
    """Geometric trials to the target, paired through a shared part, censored at 25."""
    rng = np.random.default_rng(8)
    horizon = 25

    def times(common: np.ndarray, p: float) -> np.ndarray:
        return np.minimum(common + rng.geometric(p, common.shape), horizon + 1)

    def difference(a: np.ndarray, b: np.ndarray, draws: stats.Draws | None = None) -> np.ndarray:
        means = [
            restricted_mean(kaplan_meier(np.minimum(t, horizon), t <= horizon, horizon, draws))
            for t in (a, b)
        ]
        return means[1] - means[0]

    common = rng.integers(0, 6, 1_000_000)
    truth = np.minimum(times(common, 0.07), horizon).mean() - np.minimum(times(common, 0.15), horizon).mean()

    def study() -> Estimate:
        shared = rng.integers(0, 6, runs)
        a, b = times(shared, 0.15), times(shared, 0.07)
        draws = stats.resample(runs, 499, rng)
        return stats.bootstrap(float(difference(a, b)), difference(a, b, draws), runs)

    share, _, error = covered((study() for _ in range(1000)), float(truth))
    assert abs(share - BOOTSTRAPPED[runs]) < SLACK * error


@pytest.mark.parametrize("runs", BOOTSTRAPPED)
def test_extra_trials(runs):
    """Mean curves 1 - (1 + 1 / pace)^-n: the slower needs 1.95 n trials to get where the other is after n."""
    rng = np.random.default_rng(9)
    trial = np.arange(1, 26)

    def study(pace: float) -> np.ndarray:
        steps = rng.exponential(1 / pace, (runs, 25))  # falls of the log distance
        return 1 - np.exp(-np.cumsum(steps, axis=1))

    def mean(pace: float) -> np.ndarray:
        return 1 - (1 + 1 / pace) ** -trial.astype(float)  # E exp(-Exp(1 / pace)) = 1 / (1 + 1 / pace)

    truth = extra_trials(mean(8.25), mean(4))
    held = []
    for _ in range(1000):
        a, b = study(8.25), study(4)
        draws = stats.resample(runs, 499, rng)
        replicates = extra_trials(resampled_means(a, draws), resampled_means(b, draws))
        low, high = stats.percentiles(replicates, runs)
        held.append((low <= truth) & (truth <= high))
    assert truth[[1, 4, 9]].tolist() == [2, 5, 10]
    share = np.mean(held, axis=0)[np.isfinite(truth)]  # an interval open above always holds inf
    error = math.sqrt(0.95 * 0.05 / len(held))
    assert share.min() > BOOTSTRAPPED[runs] - SLACK * error
    assert share.max() < 0.95 + APPROXIMATE + SLACK * error  # whole numbers cover more
