"""Studies small enough for tests to run, and a sink that keeps their records."""

from dataclasses import replace

from studies.design.spec import from_json


class Kept:
    def __init__(self):
        self.trials = []

    def record(self, trial):
        self.trials.append(trial)

    def at(self, addresses):
        return {}


def study(**changes):
    data = {
        "name": "s",
        "task": "spoken-digits",
        "proxy": {"width": 16, "epochs": 10},
        "methods": ["gradient-filter", "latent-sgd"],
        "searcher": {"name": "botorch", "initial_trials": 2},
        "runs": 2,
        "trials": 3,
    }
    return from_json(data | changes)


def figures(epochs):
    return [replace(epoch, train_seconds=0.0, evaluate_seconds=0.0) for epoch in epochs]
