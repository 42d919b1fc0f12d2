"""Adam on latent weights, straight through their sign (Paren & Poudel 2021, section 3.1, Nayak 2020)."""

from typing import Any, ClassVar

from torch import Tensor

from trainers.optimizers.adam import Adam, adam_step, project
from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.signs import write_signs


class STEAdam(BinaryOptimizer):
    """Optimizer of binary weights that are the signs of latent ones, which Adam moves.

    The gradient is that of the loss by the binary weights (Paren & Poudel 2021, eqs 4 and 5). With `clipping` the
    latent weights are put back into [-1, 1] after every step, the projection of eq 4. They start as a real-valued
    layer's, Glorot uniform. Adam's corrections count the steps of a parameter's group.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "beta1",
        "beta2",
        "weight_decay",
        "clipping",
    )
    decayed: ClassVar[str] = "learning_rate"

    def initialise(self, group: dict[str, Any]) -> None:
        super().initialise(group)
        for theta in group["params"]:
            self.draw_latent(theta)

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "w", "m", "v"

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ws, ms, vs = buffers
        adam = Adam(group["learning_rate"], group["beta1"], group["beta2"], group["weight_decay"])
        adam_step(gradients, ws, ms, vs, group["steps"], adam)
        if group["clipping"]:
            project(ws)
        write_signs(thetas, ws)
