"""The gradient filter: binary weights are minus the sign of a twice smoothed gradient (Quist 2023, eqs 11-13)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.filtering import Filtering
from trainers.optimizers.signs import write_signs


def filter_step(
    thetas: list[Tensor],
    gradients: list[Tensor],
    ms: list[Tensor] | None,
    gs: list[Tensor],
    alpha: float,
    gamma: float,
    share: float = 1.0,
) -> None:
    """Take one step in place: m <- (1-gamma) m + gamma gradient, g <- (1-alpha) g + alpha m, theta <- -sign(g).

    Where g = 0, theta stays. Without `ms` the filter is of first order: m is the gradient. Otherwise g takes m / share,
    which corrects m's bias if `share` is `bias_correction_factor`. All lists have the same length, and tensors at the
    same index the same shape.
    """
    if ms is not None:
        torch._foreach_lerp_(ms, gradients, gamma)
        gradients = ms if share == 1 else list(torch._foreach_div(ms, share))
    torch._foreach_lerp_(gs, gradients, alpha)
    write_signs(thetas, gs, direction=-1)


Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Filtered(NamedTuple):
    """A filter's `outputs` g and binary weights' `signs` after each step: (steps, weights).

    A sign is 0 until the output is other than 0 for the first time.
    """

    outputs: Numbers
    signs: Numbers


def filtered(gradients: Numbers, alpha: float, gamma: float | None = None) -> Filtered:
    """Filter a sequence of gradients (steps, weights) in float64, from averages of 0; without gamma in first order."""
    xs = torch.as_tensor(gradients, dtype=torch.float64)
    g, theta, m = (torch.zeros(xs.shape[1:], dtype=xs.dtype) for _ in range(3))
    outputs, signs = torch.empty_like(xs), torch.empty_like(xs)
    for i, x in enumerate(xs):
        filter_step([theta], [x], None if gamma is None else [m], [g], alpha, gamma or 1.0)
        outputs[i], signs[i] = g, theta
    return Filtered(outputs.numpy(), signs.numpy())


def bias_correction_factor(gamma: float, steps: int) -> float:
    """Return the share of gradients in an average that began at 0: 1 - (1-gamma)^steps (Kingma & Ba 2015, alg. 1)."""
    return -math.expm1(steps * math.log1p(-gamma)) if gamma < 1 else 1.0


class GradientFilter(Filtering):
    """Optimizer of binary weights by two moving averages of the gradient in series; no learning rate.

    `alpha` and `gamma` in (0, 1] are the shares of the new value in the second and the first average: the
    smaller, the longer the memory. `gamma=None` leaves the first average out: a first-order filter. The
    next step uses `param_groups[i]["alpha"]`, which a schedule may take down to 0.

    `bias_correction` divides the first average by `bias_correction_factor`, counting the steps of a parameter's group,
    so that early gradients count more. Quist 2023, section 3, omits it because it hurt. The second average needs none:
    its sign would be the same. Averages that start from weights taken over have no such bias and are not corrected.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("alpha", "gamma")
    optional: ClassVar[Mapping[str, Any]] = {**BinaryOptimizer.optional, "bias_correction": False}
    may_be_none: ClassVar[tuple[str, ...]] = ("gamma",)
    decayed: ClassVar[str] = "alpha"

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        super().start(group, theta, weight, real)
        group["bias_correction"] = False

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("g",) if group["gamma"] is None else ("g", "m")

    def steady(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (1.0,) * len(self.buffers(group))

    def noise_gain(self, group: dict[str, Any]) -> float:
        alpha, gamma = group["alpha"], group["gamma"] or 1.0
        kept = (1 - alpha) * (1 - gamma)
        passed = 1 - kept or alpha + gamma  # its limit for small shares, where 1 - kept rounds to 0
        return math.sqrt(alpha * gamma * (1 + kept) / (passed * (2 - alpha) * (2 - gamma)))

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        gs, *ms = buffers
        alpha, gamma = group["alpha"], group["gamma"]
        corrected = gamma is not None and group.get("bias_correction", False)  # older checkpoints have none
        share = bias_correction_factor(gamma, group["steps"]) if corrected else 1.0
        filter_step(
            thetas, gradients, ms[0] if ms else None, gs, alpha, 1.0 if gamma is None else gamma, share
        )


class FirstOrderFilter(GradientFilter):
    """The gradient filter with the second average alone (Quist 2023, eqs 9-10 with the gradient for m)."""

    hyperparameters: ClassVar[tuple[str, ...]] = ("alpha",)
    optional: ClassVar[Mapping[str, Any]] = BinaryOptimizer.optional
    beginning: Mapping[str, Any] = {"gamma": None}
