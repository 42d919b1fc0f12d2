"""What a number of runs can show, computed before a study, and without NumPy, for the service."""

import math
from statistics import NormalDist

LEVEL = 0.95  # as for the intervals and tests of `stats`
POWER = 0.8
EFFICIENCY = (
    3 / math.pi
)  # of the signed-rank test relative to Student's t on normal differences (Lehmann 1975, section 4.2)


DECIDED_FROM = 7  # the fewest runs that the sequential test can decide, when all differences are equal


def runs_needed(pairs: int, level: float = LEVEL) -> int:
    """Return the fewest runs with which the exact signed-rank test of one of `pairs` pairs of arms, Holm-adjusted, can
    give a p below 1 - `level`: its smallest p is 2 / 2^runs."""
    return math.floor(2 + math.log2(pairs / (1 - level)))


def detectable(runs: int, pairs: int, level: float = LEVEL, power: float = POWER) -> float | None:
    """Return the mean difference between two arms that the paired signed-rank test, at Holm's first step among `pairs`
    pairs, finds with probability `power`, in standard deviations of the difference over runs; None if it never can.

    Differences are taken as normal over runs. Student's t is approximated after Guenther (1981), The American
    Statistician 35:243, and the signed-rank test by its efficiency.
    """
    if runs < runs_needed(pairs, level):
        return None
    normal = NormalDist()
    certain, found = normal.inv_cdf(1 - (1 - level) / (2 * pairs)), normal.inv_cdf(power)
    used = runs * EFFICIENCY - certain**2 / 2
    return (certain + found) / math.sqrt(used) if used > 0 else None


def decidable(runs: int) -> float | None:
    """Return the same for a study that stops when it is decided: for its declared pair, without adjustment for others.

    The factor by which it exceeds `detectable` is fitted to simulated studies of 8 to 80 runs.
    """
    least = detectable(runs, pairs=1)
    return None if least is None or runs < DECIDED_FROM else least * 4 / 3 * (1 + 12 / runs**2)
