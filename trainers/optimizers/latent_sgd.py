"""SGD on latent weights: binary weights are the sign of real-valued ones (Quist 2023, eqs 1-5)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.scalars import within
from trainers.optimizers.signs import without_gradient_past_one, write_scaled_signs, write_signs


def latent_step(
    gradients: list[Tensor],
    ws: list[Tensor],
    ms: list[Tensor],
    learning_rate: float,
    gamma: float,
    weight_decay: float,
    clipping: bool,
) -> None:
    """Take one step in place: m <- (1-gamma) m + gamma gradient, w <- w - epsilon (m + lambda w).

    With `clipping` a gradient counts as 0 where |w| > 1, as in Bi-Real Net: past 1 only momentum and decay
    move w. All lists have the same length, and tensors at the same index the same shape.
    """
    if clipping:
        gradients = without_gradient_past_one(gradients, ws)
    torch._foreach_lerp_(ms, gradients, gamma)
    torch._foreach_mul_(ws, within(1 - learning_rate * weight_decay, ws))
    torch._foreach_add_(ws, ms, alpha=within(-learning_rate, ws))


class LatentSGD(BinaryOptimizer):
    """Optimizer of binary weights that keeps a latent weight for each, with the six knobs of Quist 2023, Table 1.

    `learning_rate` > 0 and `weight_decay` >= 0 are epsilon and lambda, `gamma` in (0, 1] the gradient's
    share in the moving average (momentum is 1 - gamma). Latent weights start uniform in [-s, s], s =
    `initial_magnitude` >= 0; s = 0 starts them at 0 with random signs.

    `clipping` and `scaling` are Bi-Real Net's, see `latent_step` and `write_scaled_signs`. The gradient is the
    loss's with respect to the binary weight, scaled or not: it treats the scale as a constant. The next step
    uses `param_groups[i]["learning_rate"]`, which a schedule may take down to 0. The parameters hold sign(w),
    scaled or not, after every step.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "initial_magnitude",
        "gamma",
        "weight_decay",
        "scaling",
        "clipping",
    )
    decayed: ClassVar[str] = "learning_rate"
    latent: ClassVar[bool] = True

    def initialise(self, group: dict[str, Any]) -> None:
        super().initialise(group)
        # draw all signs before any magnitude: they are then those that an optimizer without magnitudes draws
        for theta in group["params"]:
            w = self.draw_latent(theta, group["initial_magnitude"])
            if group["scaling"]:
                write_scaled_signs(theta, w)

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        super().start(group, theta, weight, real)
        if group["scaling"]:
            write_scaled_signs(theta, self.state[theta]["w"])

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
        latent_step(
            gradients,
            ws,
            ms,
            group["learning_rate"],
            group["gamma"],
            group["weight_decay"],
            group["clipping"],
        )
        if not group["scaling"]:
            write_signs(thetas, ws)
            return
        for theta, w in zip(thetas, ws, strict=True):
            write_scaled_signs(theta, w)


class MagnitudeIndependentSGD(LatentSGD):
    """Latent SGD without scaling and clipping: only the signs of latent weights matter (Quist 2023, section 3)."""

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "initial_magnitude",
        "gamma",
        "weight_decay",
    )
    beginning: Mapping[str, Any] = {"scaling": False, "clipping": False}
