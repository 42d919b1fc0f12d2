"""RSign and RPReLU: the sign and the PReLU of ReActNet, moved by offsets that are learned (Liu et al. 2020)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# of 4 bytes, on the CPU: what a chain of elementwise steps reads, writes and keeps stays in a core's cache
ELEMENTS = 1 << 16


class RSign(nn.Module):
    """sign(x + offset), a learned offset a channel: (batch, channels, ...) -> the same shape, in {-1, +1}.

    The derivative of the sign is taken as 2 - 2|x + offset| within 1 of 0, else 0 (002 eq 2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _OffsetSign.apply(x, self.offset)  # type: ignore[no-untyped-call, no-any-return]


class RPReLU(nn.Module):
    """PReLU between two learned offsets a channel: x + before, times slope where negative, + after."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _OffsetPReLU.apply(  # type: ignore[no-untyped-call, no-any-return]
            x, self.before, self.slope, self.after
        )


class _OffsetSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor) -> Tensor:
        ctx.save_for_backward(x, offset)
        offset = _along_channels(offset, x)
        one = torch.ones((), dtype=x.dtype, device=x.device)
        y = torch.empty_like(x)
        for xs, ys in _pieces(x, y):
            torch.copysign(one, xs + offset, out=ys)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, offset = ctx.saved_tensors
        shift = _along_channels(offset, x)
        x_gradient = torch.empty_like(x)
        offset_gradient = torch.zeros_like(offset)
        for xs, gs, outs in _pieces(x, gradient, x_gradient):
            slope = torch.rsub((xs + shift).abs_(), 2, alpha=2).clamp_min_(0)
            torch.mul(slope, gs, out=outs)
            offset_gradient += _over_channels(outs)
        return x_gradient, offset_gradient


class _OffsetPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, before: Tensor, slope: Tensor, after: Tensor) -> Tensor:
        ctx.save_for_backward(x, before, slope)
        before, after = _along_channels(before, x), _along_channels(after, x)
        y = torch.empty_like(x)
        for xs, ys in _pieces(x, y):
            torch.add(torch.prelu(xs + before, slope), after, out=ys)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, before, slope = ctx.saved_tensors
        shift, factor = _along_channels(before, x), _along_channels(slope, x)
        x_gradient = torch.empty_like(x)
        sums = [torch.zeros_like(before) for _ in range(3)]
        for xs, gs, outs in _pieces(x, gradient, x_gradient):
            shifted = xs + shift
            gs = gs.to(shifted.dtype)
            positive = torch.ops.aten.threshold_backward(gs, shifted, 0)  # gs where shifted > 0, else 0
            negative = gs - positive
            torch.addcmul(positive, negative, factor, out=outs)
            for total, part in zip(sums, (outs, negative.mul_(shifted), gs), strict=True):
                total += _over_channels(part)
        return x_gradient, *sums


def _along_channels(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(-1, *[1] * (x.ndim - 2))


def _over_channels(x: Tensor) -> Tensor:
    """(batch, channels, ...) -> (channels,), the sum over all else."""
    return x.sum([0, *range(2, x.ndim)])


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of tensors of one shape along the batch, on the CPU a cache's worth at a time, elsewhere whole."""
    first = tensors[0]
    if first.device.type != "cpu" or first.numel() <= ELEMENTS or torch.compiler.is_compiling():
        return iter([tensors])
    samples = max(1, ELEMENTS * len(first) // first.numel())
    return zip(*(torch.split(tensor, samples) for tensor in tensors), strict=True)
