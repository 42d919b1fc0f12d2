"""Functions that write signs into binary weights, with a rule for zeros."""

import torch
from torch import Tensor


def write_signs(thetas: list[Tensor], xs: list[Tensor], direction: int = 1) -> None:
    """Set theta <- direction * sign(x) in place; where x = 0, theta stays. It is -1 or +1 before and after.

    Subnormal numbers, in float32 those below 1.2e-38, may count as 0.
    """
    # sign(theta + huge x) is theta where x = 0, else sign(x): two operations, no mask, no copy. As `huge` is 1.5 times
    # a power of two, its product with a subnormal number is never 1, and so the sum is never 0.
    huge = 1.5 / torch.finfo(xs[0].dtype).tiny
    torch._foreach_add_(thetas, xs, alpha=direction * huge)
    torch._foreach_sign_(thetas)


def write_scaled_signs(theta: Tensor, w: Tensor) -> None:
    """Set theta <- sign(w) times its channel's mean |w| (Quist 2023, Table 1, scaling); dimension 0 is channels.

    Where w = 0, theta keeps its sign. A channel whose mean is 0 gets signed zeros, which keep the signs for later.
    """
    scale = w.abs()
    if w.dim() > 1:
        scale = scale.mean(dim=tuple(range(1, w.dim())), keepdim=True)
    theta.copy_(torch.copysign(scale, torch.where(w == 0, theta.to(w.dtype), w)))


def without_gradient_past_one(gradients: list[Tensor], ws: list[Tensor]) -> list[Tensor]:
    """Return the gradients, but 0 where |w| > 1: as if w were clamped to [-1, 1] before its sign, as in Bi-Real Net."""
    bounds = [1 + torch.finfo(w.dtype).eps for w in ws]
    return [
        torch.ops.aten.hardtanh_backward(gradient, w, -bound, bound)
        for gradient, w, bound in zip(gradients, ws, bounds, strict=True)
    ]
