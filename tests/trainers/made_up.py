"""Data sets made up for a test, and a setting of every method."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from trainers.data import DATASETS, Samples, Splits
from trainers.data.splits import channel_statistics
from trainers.tasks import Task

RELAXED = {"learning_rate": 0.05, "lambda_rate": 2.0}
LATENT = {"learning_rate": 1.0, "initial_magnitude": 0.01, "gamma": 0.1, "weight_decay": 1e-3}
VALUES: dict[str, dict[str, Any]] = {
    "gradient-filter": {"alpha": 1e-2, "gamma": 0.1},
    "latent-sgd": LATENT | {"scaling": True, "clipping": True},
    "gradient-filter-first-order": {"alpha": 1e-2},
    "iir-filter": {"cutoff": 1e-2, "order": 3},
    "latent-sgd-magnitude-independent": LATENT,
    "ste-adam": {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.99, "weight_decay": 1e-3, "clipping": True},
    "bop": {"gamma": 1e-2, "tau": 1e-6, "tau_decay": "linear"},
    "bop-second-order": {"gamma": 1e-2, "sigma": 1e-2, "tau": 1e-2},
    "mirror-descent": {"learning_rate": 0.05, "beta_rate": 2.0},
    "proxquant-l1": RELAXED,
    "proxquant-l2": RELAXED,
    "bnew": RELAXED,
}


def bright_and_dark(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `task` 64 images for all its splits: bright ones are of class 1, dark ones of 0."""
    shape = (1, 28, 28) if task.dataset == "mnist" else (3, 32, 32)
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(64) % 2
    inputs = torch.randint(0, 128, (64, *shape), generator=generator) + 128 * targets[:, None, None, None]
    samples = Samples(inputs.to(torch.uint8), targets)
    mean, std = channel_statistics(samples.inputs)
    splits = Splits(samples, samples, samples, classes=2, mean=mean, std=std)
    monkeypatch.setitem(
        DATASETS, task.dataset, replace(DATASETS[task.dataset], load=lambda root, seed: splits)
    )
