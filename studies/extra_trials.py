"""How many extra trials a method needs to get where another is after n: the paper's "around 10 more"."""

import numpy as np
from numpy.typing import NDArray

from studies.curves import Floats

CELLS = 4_000_000  # numbers of resampled curves held at a time


def mean_curve(best: Floats) -> Floats:
    """`(..., runs, trials)` to `(..., trials)`: mean over the runs, NaN where one has no value.

    A mean over the runs that have one would fall when a bad run gets its first, or a good one stops early.
    """
    return np.asarray(best.mean(axis=-2))


def median_curve(best: Floats) -> Floats:
    """`(..., runs, trials)` to `(..., trials)`: median over the runs, NaN where one has no value."""
    return np.asarray(np.median(best, axis=-2))


CURVES = {"mean": mean_curve, "median": median_curve}


def resampled_curves(best: Floats, rows: NDArray[np.int64]) -> dict[str, Floats]:
    """The mean and the median curve of every bootstrap sample of runs, each `(resamples, trials)`.

    `best` is `(runs, trials)` and `rows`, `(resamples, runs)`, the row numbers of each sample: the same ones
    for two methods whose runs are paired.
    """
    size = max(1, CELLS // max(1, best.size))
    parts = []
    for start in range(0, len(rows), size):
        samples = best[rows[start : start + size]]
        parts.append({name: curve(samples) for name, curve in CURVES.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in CURVES}


def extra_trials(a: Floats, b: Floats) -> Floats:
    """For every n, the trials beyond n that curve `a` needs to get where `b` is after n.

    Negative where it needs fewer, on a plateau of `a` even against itself: it was there before n. `a` and `b` are
    `(..., trials)`, higher is better. Infinite where `a` is not there within the budget N: what is known then is
    that it needs at least N - n + 1 more. NaN where `b` has no value.
    """
    extra = np.full(b.shape, np.nan)
    for i in range(b.shape[-1]):
        goal = b[..., i : i + 1]
        # equal means must count as equal in whatever order their runs were added up
        there = a >= goal - 1e-12 * np.abs(goal)
        reach = np.where(there.any(axis=-1), there.argmax(axis=-1) - i, np.inf)
        extra[..., i] = np.where(np.isnan(goal[..., 0]), np.nan, reach)
    return extra
