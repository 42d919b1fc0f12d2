"""The searcher `botorch` beside `ax`: the time of a suggestion, and what is found on functions whose minima are known.

    python tests/benchmarks/suggestion.py [--seeds 24] [--rounds 20]

Times are on one thread at 15 observations, with the two searchers taking turns in one process; imports are timed in
processes of their own. Regret is how far the true value of the trial with the best objective after 25 trials is from
the minimum: without noise, with noise that no searcher is told of, and with objectives that are the means of two noisy
values, whose standard errors `told` searchers know.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from scipy.stats import sem, t

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

from known_functions import FUNCTIONS, regrets

from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS, Observation, suggest_sobol

IMPORTS = {"botorch": "studies.design.bayesian", "ax": "ax.api.client"}
CASES = {
    "no noise": {},
    "noise": {"noisy": True},
    "noise, the mean of two": {"noisy": True, "repeats": 2},
    "noise, the mean of two, told": {"noisy": True, "repeats": 2, "told": True},
}


def imports(module: str) -> float:
    """Return the seconds that importing the module takes if torch is already imported."""
    code = f"import torch, time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    found = [subprocess.check_output([sys.executable, "-W", "ignore", "-c", code]) for _ in range(3)]
    return min(map(float, found))


def times(method: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds per suggestion of each searcher after 15 trials of a method's space, without the first."""
    space, history = METHODS[method].space, list[Observation]()
    for _ in range(15):
        point = suggest_sobol(space, history, 0, maximize=True, initial_trials=5).hyperparameters
        history.append(Observation(point, -sum((float(value) - 0.3) ** 2 for value in point.values())))
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for seed in range(rounds + 1):
        for name, seconds in taken.items():
            start = time.perf_counter()
            SEARCHERS[name].suggest(space, history, seed, maximize=True, initial_trials=5)
            seconds.append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in taken.items()}


def show_times(rounds: int) -> None:
    for name, module in IMPORTS.items():
        print(f"import for {name:8} {imports(module):5.2f} s", flush=True)
    for method in ("gradient-filter", "latent-sgd"):
        taken = times(method, rounds)
        ratio = statistics.median(a / b for a, b in zip(taken["ax"], taken["botorch"], strict=True))
        each = "  ".join(f"{name} {statistics.median(seconds):.3f} s" for name, seconds in taken.items())
        print(f"a suggestion for {method:16} {each}  ratio {ratio:.1f}", flush=True)


def last(function: str, searcher: str, seed: int, case: str) -> float:
    return float(regrets(function, searcher, seed, **CASES[case])[-1])


def show_regrets(seeds: int) -> None:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for case in CASES:
            found = {
                (function, name): [pool.submit(last, function, name, seed, case) for seed in range(seeds)]
                for function in FUNCTIONS
                for name in IMPORTS
            }
            for function in FUNCTIONS:
                both = {name: np.array([f.result() for f in found[function, name]]) for name in IMPORTS}
                difference = both["botorch"] - both["ax"]
                half = t(seeds - 1).ppf(0.975) * sem(difference)
                for name, regret in both.items():
                    low, middle, high = np.quantile(regret, [0.25, 0.5, 0.75])
                    print(
                        f"{case:28} {function:9} {name:8} regret {regret.mean():.3f}, "
                        f"quartiles {low:.3f} {middle:.3f} {high:.3f}",
                        flush=True,
                    )
                print(f"{'':28} {function:9} difference {difference.mean():+.3f} +- {half:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=24, help="0: the times alone")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores: python {' '.join(sys.argv)}", flush=True)
    show_times(arguments.rounds)
    if arguments.seeds:
        show_regrets(arguments.seeds)


if __name__ == "__main__":
    main()
