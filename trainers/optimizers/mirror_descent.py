"""Mirror descent: the forward pass uses a steepening tanh of latent weights (Paren & Poudel 2021, section 3.2)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.optimizers.adam import project
from trainers.optimizers.relaxed import Relaxed
from trainers.schedules import Progress

STEEPEST = 1e30  # every tanh is a sign long before this, and float32 can still multiply by it


class MirrorDescent(Relaxed):
    """Optimizer of weights tanh(beta w), beta = beta_rate^t after t epochs, from 1 on (Paren & Poudel 2021, eq 6).

    Adam moves w by the gradient with respect to tanh(beta w), without the derivative of tanh. With `clipping` w is
    clamped to [-1, 1] (eq 4), which neither public code does. At a large beta it is the straight-through method.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "beta_rate")
    optional: ClassVar[Mapping[str, Any]] = {**Relaxed.optional, "clipping": True}
    beginning: Mapping[str, Any] = {**Relaxed.beginning, "beta": 1.0}

    def grow(self, group: dict[str, Any], steps: int, progress: Progress) -> None:
        epochs = max(0, steps + 1) / progress.steps_an_epoch  # this step writes the weights of the next
        group["beta"] = math.exp(min(epochs * math.log(group["beta_rate"]), math.log(STEEPEST)))

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        if group["clipping"]:
            project(ws)
        steep = torch._foreach_mul(ws, group["beta"])
        torch._foreach_tanh_(steep)
        torch._foreach_copy_(thetas, steep)
