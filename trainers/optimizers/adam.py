"""Adam's step on real-valued weights, shared by several methods (Kingma & Ba 2015, algorithm 1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.optimizers.scalars import within

EPSILON = 1e-8  # the paper's


def project(ws: list[Tensor]) -> None:
    """Clamp to [-1, 1] in place: the projection of Paren & Poudel 2021, eqs 4 and 12."""
    torch._foreach_clamp_min_(ws, -1)
    torch._foreach_clamp_max_(ws, 1)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam's hyperparameters. Weight decay is a penalty in the loss: it is added to the gradient."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0


def adam_step(
    gradients: list[Tensor],
    ws: list[Tensor],
    ms: list[Tensor],
    vs: list[Tensor],
    step: int,
    adam: Adam,
    rates: Sequence[Tensor] = (),
) -> None:
    """Take one step in place: w <- w - learning_rate m' / (sqrt(v') + epsilon), m' and v' corrected for bias.

    `step` counts from 1. All lists have the same length, and tensors at the same index the same shape. `rates`, if
    given, are factors of the learning rate that broadcast to this shape.
    """
    if adam.weight_decay:
        gradients = list(torch._foreach_add(gradients, ws, alpha=within(adam.weight_decay, ws)))
    torch._foreach_lerp_(ms, gradients, 1 - adam.beta1)
    torch._foreach_mul_(vs, adam.beta2)
    torch._foreach_addcmul_(vs, gradients, gradients, 1 - adam.beta2)
    sizes = torch._foreach_sqrt(vs)
    torch._foreach_div_(sizes, math.sqrt(1 - adam.beta2**step))
    torch._foreach_add_(sizes, EPSILON)
    for size, rate in zip(sizes, rates, strict=bool(rates)):
        size.div_(rate)
    torch._foreach_addcdiv_(ws, ms, sizes, within(-adam.learning_rate / (1 - adam.beta1**step), ws))
