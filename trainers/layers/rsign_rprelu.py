"""RSign and RPReLU, ReActNet's sign and PReLU with learned offsets (Liu et al. 2020), and Scale."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from trainers.layers.binary import ESTIMATORS

# in a piece on the CPU, of 4 bytes each: a chain of elementwise steps on a piece stays in a core's cache
ELEMENTS = 1 << 16


class RSign(nn.Module):
    """sign(x + offset) with a learned offset per channel: (batch, channels, ...) -> the same shape, in {-1, +1}.

    The sign's derivative is taken as 2 - 2|x + offset| where |x + offset| <= 1, else 0 (Paren & Poudel 2021, eq 2).
    With the `estimator` "straight-through" it is taken as 1 there (eq 1).
    """

    def __init__(self, channels: int, *, estimator: str = "piecewise-polynomial") -> None:
        super().__init__()
        self.estimator = estimator
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.estimator != "piecewise-polynomial":
            return ESTIMATORS[self.estimator](x + _along_channels(self.offset, x))
        return _OffsetSign.apply(x, self.offset)  # type: ignore[no-untyped-call, no-any-return]


class RPReLU(nn.Module):
    """PReLU between two learned offsets per channel: x + before, times slope where negative, + after."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _OffsetPReLU.apply(  # type: ignore[no-untyped-call, no-any-return]
            x, self.before, self.slope, self.after
        )


class Scale(nn.Module):
    """A learned factor per channel: (batch, channels, height, width) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class _OffsetSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor) -> Tensor:
        ctx.save_for_backward(x, offset)
        offset = _along_channels(offset, x)
        one = torch.ones((), dtype=x.dtype, device=x.device)
        return _in_pieces(lambda xs, out: torch.copysign(one, xs + offset, out=out), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, offset = ctx.saved_tensors
        shift = _along_channels(offset, x)
        offset_gradient = torch.zeros_like(offset)

        def of_piece(xs: Tensor, gs: Tensor, out: Tensor | None) -> Tensor:
            slope = torch.rsub((xs + shift).abs_(), 2, alpha=2).clamp_min_(0)
            gradient = torch.mul(slope, gs, out=out)
            offset_gradient.add_(_over_channels(gradient))
            return gradient

        return _in_pieces(of_piece, x, gradient), offset_gradient


class _OffsetPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, before: Tensor, slope: Tensor, after: Tensor) -> Tensor:
        ctx.save_for_backward(x, before, slope)
        before, after = _along_channels(before, x), _along_channels(after, x)
        return _in_pieces(lambda xs, out: torch.add(torch.prelu(xs + before, slope), after, out=out), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, before, slope = ctx.saved_tensors
        shift, factor = _along_channels(before, x), _along_channels(slope, x)
        sums = [torch.zeros_like(before) for _ in range(3)]

        def of_piece(xs: Tensor, gs: Tensor, out: Tensor | None) -> Tensor:
            shifted = xs + shift
            gs = gs.to(shifted.dtype)
            positive = torch.ops.aten.threshold_backward(gs, shifted, 0)  # gs where shifted > 0, else 0
            negative = gs - positive
            gradient = torch.addcmul(positive, negative, factor, out=out)
            for total, part in zip(sums, (gradient, negative.mul_(shifted), gs), strict=True):
                total.add_(_over_channels(part))
            return gradient

        return _in_pieces(of_piece, x, gradient), *sums


def _in_pieces(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Apply the elementwise `function(*tensors, out)` to tensors of one shape; the result has the first one's type.

    On the CPU large tensors are cut along the batch into pieces that fit the cache. Otherwise the function is called
    once, on whole tensors, with None for `out`.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.numel() <= ELEMENTS or torch.compiler.is_compiling():
        made = function(*tensors, None)
        # compiled by torch 2.11, a function that ends in a `to` that changes nothing has gradients of 0
        return made if made.dtype == first.dtype else made.to(first.dtype)
    result = torch.empty_like(first)
    samples = max(1, ELEMENTS * len(first) // first.numel())
    for pieces in zip(*(torch.split(tensor, samples) for tensor in (*tensors, result)), strict=True):
        function(*pieces)
    return result


def _along_channels(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(-1, *[1] * (x.ndim - 2))


def _over_channels(x: Tensor) -> Tensor:
    """Sum over all dimensions but the channels: (batch, channels, ...) -> (channels,)."""
    return x.sum([0, *range(2, x.ndim)])
