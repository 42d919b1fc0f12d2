"""Branin and Hartmann-6, to be minimised, and a searcher's best value on them."""

import math

import numpy as np

from studies.design.searchers import SEARCHERS, Observation
from studies.design.space import Float

BRANIN = {"x1": Float(-5.0, 10.0), "x2": Float(0.0, 15.0)}  # minimum 0.397887
HARTMANN6 = {f"x{i}": Float(0.0, 1.0) for i in range(1, 7)}  # minimum -3.32237

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


def hartmann6(x):
    inner = (_A * (np.array(list(x.values())) - _P) ** 2).sum(1)
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-inner))


FUNCTIONS = {"branin": (branin, BRANIN), "hartmann6": (hartmann6, HARTMANN6)}


def best_found(function, searcher, seed, trials=25):
    """The lowest value of a run of `trials` trials."""
    f, space = FUNCTIONS[function]
    history = []
    for _ in range(trials):
        suggestion = SEARCHERS[searcher].suggest(space, history, seed, maximize=False, initial_trials=5)
        history.append(Observation(suggestion.hyperparameters, f(suggestion.hyperparameters)))
    return min(observation.objective for observation in history)
