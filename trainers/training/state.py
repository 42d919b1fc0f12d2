"""The state of a training: all that changes from step to step."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainers.optimizers import BinaryOptimizer
from trainers.training.flips import FlipCounter
from trainers.training.recorder import Recorder
from trainers.training.results import EpochResult, Series


class State:
    """All that changes over a training; a training that loads its `state_dict` goes on from there, bit for bit.

    `step` counts the training's steps taken, and `results` are its finished epochs'. `loss_sum`, `flips`, the rows in
    `recorder` and `train_seconds` are the present epoch's; `train_seconds` is up to date only when a checkpoint is
    written and when the epoch ends. `stage` is the index of the present stage, and the optimizers are that stage's.
    Dropout and other draws without a generator use torch's own random state, whose present value is in `state_dict`.
    """

    binary_optimizer: BinaryOptimizer
    real_optimizer: torch.optim.Optimizer
    flips: FlipCounter

    def __init__(self, model: nn.Module, augmentation: torch.Generator, recorder: Recorder) -> None:
        self.model = model
        self.recorder = recorder
        self.augmentation = augmentation
        self.device = augmentation.device
        self.loss_sum = torch.zeros((), dtype=next(model.parameters()).dtype, device=self.device)
        self.stage = self.step = 0
        self.train_seconds = 0.0
        self.results: list[EpochResult] = []
        self._draws: list[Tensor] = []

    def begin_epoch(self) -> None:
        self.loss_sum.zero_()
        self.flips.reset()
        self.train_seconds = 0.0
        self._draws = []

    def is_finite(self) -> bool:
        """Return whether all numbers of the network and the binary weights' optimizer are finite. Waits for the device.

        NaN has a sign like any number, so the layers after a sign do not show that earlier ones are broken.
        """
        kept = [value for values in self.binary_optimizer.state.values() for value in values.values()]
        numbers = [
            t for t in (*self.model.state_dict().values(), *kept) if t.is_floating_point() and t.numel()
        ]
        ends = [
            end for t in numbers for end in t.aminmax()
        ]  # of NaN both are NaN; isfinite takes eight times as long
        return bool(torch.stack(ends).isfinite().all())

    def restore_draws(self) -> None:
        """In an epoch that was loaded, restore torch's random state."""
        if self._draws:
            torch.set_rng_state(self._draws[0])
        if self._draws[1:]:
            torch.cuda.set_rng_state(self._draws[1], self.device)
        self._draws = []

    def state_dict(self) -> dict[str, Any]:
        draws = [torch.get_rng_state()]
        if self.device.type == "cuda":
            draws.append(torch.cuda.get_rng_state(self.device))
        return {
            "model": self.model.state_dict(),
            "binary_optimizer": self.binary_optimizer.state_dict(),
            "real_optimizer": self.real_optimizer.state_dict(),
            "flips": self.flips.state_dict(),
            "augmentation": self.augmentation.get_state(),
            "draws": draws,
            "loss_sum": self.loss_sum,
            "real_weights": self.binary_optimizer.real,
            "stage": self.stage,
            "step": self.step,
            "train_seconds": self.train_seconds,
            "recorder": self.recorder.state_dict(),
            "results": [_as_tensors(result) for result in self.results],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.binary_optimizer.load_state_dict(state["binary_optimizer"])
        self.real_optimizer.load_state_dict(state["real_optimizer"])
        self.flips.load_state_dict(state["flips"])
        self.augmentation.set_state(state["augmentation"])
        self._draws = state["draws"]
        self.loss_sum.copy_(state["loss_sum"])
        self.step = state["step"]
        self.train_seconds = state["train_seconds"]
        if "recorder" in state:  # older checkpoints have none: nothing was recorded
            self.recorder.load_state_dict(state["recorder"])
        self.results = [_from_tensors(result) for result in state["results"]]


def _as_tensors(result: EpochResult) -> dict[str, Any]:
    """Return an epoch's result by name, its series as tensors, which a checkpoint may hold."""
    series = [
        {"name": each.name, "steps": torch.from_numpy(each.steps), "values": torch.from_numpy(each.values)}
        for each in result.series
    ]
    return asdict(replace(result, series=())) | {"series": series}


def _from_tensors(result: dict[str, Any]) -> EpochResult:
    series = tuple(
        Series(each["name"], each["steps"].numpy(), each["values"].numpy())
        for each in result.get("series", ())
    )
    return EpochResult(**{**result, "series": series})
