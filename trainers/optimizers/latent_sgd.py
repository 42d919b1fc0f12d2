"""SGD on latent weights: binary weights are the sign of real-valued ones (000 eqs 1-5)."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.binary import draw_signs
from trainers.hyperparameters import check
from trainers.optimizers.batches import cache_batches
from trainers.optimizers.buffers import buffer, load_buffers
from trainers.optimizers.signs import write_scaled_signs, write_signs


def latent_step(
    gradients: list[Tensor],
    ws: list[Tensor],
    ms: list[Tensor],
    learning_rate: float,
    gamma: float,
    weight_decay: float,
    clipping: bool,
) -> None:
    """One step in place: m <- (1-gamma) m + gamma gradient, w <- w - epsilon (m + lambda w).

    With `clipping` a gradient counts as 0 where |w| > 1, as in Bi-Real Net: past 1 only momentum and decay
    move w. All lists are of one length, tensors at one place in them of one shape.
    """
    gradients = [gradient.to(w.dtype) for gradient, w in zip(gradients, ws, strict=True)]
    if clipping:
        bounds = [1 + torch.finfo(w.dtype).eps for w in ws]
        gradients = [
            torch.ops.aten.hardtanh_backward(gradient, w, -bound, bound)
            for gradient, w, bound in zip(gradients, ws, bounds, strict=True)
        ]
    torch._foreach_lerp_(ms, gradients, gamma)
    torch._foreach_mul_(ws, 1 - learning_rate * weight_decay)
    torch._foreach_add_(ws, ms, alpha=-learning_rate)


class LatentSGD(torch.optim.Optimizer):
    """Optimizer of binary weights that keeps a latent weight for each: the six knobs of 000 Table 1.

    `learning_rate` > 0 and `weight_decay` >= 0 are epsilon and lambda, `gamma` in (0, 1] the gradient's
    share in the moving average (momentum is 1 - gamma). Latent weights start uniform in [-s, s], s =
    `initial_magnitude` >= 0, drawn from `generator` (on the CPU; default: torch's own); s = 0 starts them at
    0 with random signs.

    `clipping` and `scaling` are Bi-Real Net's, see `latent_step` and `write_scaled_signs`. The scale is a
    constant to the gradient, which is that of the loss by the weight as written. The next step uses
    `param_groups[i]["learning_rate"]`, which a schedule may take down to 0. The parameters hold sign(w),
    scaled or not, after every step. Gradients of 16 bits are averaged in float32.
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
    generator: torch.Generator | None = None

    def __init__(
        self,
        params: Iterable[Any],
        learning_rate: float,
        initial_magnitude: float,
        gamma: float,
        weight_decay: float,
        scaling: bool,
        clipping: bool,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        self.generator = generator
        defaults = {
            "learning_rate": learning_rate,
            "initial_magnitude": initial_magnitude,
            "gamma": gamma,
            "weight_decay": weight_decay,
            "scaling": scaling,
            "clipping": clipping,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        check({name: param_group.get(name, self.defaults[name]) for name in self.hyperparameters})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        with torch.no_grad():
            # all signs before any magnitude: the same signs as an optimizer draws that needs only them
            for theta in group["params"]:
                theta.copy_(draw_signs(theta, self.generator))
            for theta in group["params"]:
                w = buffer(theta)
                magnitudes = torch.rand(theta.shape, generator=self.generator, dtype=w.dtype)
                w.copy_(magnitudes.mul_(group["initial_magnitude"])).mul_(theta)
                self.state[theta] = {"w": w, "m": buffer(theta)}
                if group["scaling"]:
                    write_scaled_signs(theta, w)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rows = [
                (theta, theta.grad, self.state[theta]["w"], self.state[theta]["m"])
                for theta in group["params"]
                if theta.grad is not None
            ]
            for thetas, gradients, ws, ms in cache_batches(rows):
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
                    continue
                for theta, w in zip(thetas, ws, strict=True):
                    write_scaled_signs(theta, w)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        load_buffers(self, state_dict)
