"""Bop: a binary weight flips where its averaged gradient is large enough and has the weight's sign.

Source: Nayak 2020, section 3.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.optimizers.scalars import within
from trainers.optimizers.signs import write_signs
from trainers.schedules import Progress


def bop_step(
    thetas: list[Tensor], gradients: list[Tensor], ms: list[Tensor], gamma: float, tau: float
) -> None:
    """Take one step in place: m <- (1-gamma) m + gamma gradient; theta flips where |m| >= tau and sign(m) = theta.

    So theta <- -sign(m) where |m| >= tau; where m = 0, theta stays. Nayak 2020, eq 2 compares sign(m) with the last m's
    and Paren & Poudel 2021, eq 7 has the gradient's sign reversed; both are slips (Helwegen et al. 2019, algorithm 1).
    """
    torch._foreach_lerp_(ms, gradients, gamma)
    large = [torch.nn.functional.hardshrink(m, _below(tau, m.dtype)) for m in ms]
    write_signs(thetas, large, direction=-1)


def second_order_step(
    thetas: list[Tensor],
    gradients: list[Tensor],
    ms: list[Tensor],
    vs: list[Tensor],
    gamma: float,
    sigma: float,
    tau: float,
) -> None:
    """Take a step like `bop_step`, but compare m / sqrt(v) with tau, where v <- (1-sigma) v + sigma gradient^2.

    Source: Paren & Poudel 2021, section 3.3.
    """
    torch._foreach_lerp_(ms, gradients, gamma)
    torch._foreach_mul_(vs, 1 - sigma)
    torch._foreach_addcmul_(vs, gradients, gradients, sigma)
    bounds = torch._foreach_sqrt(vs)
    torch._foreach_mul_(bounds, within(tau, bounds))
    large = [m * (m.abs() >= bound) for m, bound in zip(ms, bounds, strict=True)]
    write_signs(thetas, large, direction=-1)


def _below(tau: float, dtype: torch.dtype) -> float:
    """Return the next number below tau, capped at the type's largest: hardshrink drops values equal to its bound."""
    kind = np.float64 if dtype == torch.float64 else np.float32
    return float(np.nextafter(kind(min(tau, torch.finfo(dtype).max)), kind(0)))


class Thresholded(BinaryOptimizer):
    """Base class of both: `decay` shapes gamma, `tau_decay` the threshold tau."""

    optional: ClassVar[Mapping[str, Any]] = {"decay": "none", "tau_decay": "none"}
    decayed: ClassVar[str] = "gamma"

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        super().move(group, progress)
        self.decay(group, "tau", group["tau_decay"], progress)


class Bop(Thresholded):
    """Optimizer of binary weights by one moving average of the gradient and a threshold; no latent weights.

    `gamma` in (0, 1] is the adaptivity, the new gradient's share in the average; `tau` >= 0 is the threshold. `decay`
    shapes gamma (Paren & Poudel 2021, section 5.1); `tau_decay` shapes tau, which is constant in the papers. With
    tau = 0 it is the first-order gradient filter.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("gamma", "tau")

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("m",)

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        (ms,) = buffers
        bop_step(thetas, gradients, ms, group["gamma"], group["tau"])


class SecondOrderBop(Thresholded):
    """Bop with a threshold in units of the gradient's size: the root of its averaged square.

    `sigma` in (0, 1] is the new square's share in this average. Both averages start at 0 and are not corrected for it:
    the biased form of Suarez-Ramirez et al. 2021.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("gamma", "sigma", "tau")

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "m", "v"

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ms, vs = buffers
        second_order_step(thetas, gradients, ms, vs, group["gamma"], group["sigma"], group["tau"])
