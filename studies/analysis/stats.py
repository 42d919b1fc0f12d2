"""Estimates, intervals and tests for one and two samples of runs; the unit is the run.

Samples are arrays `(runs,)` without NaN; in a comparison, a run without a result may count as -inf, the worst.
An interval is None if there are too few runs for it.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy  # which loads its parts where they are first used: they would cost each process 0.8 s and 70 MB
from numpy.typing import NDArray

from studies.analysis.estimate import NONE, Estimate

Floats = NDArray[np.float64]
Draws = NDArray[np.unsignedinteger[Any]]  # (runs, resamples): how often each run is drawn

LEVEL = 0.95
EXACT_UP_TO = 50  # runs a sample; beyond, the normal approximation with continuity and tie correction
# runs; nominal 95% intervals hold the truth, simulated, in 87% of studies with 4 runs, 91% with 5, 93% with 6
BOOTSTRAP_FROM = 6


def median(sample: Floats, level: float = LEVEL) -> Estimate:
    """Return the median, with the interval between the k-th values from either end.

    Distribution-free: the interval covers with probability `1 - 2 P(Binomial(n, 1/2) < k)`, or more if values tie,
    which is the `level` returned. k is the largest that reaches the level asked for; with fewer than 6 runs none
    reaches 95% and the interval is the widest, k = 1. (David & Nagaraja, Order Statistics, 2003, section 7.1.)
    """
    n = sample.size
    if n == 0:
        return NONE
    k, coverage = _median_rank(n, level)
    ordered = np.sort(sample)
    value = float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
    if n == 1:
        return Estimate.of(value)
    return Estimate.of(value, float(ordered[k - 1]), float(ordered[n - k]), coverage)


def mean(sample: Floats, level: float = LEVEL) -> Estimate:
    """Return the mean with Student's t interval: exact for normal values, else by the central limit theorem.

    No interval if all values are equal: it would have no width at any level.
    """
    n = sample.size
    if n == 0:
        return NONE
    value = float(sample.mean())
    if n == 1 or not np.isfinite(value) or np.ptp(sample) == 0:
        return Estimate.of(value)
    half = float(_student(n - 1, level) * sample.std(ddof=1) / np.sqrt(n))
    return Estimate.of(value, value - half, value + half, level)


def interquartile_mean(sample: Floats, level: float = LEVEL) -> Estimate:
    """Return the mean without the lowest and the highest quarter of the values, each rounded down.

    The interval is a trimmed mean's t interval, by the winsorised variance (Tukey & McLaughlin 1963; Yuen 1974,
    Biometrika 61:165); none if all remaining values are equal. As a summary of runs: Agarwal et al. 2021, NeurIPS 34.
    """
    n = sample.size
    if n == 0:
        return NONE
    off = n // 4
    ordered = np.sort(sample)
    middle = ordered[off : n - off]
    value, left = float(middle.mean()), middle.size
    winsorised = np.clip(ordered, middle[0], middle[-1])
    if left == 1 or not np.isfinite(value) or np.ptp(middle) == 0:
        return Estimate.of(value)
    half = float(_student(left - 1, level) * winsorised.std(ddof=1) * np.sqrt(n) / left)
    return Estimate.of(value, value - half, value + half, level)


def bounded_mean(sample: Floats, ends: tuple[float, float], level: float = LEVEL) -> Estimate:
    """Return the mean of values between two ends, with Student's t interval of the sample plus one value at each end.

    For few, skewed values, for example numbers of trials, many of which may be at an end: plain t and bootstrap
    intervals hold the mean in 60 to 90 % of studies. The two added values do for a mean what Agresti & Coull (1998, The
    American Statistician 52:119) do for a share: they widen the interval, less so with more runs. There is none for
    fewer than BOOTSTRAP_FROM values, where it would be little else than both ends.
    """
    if not sample.size:
        return NONE
    value, wider = float(sample.mean()), mean(np.append(sample, ends), level)
    if sample.size < BOOTSTRAP_FROM or wider.low is None or wider.high is None:
        return Estimate.of(value)
    return Estimate.of(
        value, max(ends[0], min(value, wider.low)), min(ends[1], max(value, wider.high)), level
    )


def hodges_lehmann(a: Floats, b: Floats, level: float = LEVEL) -> Estimate:
    """Return the shift of `a` against `b`: the median of all a_i - b_j, with the inverted Mann-Whitney interval.

    The interval holds the shifts that the exact two-sided test does not reject. Its level is computed from the null
    distribution without ties, and is at least that with ties (the interval is closed). Samples that differ in shape too
    have no single shift. (Hodges & Lehmann 1963; Hollander, Wolfe & Chicken 2014, section 4.3.)
    """
    shifts = differences(a[:, None], b).ravel()
    if max(a.size, b.size) <= EXACT_UP_TO:
        cdf = rank_sum_cdf(a.size, b.size)
    else:
        centre = a.size * b.size / 2
        spread = np.sqrt(a.size * b.size * (a.size + b.size + 1) / 12)
        cdf = scipy.special.ndtr((np.arange(int(centre)) + 0.5 - centre) / spread)
    return _inverted(shifts, cdf, level)


def paired_hodges_lehmann(a: Floats, b: Floats, level: float = LEVEL) -> Estimate:
    """Return the typical difference a_i - b_i: the median Walsh average, with the inverted signed-rank interval.

    Differences are assumed symmetric; the level is as in `hodges_lehmann`. (Hollander, Wolfe & Chicken 2014, sections
    3.2-3.3.)
    """
    d = differences(a, b)
    with np.errstate(invalid="ignore"):
        walsh = ((d[:, None] + d) / 2)[np.triu_indices(d.size)]
    if d.size <= EXACT_UP_TO:
        cdf = signed_rank_cdf(d.size)
    else:
        centre, spread = walsh.size / 2, np.sqrt(d.size * (d.size + 1) * (2 * d.size + 1) / 24)
        cdf = scipy.special.ndtr((np.arange(int(centre)) + 0.5 - centre) / spread)
    return _inverted(walsh, cdf, level)


def superiority(a: Floats, b: Floats, level: float = LEVEL) -> Estimate:
    """Return P(A > B) + P(A = B) / 2 for a random run of each, with Newcombe's score interval.

    The interval (method 5 of Newcombe 2006, Statistics in Medicine 25:559) solves Wilson's equation with Hanley &
    McNeil's variance. It stays inside [0, 1] and has a width even if every run of one arm beats every run of the other.
    It assumes independent samples, and so is conservative if runs are paired and agree.
    """
    if not (a.size and b.size):
        return NONE
    value = float(((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean())
    if a.size == 1 or b.size == 1:
        return Estimate.of(value)
    z2 = float(scipy.special.ndtri((1 + level) / 2)) ** 2
    others = (a.size + b.size) / 2 - 1

    def excess(theta: float) -> float:
        spread = theta * (1 - theta) * (1 + others * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return (value - theta) ** 2 - z2 * spread / (a.size * b.size)

    inside = min(max(value, 1e-12), 1 - 1e-12)  # 0 and 1 are roots that bound nothing
    low = _bisect(excess, 0.0, inside) if value > 0 else 0.0
    high = _bisect(excess, 1.0, inside) if value < 1 else 1.0
    return Estimate.of(value, low, high, level)


def mann_whitney(a: Floats, b: Floats) -> float:
    """Return the two-sided p of the exact permutation test on rank sums, with mid-ranks for ties.

    All splits of the pooled values are counted, not sampled, so without ties it is the Mann-Whitney test.
    (Streitberg & Röhmel 1986; Hollander, Wolfe & Chicken 2014, section 4.1.)
    """
    if not (a.size and b.size):
        return np.nan
    if max(a.size, b.size) > EXACT_UP_TO:
        return float(scipy.stats.mannwhitneyu(a, b, method="asymptotic").pvalue)
    doubled = _doubled_ranks(np.concatenate([a, b]))
    return _two_sided(_split_sums(tuple(sorted(doubled.tolist())), a.size), int(doubled[: a.size].sum()))


def wilcoxon(a: Floats, b: Floats) -> float:
    """Return the two-sided p of the exact signed-rank test for pairs; 1 if all pairs are equal.

    Ties get mid-ranks; zeros are ranked, then dropped (Pratt 1959). All signs of the differences are counted, not
    sampled. (Hollander, Wolfe & Chicken 2014, section 3.1.)
    """
    d = differences(a, b)
    if d.size == 0:
        return np.nan
    if not d.any():
        return 1.0
    if d.size > EXACT_UP_TO:
        return float(
            scipy.stats.wilcoxon(d, zero_method="pratt", correction=True, method="asymptotic").pvalue
        )
    doubled = _doubled_ranks(np.abs(d))
    return _two_sided(_subset_sums(tuple(sorted(doubled[d != 0].tolist()))), int(doubled[d > 0].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down adjustment over a family of tests (Holm 1979); NaN stays NaN and does
    not count as a test."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = [int(i) for i in np.argsort(p) if not np.isnan(p[i])]
    steps = [min(1.0, (len(order) - step) * float(p[i])) for step, i in enumerate(order)]
    adjusted[order] = np.maximum.accumulate(steps) if steps else []
    return [float(value) for value in adjusted]


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """Return a share with Wilson's score interval (Wilson 1927)."""
    if n == 0:
        return NONE
    share, z = successes / n, float(scipy.special.ndtri((1 + level) / 2))
    centre = (2 * n * share + z**2) / (2 * (n + z**2))
    half = z / (2 * (n + z**2)) * math.sqrt(4 * n * share * (1 - share) + z**2)
    low = 0.0 if successes == 0 else centre - half
    return Estimate.of(share, low, 1.0 if successes == n else centre + half, level)


def resample(runs: int, resamples: int, rng: np.random.Generator) -> Draws:
    """Draw `runs` runs with replacement, and return how often each is drawn: `(runs, resamples)`.

    Paired samples must share their draws.
    """
    drawn = rng.integers(runs, size=(resamples, runs), dtype=np.int64)
    cell = drawn * resamples + np.arange(resamples)[:, None]
    counts = np.bincount(cell.ravel(), minlength=runs * resamples).reshape(runs, resamples)
    return counts.astype(np.min_scalar_type(runs))


def percentiles(replicates: Floats, runs: int, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the bootstrap percentile interval of `(..., resamples)` replicates over samples of `runs` runs.

    The percentiles are moved outwards, from Φ(∓z) to Φ(∓t √(n / (n - 1))): plain ones cover too little with
    few runs (the "expanded percentile" interval of Hesterberg 2015, The American Statistician 69:371).
    Replicates may be infinite, so each end is a replicate, never between two. NaN if a replicate is undefined (NaN),
    and for fewer than BOOTSTRAP_FROM runs.
    """
    undefined = np.isnan(replicates).any(axis=-1) | (runs < BOOTSTRAP_FROM)
    if undefined.all():
        return np.full(undefined.shape, np.nan), np.full(undefined.shape, np.nan)
    tail = scipy.special.ndtr(-_student(runs - 1, level) * np.sqrt(runs / (runs - 1)))
    k = max(1, int(np.ceil(tail * replicates.shape[-1])))
    ordered = np.partition(replicates, (k - 1, -k), axis=-1)  # only in the two places read below
    return np.where(undefined, np.nan, ordered[..., k - 1]), np.where(undefined, np.nan, ordered[..., -k])


def bootstrap(value: float, replicates: Floats, runs: int, level: float = LEVEL) -> Estimate:
    """Return `value`, a statistic of all runs, with the interval of its `(resamples,)` replicates."""
    low, high = percentiles(replicates, runs, level)
    return Estimate.of(value, float(low), float(high), np.nan if np.isnan(low) else level)


@lru_cache(maxsize=64)
def rank_sum_cdf(m: int, n: int) -> Floats:
    """Return P(U <= u) for u = 0, ..., m n, with Mann-Whitney's U for samples of m and n without ties."""
    sums = _split_sums(tuple(range(2, 2 * (m + n) + 1, 2)), m)
    return np.cumsum(sums[m * (m + 1) :: 2])


@lru_cache(maxsize=64)
def signed_rank_cdf(n: int) -> Floats:
    """Return P(T <= t) for t = 0, ..., n (n + 1) / 2, with Wilcoxon's signed-rank sum T without ties and zeros."""
    return np.cumsum(_subset_sums(tuple(range(2, 2 * n + 1, 2)))[::2])


@lru_cache(maxsize=1024)
def _median_rank(n: int, level: float) -> tuple[int, float]:
    """Return which order statistic from either end bounds the median of `n`, and how often the two hold it."""
    return _rank(scipy.special.bdtr(np.arange((n + 1) // 2), n, 0.5), level)


@lru_cache(maxsize=1024)
def _student(freedom: int, level: float) -> float:
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2))


def _doubled_ranks(values: Floats) -> NDArray[np.int64]:
    """Return twice the mid-rank of each value, a whole number."""
    _, distinct, ties = np.unique(values, return_inverse=True, return_counts=True)
    return (2 * np.cumsum(ties) - ties + 1)[distinct]


def _bisect(f: Callable[[float], float], above: float, below: float) -> float:
    """Return where `f`, positive at `above` and not at `below`, changes its sign, to the last bit."""
    while above != (middle := (above + below) / 2) != below:
        above, below = (middle, below) if f(middle) > 0 else (above, middle)
    return middle


def differences(a: Floats, b: Floats) -> Floats:
    """Return a - b, rounded to twelve decimals of the power of ten above the largest value, so that 0.93 - 0.92 and
    0.92 - 0.91 are 0.01 and tie. Equal infinities differ by 0."""
    values = np.abs(np.concatenate([a.ravel(), b.ravel()]))
    scale = 10.0 ** math.ceil(math.log10(values[np.isfinite(values)].max(initial=0.0) or 1.0))
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, np.round((a - b) / scale, 12) * scale)


def _split_sums(ranks: tuple[int, ...], size: int) -> Floats:
    """Return P(sum = s) for s = 0, 1, ..., largest, if `size` of the ranks are drawn without replacement."""
    ways = np.zeros((size + 1, sum(ranks[-size:]) + 1))
    ways[0, 0] = 1.0
    for left, rank in zip(reversed(range(len(ranks))), ranks, strict=True):
        most, least = min(len(ranks) - left, size), max(1, size - left)  # drawn so far, to end with `size`
        for drawn in range(most, least - 1, -1):
            ways[drawn, rank:] += ways[drawn - 1, : ways.shape[1] - rank]
    return np.asarray(ways[size] / scipy.special.binom(len(ranks), size))


def _subset_sums(ranks: tuple[int, ...]) -> Floats:
    """Return P(sum = s) for s = 0, 1, ..., largest, if each of the ranks joins with probability 1/2."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        joined = chance[: chance.size - rank] / 2
        chance /= 2
        chance[rank:] += joined
    return chance


def _two_sided(chance: Floats, observed: int) -> float:
    """Return twice the smaller tail; both tails include the observed value."""
    return float(min(1.0, 2 * min(chance[: observed + 1].sum(), chance[observed:].sum())))


def _rank(cdf: Floats, level: float) -> tuple[int, float]:
    """Return the largest k >= 1 with `1 - 2 cdf[k - 1] >= level`, else 1; and `1 - 2 cdf[k - 1]`."""
    k = max(1, int(np.searchsorted(cdf, (1 - level) / 2, side="right")))
    return k, float(1 - 2 * cdf[k - 1])


def _inverted(values: Floats, cdf: Floats, level: float) -> Estimate:
    """Return the median of `values`, between the k-th values from either end; the test's null `cdf` gives k.

    A NaN, the average of inf and -inf, could rank anywhere: the ends allow for that, and the median is NaN if it
    depends on it.
    """
    if values.size == 0:
        return NONE
    lowest, highest = (np.sort(np.where(np.isnan(values), end, values)) for end in (-np.inf, np.inf))
    middle = lowest.size // 2
    with np.errstate(invalid="ignore"):
        medians = [(ordered[middle] + ordered[-middle - 1]) / 2 for ordered in (lowest, highest)]
    scale = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    same = math.isclose(*medians, rel_tol=0.0, abs_tol=1e-9 * scale)  # they may differ by rounding alone
    value = float(medians[0]) if same else np.nan
    k, coverage = _rank(cdf, level)
    if coverage <= 0 or values.size == 1:
        return Estimate.of(value)
    return Estimate.of(value, float(lowest[k - 1]), float(highest[-k]), coverage)
