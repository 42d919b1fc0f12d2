"""Binary layers, gradient estimators for their sign, and functions that find their weights in a model."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def sign(x: Tensor) -> Tensor:
    """Return -1 where x < 0, else +1: at 0 it is +1, not drawn as in Quist 2023, eq 5."""
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x + 0.0)  # -0.0 + 0.0 is +0.0


class EstimatedSign(torch.autograd.Function):
    """The sign in the forward pass and an estimate of its derivative in the backward pass, from the input alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)


class StraightThrough(EstimatedSign):
    """Derivative 1 for |x| <= 1 and 0 outside (Paren & Poudel 2021, eq 1)."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # the kernel excludes its bounds, Paren & Poudel 2021, eq 1 includes |x| = 1: so the bound is the number after 1
        bound = 1 + torch.finfo(x.dtype).eps
        return torch.ops.aten.hardtanh_backward(gradient, x, -bound, bound)  # type: ignore[no-any-return]


class PiecewisePolynomial(EstimatedSign):
    """Derivative 2 - 2|x| for |x| <= 1 and 0 outside (Paren & Poudel 2021, eq 2, from Bi-Real Net)."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.abs().mul_(-2).add_(2).clamp_min_(0)
        return slope.mul_(gradient)


def straight_through(x: Tensor) -> Tensor:
    return StraightThrough.apply(x)  # type: ignore[no-untyped-call, no-any-return]


def piecewise_polynomial(x: Tensor) -> Tensor:
    return PiecewisePolynomial.apply(x)  # type: ignore[no-untyped-call, no-any-return]


# plain functions: torch 2.11 cannot compile an `apply` that is a module's attribute
ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "straight-through": straight_through,
    "piecewise-polynomial": piecewise_polynomial,
}


def draw_signs(parameter: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw -1 or +1, equally likely, in `parameter`'s shape and type and on its device; always drawn on the CPU."""
    bits = torch.randint(0, 2, parameter.shape, generator=generator, dtype=torch.int8)
    return bits.mul_(2).sub_(1).to(parameter)


class BinaryLinear(nn.Linear):
    """Fully connected layer without bias on the signs of its input: (batch, in) -> (batch, out).

    The weight is used as it is: its optimizer keeps it binary. A new layer holds random signs.
    """

    def __init__(self, in_features: int, out_features: int, *, estimator: str = "straight-through") -> None:
        super().__init__(in_features, out_features, bias=False)
        self.binarise = _estimator(estimator)

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.copy_(draw_signs(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.binarise(x), self.weight)


class BinaryConv2d(nn.Conv2d):
    """Convolution of the signs of its input, otherwise like `BinaryLinear`; padding is 0, not a sign."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        estimator: str = "straight-through",
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, groups=groups, bias=False
        )
        self.binarise = _estimator(estimator)

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.copy_(draw_signs(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(
            self.binarise(x),
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


def _estimator(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ESTIMATORS:
        raise ValueError(f"unknown gradient estimator {name!r}; known are {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


def binary_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the model's binary layers, found by layer type: each once, in the model's order."""
    weights = (m.weight for m in model.modules() if isinstance(m, BinaryLinear | BinaryConv2d))
    return list(dict.fromkeys(cast(nn.Parameter, weight) for weight in weights))


def named_binary_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the weights of the model's binary layers with their names."""
    binary = set(binary_parameters(model))
    return [(name, theta) for name, theta in model.named_parameters() if theta in binary]


def partition(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the model's trainable parameters into (binary, real).

    Raises ValueError if a binary layer and a real-valued one share a parameter, or if a binary layer has more than its
    weight.
    """
    binary = set(binary_parameters(model))
    real: set[nn.Parameter] = set()
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        if not isinstance(module, BinaryLinear | BinaryConv2d):
            real.update(own.values())
        elif len(own) > 1:
            raise ValueError(f"{module} has parameters besides its binary weight: {', '.join(own)}")
    shared = [name for name, p in model.named_parameters() if p in binary and p in real]
    if shared:
        raise ValueError(f"parameters shared by a binary and a real-valued layer: {', '.join(shared)}")
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [p for p in trainable if p in binary], [p for p in trainable if p in real]
