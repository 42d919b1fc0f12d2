"""Made-up data sets, small networks, watched networks, a setting of every method, and a stop, for tests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers.data import DATASETS, Samples, Splits
from trainers.data.splits import channel_statistics
from trainers.layers.binary import partition
from trainers.models import MODELS
from trainers.tasks import Task
from trainers.training import loop
from trainers.training.checkpoints import Checkpoint
from trainers.training.results import EpochResult
from trainers.training_spec import Machine, TrainingSpec

RELAXED = {"learning_rate": 0.05, "lambda_rate": 0.05}
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

# the networks, small enough for a step each: image shape, options
SMALL: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "audio-mlp": ((4, 5), {"width": 8}),
    "fullycon": ((1, 6, 6), {"width": 16}),
    "lenet5": ((1, 12, 12), {"width": 4}),
    "convnet": ((3, 8, 8), {"width": 8}),
    "bvgg": ((3, 14, 14), {"width": 8}),
    "autoencoder": ((3, 16, 16), {"width": 8}),
    "birealnet20": ((3, 12, 12), {"width": 4}),
    "birealnet18": ((3, 48, 48), {"width": 4}),
    "binary-resnet20": ((3, 12, 12), {"width": 4}),
    "resnet20": ((3, 12, 12), {"width": 4}),
    "reactnet20": ((3, 16, 16), {"width": 4}),
    "preactivation-resnet20": ((3, 12, 12), {"width": 4}),
    "reactnet-a": ((3, 48, 48), {"width": 4}),
    "resnet34": ((3, 48, 48), {"width": 4}),
}


def bright_and_dark(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `task` the same 64 images for all its splits: bright ones in class 1, dark ones in class 0."""
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


def watched(task: Task, monkeypatch: pytest.MonkeyPatch, look: Callable[[nn.Module, Tensor], None]) -> Task:
    """Return `task` with a network that calls `look` with itself and its inputs before every forward pass."""
    build = MODELS[task.model]

    def model(*arguments: Any, **options: Any) -> nn.Module:
        network = build(*arguments, **options)
        network.register_forward_pre_hook(lambda module, inputs: look(module, inputs[0]))
        return network

    monkeypatch.setitem(MODELS, "watched", model)
    return replace(task, model="watched")


def watched_weights(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> tuple[Task, list[list[Tensor]], list[bool]]:
    """Return `task`, its binary layers' weights before each step, and whether all were +-1 at each scored batch."""
    trained: list[list[Tensor]] = []
    scored: list[bool] = []

    def look(model: nn.Module, _: Tensor) -> None:
        binary = [p.detach().clone() for p in partition(model)[0]]
        if model.training:
            trained.append(binary)
        else:
            scored.append(all((p.abs() == 1).all() for p in binary))

    return watched(task, monkeypatch, look), trained, scored


def train_with(
    task: Task,
    method: str | None,
    hyperparameters: Mapping[str, Any],
    *,
    checkpoint: Checkpoint | None = None,
    save: Path | None = None,
    **others: Any,
) -> Iterator[EpochResult]:
    """Call `train` with `others`, the fields of its `TrainingSpec` and `Machine`, and yield the results."""
    on = {each.name: others.pop(each.name) for each in fields(Machine) if each.name in others}
    spec = TrainingSpec(task=task, method=method, hyperparameters=hyperparameters, **others)
    return loop.train(spec, Machine(**on), checkpoint=checkpoint, save=save)


class Stop(BaseException):
    """The end of the training's process."""


class Stopping(Checkpoint):
    """A checkpoint written once, after `steps` steps, when the training stops. An epoch's end counts as a step."""

    def __init__(self, path: Path, steps: int) -> None:
        super().__init__(path)
        self.steps = steps

    def due(self, *, end: bool = False) -> bool:
        self.steps -= 1
        return self.steps == 0

    def write(self, state: Mapping[str, Any]) -> None:
        super().write(state)
        raise Stop
