"""Evidence run by run: a test and an interval that hold at every number of runs, however often one looks.

A fixed test read after every run calls two equal arms different in far more than one study in twenty. Here each run is
a bet on the sign of its paired difference, at stakes that may depend on its size and on all runs before it. Where the
differences lie symmetrically about 0 no betting makes money on average, so capital that starts at 1 gets to 1 / alpha
at any time with probability alpha at most (Ville 1939; Ramdas et al. 2023, Statistical Science 38:576; for symmetric
differences Vovk & Wang 2024, Nonparametric e-tests of symmetry, New England Journal of Statistics in Data Science).
"""

import numpy as np

from studies.analysis import stats
from studies.analysis.estimate import Estimate
from studies.analysis.stats import LEVEL, Floats

BETS = (
    0.5,
    1.0,
    2.0,
)  # of these a third of the capital each: small for small differences, large for large ones
POINTS = 400  # of the grid on one cell of which an interval's end is found
HALVINGS = 50  # of that cell


def capital(differences: Floats) -> Floats:
    """`(..., runs)`: the capital after each run of one who bets that its difference is above 0.

    Run r is worth 1 + tanh(bet d / s) times what there was, where s is the root mean square of the first r
    differences: an odd function of d that its sign decides once all sizes are known. A difference of 0 changes nothing,
    an infinite one counts as one beside which the others are nothing.
    """
    runs = np.arange(1, differences.shape[-1] + 1)
    finite = np.isfinite(differences)
    squares = np.cumsum(np.where(finite, differences, 0.0) ** 2, axis=-1)
    scale = np.sqrt(squares / np.maximum(np.cumsum(finite, axis=-1), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(finite, differences / scale, np.sign(differences) * np.sqrt(runs))
    relative = np.where(np.isnan(relative), 0.0, relative)
    return np.asarray(np.mean([np.cumprod(1 + np.tanh(b * relative), axis=-1) for b in BETS], axis=0))


def told_apart(differences: Floats, level: float = LEVEL) -> Floats:
    """`(..., runs)`: after each run 1 where the differences are told to lie above 0, -1 below, 0 not yet."""
    bound = 2 / (1 - level)  # half of the error on either side
    above, below = (np.maximum.accumulate(capital(d), axis=-1) >= bound for d in (differences, -differences))
    return above.astype(np.float64) - below


def p_value(a: Floats, b: Floats) -> float:
    """Two-sided, of equal arms against different ones, `a[r]` and `b[r]` paired: holds at every number of runs."""
    d = stats.differences(a, b)
    if d.size == 0:
        return np.nan
    return float(min(1.0, 2 / max(capital(d).max(), capital(-d).max())))


def interval(a: Floats, b: Floats, level: float = LEVEL) -> Estimate:
    """The Hodges-Lehmann difference a_i - b_i with the centres that are not told apart from it after any run.

    They hold the true centre at all numbers of runs at once with probability `level`. No interval where the runs are
    too few to bound it, which takes 7 at 95 % and 6 at 90 %.
    """
    d = stats.differences(a, b)
    value = stats.paired_hodges_lehmann(a, b).value
    ends = -_highest(-d, level), _highest(d, level)
    if value is None or not np.isfinite(ends).any() or ends[0] > ends[1]:
        return Estimate.of(np.nan if value is None else value)
    return Estimate.of(value, *ends, level)


def _highest(d: Floats, level: float) -> float:
    """The highest centre that the differences are not told to lie below; infinite where none is too high."""
    finite = d[np.isfinite(d)]
    if not finite.size:
        return np.inf
    spread = float(np.ptp(finite)) or float(np.abs(finite).max()) or 1.0
    steps = np.concatenate([[0.0], spread * np.geomspace(1e-3, 1e3, POINTS)])
    within = (capital((finite.min() + steps)[:, None] - d) < 2 / (1 - level)).all(axis=-1)
    last = int(np.flatnonzero(within)[-1]) if within.any() else 0
    if last == len(steps) - 1:
        return np.inf
    low, high = finite.min() + steps[last : last + 2]
    for _ in range(HALVINGS):
        centre = (low + high) / 2
        if (capital(centre - d) < 2 / (1 - level)).all():
            low = centre
        else:
            high = centre
    return float(low)  # not told apart, unlike what is a hair above it: 0 is outside where it is told apart
