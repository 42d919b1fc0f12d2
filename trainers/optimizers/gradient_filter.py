"""The gradient filter: binary weights are the sign of a twice smoothed gradient (000 eqs 11-13)."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.binary import draw_signs
from trainers.hyperparameters import check
from trainers.optimizers.batches import cache_batches
from trainers.optimizers.buffers import buffer, load_buffers
from trainers.optimizers.signs import write_signs


def filter_step(
    thetas: list[Tensor],
    gradients: list[Tensor],
    ms: list[Tensor] | None,
    gs: list[Tensor],
    alpha: float,
    gamma: float,
) -> None:
    """One step in place: m <- (1-gamma) m + gamma gradient, g <- (1-alpha) g + alpha m, theta <- -sign(g).

    Where g = 0, theta stays. Without `ms` the filter is of first order: m is the gradient. All lists are of
    one length, tensors at one place in them of one shape.
    """
    smooth = [gradient.to(g.dtype) for gradient, g in zip(gradients, gs, strict=True)]
    if ms is not None:
        torch._foreach_lerp_(ms, smooth, gamma)
        smooth = ms
    torch._foreach_lerp_(gs, smooth, alpha)
    write_signs(thetas, gs, direction=-1)


class GradientFilter(torch.optim.Optimizer):
    """Optimizer of binary weights by two moving averages of the gradient in a row; no learning rate.

    `alpha` and `gamma` in (0, 1] are the shares of the new value in the second and the first average: the
    smaller, the longer the memory. `gamma=None` leaves the first average out, a filter of first order. The
    next step uses `param_groups[i]["alpha"]`, which a schedule may take down to 0. Construction sets the
    parameters to random signs from `generator` (on the CPU; default: torch's own); every step leaves them in
    {-1, +1}. Gradients of 16 bits are averaged in float32.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("alpha", "gamma")
    decayed: ClassVar[str] = "alpha"
    generator: torch.Generator | None = None

    def __init__(
        self,
        params: Iterable[Any],
        alpha: float,
        gamma: float | None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        self.generator = generator
        super().__init__(params, {"alpha": alpha, "gamma": gamma})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        values = {name: param_group.get(name, self.defaults[name]) for name in self.hyperparameters}
        check({name: value for name, value in values.items() if not (name == "gamma" and value is None)})
        super().add_param_group(param_group)
        with torch.no_grad():
            for theta in self.param_groups[-1]["params"]:
                theta.copy_(draw_signs(theta, self.generator))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alpha, gamma = group["alpha"], group["gamma"]
            rows = [self._row(theta, gamma) for theta in group["params"] if theta.grad is not None]
            for thetas, gradients, gs, *ms in cache_batches(rows):
                filter_step(
                    thetas, gradients, ms[0] if ms else None, gs, alpha, 1.0 if gamma is None else gamma
                )
        return loss

    def _row(self, theta: Tensor, gamma: float | None) -> tuple[Tensor, ...]:
        state = self.state[theta]
        if not state:
            state["g"] = buffer(theta)
            if gamma is not None:
                state["m"] = buffer(theta)
        assert theta.grad is not None
        if gamma is None:
            return theta, theta.grad, state["g"]
        return theta, theta.grad, state["g"], state["m"]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        load_buffers(self, state_dict)
