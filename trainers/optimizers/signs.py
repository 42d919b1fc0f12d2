"""How an optimizer writes signs into binary weights, and whose sign a zero takes."""

import torch
from torch import Tensor


def write_signs(thetas: list[Tensor], xs: list[Tensor], direction: int = 1) -> None:
    """theta <- direction * sign(x) in place, theta staying where x = 0. It is -1 or +1 before and after."""
    # theta + 2 direction sign(x), clamped to [-1, 1]: no mask, no branch
    signs = [s.to(theta.dtype) for s, theta in zip(torch._foreach_sign(xs), thetas, strict=True)]
    torch._foreach_add_(thetas, signs, alpha=2 * direction)
    for theta in thetas:
        theta.clamp_(-1, 1)


def write_scaled_signs(theta: Tensor, w: Tensor) -> None:
    """theta <- sign(w) times its channel's mean |w| (000 Table 1, scaling); channels are the first dimension.

    Where w = 0, theta keeps its sign. A channel whose mean is 0 gets zeros that hold their sign for later.
    """
    scale = w.abs()
    if w.dim() > 1:
        scale = scale.mean(dim=tuple(range(1, w.dim())), keepdim=True)
    theta.copy_(torch.copysign(scale, torch.where(w == 0, theta.to(w.dtype), w)))
