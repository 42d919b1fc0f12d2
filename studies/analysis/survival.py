"""Trials to target: how many trials a run takes to reach a target, right-censored if it does not."""

import numpy as np
from numpy.typing import NDArray

from studies.analysis.curves import Floats, Ints
from studies.analysis.stats import Draws


def trials_to(best: Floats, target: float, done: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the first trial of each run at which its best so far reaches `target`, and whether it does.

    `best` is `(runs, trials)`, higher is better; a run that does not reach the target is censored at `done`, its number
    of trials. Both results are `(runs,)`.
    """
    there = best >= target  # never for NaN
    reached = np.asarray(there.any(axis=1))
    return np.where(reached, there.argmax(axis=1) + 1, done).astype(np.int64), reached


def kaplan_meier(times: Ints, reached: NDArray[np.bool_], horizon: int, draws: Draws | None = None) -> Floats:
    """Return the share of runs still short of the target after 0, 1, ..., `horizon` trials: `(horizon + 1,)`.

    With `draws`, for every resample of the runs: `(horizon + 1, resamples)`. A run censored at trial t counts as at
    risk through t. (Kaplan & Meier 1958.)
    """
    counts = (np.ones(times.size) if draws is None else draws).astype(np.float64)
    survival = np.ones((horizon + 1, *counts.shape[1:]))
    at_risk = counts.sum(axis=0)
    for trial in range(1, horizon + 1):
        survival[trial] = survival[trial - 1]
        now = times == trial
        if now.any():
            survival[trial] *= 1 - counts[now & reached].sum(axis=0) / np.maximum(at_risk, 1)
            at_risk -= counts[now].sum(axis=0)
    return survival


def restricted_mean(survival: Floats) -> Floats:
    """Return the mean of min(trials to the target, horizon): the area under the survival curve up to the horizon.

    `(horizon + 1, ...)` to `(...)`. A run that never gets there counts as `horizon` trials, so this is a lower bound
    of the mean that an unlimited budget would give. (Royston & Parmar 2013, BMC Medical Research Methodology 13:152.)
    """
    return np.asarray(np.round(survival[:-1].sum(axis=0), 9))  # equal ones differ by exactly 0
