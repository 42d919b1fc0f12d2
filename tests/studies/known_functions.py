"""Functions to minimise whose minima are known, and how near to them a searcher gets."""

import math

import numpy as np

from studies.design.searchers import SEARCHERS, Observation
from studies.design.space import Choice, Float

BRANIN = {"x1": Float(-5.0, 10.0), "x2": Float(0.0, 15.0)}  # minimum 0.397887
HARTMANN6 = {f"x{i}": Float(0.0, 1.0) for i in range(1, 7)}  # minimum -3.32237
SWITCH = Choice((False, True))
MIXED = {f"x{i}": Float(0.0, 1.0) for i in range(1, 5)} | {
    "dear": SWITCH,
    "mirrored": SWITCH,
}  # minimum -3.72984

_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def branin(x):
    x1, x2 = x["x1"], x["x2"]
    return (
        (x2 - 5.1 / (4 * math.pi**2) * x1**2 + 5 / math.pi * x1 - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x1)
        + 10
    )


def hartmann(*x):
    """Return Hartmann's function of as many dimensions as there are numbers, up to six."""
    inner = (_A[:, : len(x)] * (np.array(x) - _P[:, : len(x)]) ** 2).sum(1)
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-inner))


def hartmann6(x):
    return hartmann(*x.values())


def mixed(x):
    """Return Hartmann-4 with a switch that mirrors a dimension, and costs a little if off, and one that costs if on."""
    x1, x2, x3, x4 = (x[f"x{i}"] for i in range(1, 5))
    return hartmann(1 - x1 if x["mirrored"] else x1, x2, x3, x4) + 0.3 * x["dear"] + 0.2 * (not x["mirrored"])


# each with its space, its minimum, and the standard deviation of the noise if there is any
FUNCTIONS = {
    "branin": (branin, BRANIN, 0.397887, 5.0),
    "hartmann6": (hartmann6, HARTMANN6, -3.32237, 0.1),
    "mixed": (mixed, MIXED, -3.72984, 0.1),
}


def regrets(function, searcher, seed, *, noisy=False, repeats=1, trials=25, told=False):
    """Return, after each of `trials` trials, how far the trial with the lowest objective truly is from the minimum.

    With noise, an objective is the mean of `repeats` draws; if `told`, the searcher knows its standard error.
    """
    f, space, minimum, deviation = FUNCTIONS[function]
    history, true = [], []
    for trial in range(trials):
        x = (
            SEARCHERS[searcher]
            .suggest(space, history, seed, maximize=False, initial_trials=5)
            .hyperparameters
        )
        true.append(f(x))
        drawn = true[-1] + noisy * deviation * np.random.default_rng([seed, trial]).standard_normal(repeats)
        error = {"sem": float(drawn.std(ddof=1) / math.sqrt(repeats))} if told else {}
        history.append(Observation(x, float(drawn.mean()), **error))
    best = np.array([np.argmin([o.objective for o in history[: n + 1]]) for n in range(trials)])
    return np.array(true)[best] - minimum
