"""Optimizers of binary layers' weights that are still real-valued, in the first step of two-step training."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.optimizers.adam import Adam, adam_step, project
from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.relaxed import Relaxed
from trainers.optimizers.scalars import within
from trainers.schedules import Progress


class RealWeights(Relaxed):
    """Adam on real-valued weights that are clamped to [-1, 1] after every step.

    Source: Paren & Poudel 2021, section 4.3, pre-training.

    This is not a method: the weights never become binary. `binarised` gives their signs.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    optional: ClassVar[Mapping[str, Any]] = BinaryOptimizer.optional

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        BinaryOptimizer.move(self, group, progress)

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        project(ws)
        torch._foreach_copy_(thetas, ws)

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ws, ms, vs = buffers
        adam = Adam(group["learning_rate"], weight_decay=group["weight_decay"])
        adam_step(gradients, ws, ms, vs, group["steps"], adam)
        self.relax(group, thetas, ws)


class RealWeightsSGD(RealWeights):
    """SGD on real-valued weights, which are not clamped: m <- mu m + gradient + lambda w, w <- w - epsilon m.

    Source: Quist 2023, section 4.1, with weight decay as in section 2. `real_momentum` in [0, 1) is mu; m is a sum of
    gradients, not an average, as for the real-valued parameters.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "real_momentum")

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        torch._foreach_copy_(thetas, ws)

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "w", "m"

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ws, ms = buffers
        torch._foreach_mul_(ms, group["real_momentum"])
        torch._foreach_add_(ms, gradients)
        torch._foreach_add_(ms, ws, alpha=within(group["weight_decay"], ws))
        torch._foreach_add_(ws, ms, alpha=within(-group["learning_rate"], ws))
        self.relax(group, thetas, ws)
