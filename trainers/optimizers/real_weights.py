"""Real-valued weights where binary ones will be: the first of two steps."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.optimizers.adam import Adam, adam_step, project
from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.relaxed import Relaxed
from trainers.schedules import Progress


class RealWeights(Relaxed):
    """Adam on real-valued weights that are put back into [-1, 1] after every step.

    Source: Paren & Poudel 2021, section 4.3, pre-training.

    No method of its own: they never grow binary. `binarised` gives their signs.
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
