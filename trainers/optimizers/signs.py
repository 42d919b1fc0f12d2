"""How an optimizer writes signs into binary weights, and whose sign a zero takes."""

import torch
from torch import Tensor


def write_signs(thetas: list[Tensor], xs: list[Tensor], direction: int = 1) -> None:
    """theta <- direction * sign(x) in place, theta staying where x = 0. It is -1 or +1 before and after.

    Subnormal numbers, those below 1.2e-38 of float32, may count as 0.
    """
    # theta + sign(x) times a number that is huge unless x = 0: two operations, no mask, no copy. Half as much again as
    # a power of two, times a subnormal number, is never 1, and so the sum never 0.
    huge = 1.5 / torch.finfo(xs[0].dtype).tiny
    torch._foreach_add_(thetas, xs, alpha=direction * huge)
    torch._foreach_sign_(thetas)


def write_scaled_signs(theta: Tensor, w: Tensor) -> None:
    """theta <- sign(w) times its channel's mean |w| (Quist 2023, Table 1, scaling); channels are the first dimension.

    Where w = 0, theta keeps its sign. A channel whose mean is 0 gets zeros that hold their sign for later.
    """
    scale = w.abs()
    if w.dim() > 1:
        scale = scale.mean(dim=tuple(range(1, w.dim())), keepdim=True)
    theta.copy_(torch.copysign(scale, torch.where(w == 0, theta.to(w.dtype), w)))


def without_gradient_past_one(gradients: list[Tensor], ws: list[Tensor]) -> list[Tensor]:
    """The gradients, but 0 where |w| > 1: that of a clamp of w to [-1, 1] before its sign, as in Bi-Real Net."""
    bounds = [1 + torch.finfo(w.dtype).eps for w in ws]
    return [
        torch.ops.aten.hardtanh_backward(gradient, w, -bound, bound)
        for gradient, w, bound in zip(gradients, ws, bounds, strict=True)
    ]
