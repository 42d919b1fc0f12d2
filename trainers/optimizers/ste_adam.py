"""Adam on latent weights, straight through their sign (Paren & Poudel 2021, section 3.1, Nayak 2020)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.optimizers.adam import Adam, adam_step, project
from trainers.optimizers.binary_optimizer import BinaryOptimizer, glorot
from trainers.optimizers.buffers import buffer
from trainers.optimizers.signs import without_gradient_past_one, write_scaled_signs, write_signs


class STEAdam(BinaryOptimizer):
    """Optimizer of binary weights that are the signs of latent weights, which Adam moves.

    The gradient is the loss's with respect to the binary weights (Paren & Poudel 2021, eqs 4 and 5). With `clipping`
    the latent weights are clamped to [-1, 1] after every step, the projection of eq 4. They start Glorot uniform like a
    real-valued layer's, or uniform in [-initial_magnitude, initial_magnitude]. Adam's bias correction counts the steps
    of a parameter's group.

    `scaling` and `masking` are Bi-Real Net's and ReActNet's. `scaling` multiplies weights by their channel's mean
    magnitude, which the gradient treats as a constant. With `masking` a latent weight outside [-1, 1] has no gradient.
    `glorot_rates` divides each layer's learning rate by twice its Glorot bound, as in the code of Nayak 2020.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "beta1",
        "beta2",
        "weight_decay",
        "clipping",
    )
    optional: ClassVar[Mapping[str, Any]] = {
        **BinaryOptimizer.optional,
        "scaling": False,
        "masking": False,
        "initial_magnitude": None,
        "glorot_rates": False,
    }
    may_be_none: ClassVar[tuple[str, ...]] = ("initial_magnitude",)
    decayed: ClassVar[str] = "learning_rate"
    latent: ClassVar[bool] = True

    def initialise(self, group: dict[str, Any]) -> None:
        super().initialise(group)
        for theta in group["params"]:
            w = self.draw_latent(theta, group["initial_magnitude"])
            if group["scaling"]:
                write_scaled_signs(theta, w)
            if group["glorot_rates"]:
                self.state[theta]["rate"] = _a_channel(buffer(theta)).fill_(0.5 / glorot(theta))

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        super().start(group, theta, weight, real)
        if group["scaling"]:
            write_scaled_signs(theta, self.state[theta]["w"])

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("w", "m", "v", "rate") if group["glorot_rates"] else ("w", "m", "v")

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ws, ms, vs, *rates = buffers
        if group["masking"]:
            gradients = without_gradient_past_one(gradients, ws)
        adam = Adam(group["learning_rate"], group["beta1"], group["beta2"], group["weight_decay"])
        adam_step(gradients, ws, ms, vs, group["steps"], adam, *rates)
        if group["clipping"]:
            project(ws)
        if not group["scaling"]:
            write_signs(thetas, ws)
            return
        for theta, w in zip(thetas, ws, strict=True):
            write_scaled_signs(theta, w)


def _a_channel(x: Tensor) -> Tensor:
    """Return zeros, one per channel (first dimension), in a shape that broadcasts to `x`'s."""
    return torch.zeros(
        [size if i == 0 else 1 for i, size in enumerate(x.shape)], dtype=x.dtype, device=x.device
    )
