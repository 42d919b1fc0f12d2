"""A sequential test and interval, which hold at every number of runs, however often one looks.

A fixed test read after every run calls two equal arms different in far more than one study in twenty. Here each run is
a bet on the sign of its paired difference; its stake may depend on the difference's size and on all earlier runs. If
the differences are symmetric about 0, no betting gains on average, so capital that starts at 1 ever reaches 1 / alpha
with probability alpha at most (Ville 1939; Ramdas et al. 2023, Statistical Science 38:576; for symmetric differences
Vovk & Wang 2024, Nonparametric e-tests of symmetry, New England Journal of Statistics in Data Science).
"""

import numpy as np

from studies.analysis import stats
from studies.analysis.estimate import Estimate
from studies.analysis.stats import LEVEL, Floats

BETS = (
    0.5,
    1.0,
    2.0,
)  # stakes of a third of the capital each: small ones for small differences, large ones for large
POINTS = 400  # of the grid in one cell of which an interval's end is found
HALVINGS = 50  # of that cell


def capital(differences: Floats) -> Floats:
    """Return the capital after each run, `(..., runs)`, from bets that each run's difference is above 0.

    Run r multiplies the capital by 1 + tanh(bet d / s), where s is the root mean square of the first r differences: an
    odd function of d, for which only d's sign is open once all sizes are known. A difference of 0 changes nothing; an
    infinite one counts as so large that the others are nothing beside it.
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
    """Return after each run, `(..., runs)`, 1 if the differences are shown to lie above 0, -1 below, 0 neither."""
    bound = 2 / (1 - level)  # half of the error on either side
    above, below = (np.maximum.accumulate(capital(d), axis=-1) >= bound for d in (differences, -differences))
    return above.astype(np.float64) - below


def p_value(a: Floats, b: Floats) -> float:
    """Return the two-sided p for equal arms, with `a[r]` and `b[r]` paired; it holds at every number of runs."""
    d = stats.differences(a, b)
    if d.size == 0:
        return np.nan
    return float(min(1.0, 2 / max(capital(d).max(), capital(-d).max())))


def interval(a: Floats, b: Floats, level: float = LEVEL) -> Estimate:
    """Return the Hodges-Lehmann difference a_i - b_i, with the interval of centres that no run so far has rejected.

    The intervals at all numbers of runs hold the true centre together with probability `level`. No interval if there
    are too few runs to bound it: it takes 7 at 95 % and 6 at 90 %.
    """
    d = stats.differences(a, b)
    value = stats.paired_hodges_lehmann(a, b).value
    ends = -_highest(-d, level), _highest(d, level)
    if value is None or not np.isfinite(ends).any() or ends[0] > ends[1]:
        return Estimate.of(np.nan if value is None else value)
    return Estimate.of(value, *ends, level)


def _highest(d: Floats, level: float) -> float:
    """Return the highest centre that is not rejected as too high; infinity if no centre is."""
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
    return float(low)  # not rejected, unlike values just above it: so 0 lies outside if it is rejected
