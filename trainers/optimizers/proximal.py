"""ProxQuant and BNEW: weights that a growing penalty draws to -1 and +1 (Paren & Poudel 2021, sections 3.4 and 4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.layers.binary import sign
from trainers.optimizers.adam import project
from trainers.optimizers.relaxed import Relaxed

STRONGEST = 1e30  # every weight is its sign long before, and in float32 it can still be multiplied with


def prox_l1(ws: list[Tensor], strength: float) -> None:
    """In place: argmin_x strength |x - sign(w)| + (x - w)^2, which is w by strength / 2 nearer to its sign.

    Source: Paren & Poudel 2021, eqs 8-9.
    """
    if strength == 0:
        return  # not even rounded
    for w in ws:
        s = sign(w)
        w.sub_(s)
        w.copy_(torch.nn.functional.softshrink(w, strength / 2)).add_(s)


def prox_l2(ws: list[Tensor], strength: float) -> None:
    """In place: argmin_x strength (x - sign(w))^2 + (x - w)^2, a mean of w and its sign.

    Source: Paren & Poudel 2021, eqs 8-9.
    """
    torch._foreach_lerp_(ws, [sign(w) for w in ws], strength / (1 + strength))


def prox_bnew(ws: list[Tensor], strength: float) -> None:
    """In place: (1 + 2 strength) w, put back into [-1, 1].

    Source: Paren & Poudel 2021, eq 12, the form that exists at every strength.
    """
    torch._foreach_mul_(ws, 1 + 2 * strength)
    project(ws)


class Proximal(Relaxed):
    """Base of the optimizers that take a step of Adam and then one towards the signs, `proximal`.

    Source: Paren & Poudel 2021, eqs 10 and 12.

    Its strength is the learning rate times lambda, which grows by `lambda_rate` an epoch from the end of the
    pre-training on (section 4.3); before, it is 0.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "lambda_rate")
    optional: ClassVar[Mapping[str, Any]] = {**Relaxed.optional, "pretraining": 0.4}
    beginning: ClassVar[Mapping[str, Any]] = {**Relaxed.beginning, "lambda": 0.0}

    @staticmethod
    def proximal(ws: list[Tensor], strength: float) -> None:
        raise NotImplementedError

    def grow(self, group: dict[str, Any], steps: int, steps_an_epoch: int) -> None:
        group["lambda"] = group["lambda_rate"] * max(0, steps) / steps_an_epoch

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        self.proximal(ws, min(group["learning_rate"] * group["lambda"], STRONGEST))
        torch._foreach_copy_(thetas, ws)


class ProxQuantL1(Proximal):
    """ProxQuant with the distance from the nearer sign for a penalty."""

    proximal = staticmethod(prox_l1)


class ProxQuantL2(Proximal):
    """ProxQuant with the squared distance from the nearer sign for a penalty."""

    proximal = staticmethod(prox_l2)


class BNEW(Proximal):
    """Binary networks the easy way: the concave penalty -w^2 on weights that stay in [-1, 1].

    Source: Paren & Poudel 2021, section 4.
    """

    proximal = staticmethod(prox_bnew)
