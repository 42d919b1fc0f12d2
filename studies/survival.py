"""Trials-to-target: how many trials a run takes to a target, right-censored where it does not get there."""

import numpy as np
from numpy.typing import NDArray

from studies.curves import Floats, Ints


def trials_to(best: Floats, target: float, done: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """First trial of each run at which its best-so-far reaches `target`, and whether it did.

    `best` is `(runs, trials)`, higher is better; a run that did not reach it is censored at `done`, its
    number of trials. Both results are `(runs,)`.
    """
    there = best >= target  # never for NaN
    reached = np.asarray(there.any(axis=1))
    return np.where(reached, there.argmax(axis=1) + 1, done).astype(np.int64), reached


def kaplan_meier(times: Ints, reached: NDArray[np.bool_], horizon: int) -> Floats:
    """Share of runs still short of the target after 0, 1, ..., `horizon` trials.

    `(..., runs)` to `(..., horizon + 1)`. A run censored at trial t counts as at risk through t. (Kaplan &
    Meier 1958.)
    """
    stay = np.ones((*times.shape[:-1], horizon + 1))
    for trial in range(1, horizon + 1):
        at_risk = (times >= trial).sum(axis=-1)
        events = ((times == trial) & reached).sum(axis=-1)
        stay[..., trial] = 1 - events / np.maximum(at_risk, 1)
    return np.asarray(np.cumprod(stay, axis=-1), dtype=np.float64)


def restricted_mean(survival: Floats) -> Floats:
    """Mean of min(trials to the target, horizon): the area under the survival curve up to the horizon.

    A run that never gets there counts as `horizon` trials, so this is a lower bound of the mean that an
    unlimited budget would give. (Royston & Parmar 2013, BMC Medical Research Methodology 13:152.)
    """
    return np.asarray(np.round(survival[..., :-1].sum(axis=-1), 9))  # equal ones differ by exactly 0
