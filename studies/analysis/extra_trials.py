"""The extra trials that an arm needs to get where another is after n trials: the paper's "around 10 more"."""

import numpy as np

from studies.analysis.curves import Floats
from studies.analysis.stats import Draws


def mean_curve(best: Floats) -> Floats:
    """Return the mean over the runs, `(runs, trials)` to `(trials,)`; NaN where a run has no value.

    A mean over the runs with a value would fall when a bad run gets its first value, or when a good run stops early.
    """
    return np.asarray(best.mean(axis=0))


def median_curve(best: Floats) -> Floats:
    """Return the median over the runs, `(runs, trials)` to `(trials,)`; NaN where a run has no value."""
    return np.asarray(np.median(best, axis=0))


def resampled_means(best: Floats, draws: Draws) -> Floats:
    """Return `mean_curve` of every resample of the runs: `(trials, resamples)`.

    `draws` may be those of only some of the runs that were resampled, at least one in each resample.
    """
    finite = np.isfinite(best)
    # not matmul: BLAS waits milliseconds for its threads while every core is training
    sums = np.einsum("rt,rk->tk", np.where(finite, best, 0.0), draws.astype(np.float64))
    means = sums / draws.sum(axis=0)
    for run, trial in np.argwhere(~finite):  # 0 times any of these is NaN, so the sum leaves them out
        means[trial, draws[run] > 0] += best[run, trial]
    return np.asarray(means)


def resampled_medians(best: Floats, draws: Draws) -> Floats:
    """Return `median_curve` of every resample of the runs: `(trials, resamples)`.

    The runs are sorted once; each resample then counts up its draws until it is half-way.
    """
    runs, trials = best.shape
    order = best.argsort(axis=0)  # NaN last
    passed, lower, upper = (np.zeros((trials, draws.shape[1]), draws.dtype) for _ in range(3))
    for run in order:
        passed += draws[run]
        lower += passed <= (runs - 1) // 2
        upper += passed <= runs // 2
    ordered = np.take_along_axis(best, order, axis=0)
    trial = np.arange(trials)[:, None]
    medians = (ordered[lower, trial] + ordered[upper, trial]) / 2
    for run, trial in np.argwhere(np.isnan(best)):
        medians[trial, draws[run] > 0] = np.nan
    return np.asarray(medians)


CURVES = {"mean": (mean_curve, resampled_means), "median": (median_curve, resampled_medians)}


def extra_trials(a: Floats, b: Floats) -> Floats:
    """Return, for every n, the trials beyond n that curve `a` needs to first get where `b` is after n.

    Negative if `a` got there before n, as on a plateau even a curve compared with itself does. `a` and `b` are
    `(trials, ...)`, higher is better; best-so-far curves never fall, confirmed ones may. Infinite if `a` does not get
    there within the budget N, and so needs at least N - n + 1 more. NaN where `b` has no value.
    """
    budget, undefined = len(a), np.isnan(b)
    # equal means must count as equal, in whatever order their runs were summed
    goals = np.where(undefined, -np.inf, b - 1e-12 * np.abs(b))
    extra = np.empty(b.shape)
    first = 0  # trials short of a goal in every column are short of a higher goal too
    for i, goal in enumerate(goals):
        if i and (goal < goals[i - 1]).any():
            first = 0
        before = np.full(goal.shape, first, np.min_scalar_type(budget))
        short = np.ones(goal.shape, dtype=bool)
        for level in a[first:]:
            short &= ~(level >= goal)  # a NaN of `a` counts as short
            if not short.any():
                break
            before += short
        first = int(before.min())
        extra[i] = np.where(before < budget, before.astype(np.float64) - i, np.inf)
    extra[undefined] = np.nan
    return extra
