"""ProxQuant and BNEW: weights that a growing penalty pulls to -1 and +1 (Paren & Poudel 2021, sections 3.4 and 4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.layers.binary import sign
from trainers.optimizers.adam import project
from trainers.optimizers.relaxed import Relaxed
from trainers.schedules import Progress

STRONGEST = 1e30  # every weight is its sign long before this, and float32 can still multiply by it


def prox_l1(ws: list[Tensor], strength: float) -> None:
    """Replace w by argmin_x strength |x - sign(w)| + (x - w)^2 / 2 in [-1, 1]: a move of `strength` to its sign.

    Source: Bai et al. 2019, and the code of Paren & Poudel 2021, whose eq 9 has no 1/2.
    """
    if strength:  # at 0 w is not even rounded
        for w in ws:
            s = sign(w)
            w.sub_(s)
            w.copy_(torch.nn.functional.softshrink(w, strength)).add_(s)
    project(ws)


def prox_l2(ws: list[Tensor], strength: float) -> None:
    """Replace w by argmin_x strength (x - sign(w))^2 + (x - w)^2 in [-1, 1], a weighted mean of w and its sign.

    Source: Paren & Poudel 2021, eqs 8-9, and the projection of its code.
    """
    torch._foreach_lerp_(ws, [sign(w) for w in ws], strength / (1 + strength))
    project(ws)


def prox_bnew(ws: list[Tensor], strength: float) -> None:
    """Replace w by (1 + 2 strength) w, clamped to [-1, 1].

    Source: Paren & Poudel 2021, eq 12, the form that is defined at every strength.
    """
    torch._foreach_mul_(ws, 1 + 2 * strength)
    project(ws)


class Proximal(Relaxed):
    """Base class of the optimizers that take a step of Adam and then a step towards the signs, `proximal`.

    Source: Paren & Poudel 2021, eqs 10 and 12.

    The strength of `proximal` is lambda, whatever the learning rate. Lambda is 0 in the pre-training and then
    `lambda_rate` (t + 1) / T in epoch t of the T that are left (the authors' code): without fine-tuning it would reach
    `lambda_rate` in the last epoch.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "lambda_rate")
    optional: ClassVar[Mapping[str, Any]] = {**Relaxed.optional, "pretraining": 0.4}
    beginning: Mapping[str, Any] = {**Relaxed.beginning, "lambda": 0.0}

    @staticmethod
    def proximal(ws: list[Tensor], strength: float) -> None:
        raise NotImplementedError

    def grow(self, group: dict[str, Any], steps: int, progress: Progress) -> None:
        left = progress.total_steps - progress.step + steps  # after the pre-training
        grown = (steps // progress.steps_an_epoch + 1) * progress.steps_an_epoch / left
        group["lambda"] = group["lambda_rate"] * min(1.0, max(0.0, grown))

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        self.proximal(ws, min(group["lambda"], STRONGEST))
        torch._foreach_copy_(thetas, ws)


class ProxQuantL1(Proximal):
    """ProxQuant with the distance from the nearer sign as its penalty."""

    proximal = staticmethod(prox_l1)


class ProxQuantL2(Proximal):
    """ProxQuant with the squared distance from the nearer sign as its penalty."""

    proximal = staticmethod(prox_l2)


class BNEW(Proximal):
    """Binary networks the easy way: the concave penalty -w^2 on weights that stay in [-1, 1].

    Source: Paren & Poudel 2021, section 4.
    """

    proximal = staticmethod(prox_bnew)
