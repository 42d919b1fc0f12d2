"""Chains of convolutions and dense layers with binary weights (Nayak 2020, Tables 2 and 3)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d, BinaryLinear

Norm = nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (batch, channels, ...), separately at each position.

    Source: Nayak 2020, section 4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMALISATIONS: dict[str, tuple[Callable[[int], Norm], Callable[[int], Norm]]] = {
    "batch": (nn.BatchNorm2d, nn.BatchNorm1d),
    "layer": (ChannelNorm, nn.LayerNorm),
}


@dataclass(frozen=True, slots=True)
class Normalisation:
    """One of NORMALISATIONS. Without `scale` it only shifts, which is enough before a sign or for the largest output.

    `momentum` is the new batch's share in the running averages. With `bias`, the layers before it have one. Raises
    ValueError for an unknown name.
    """

    name: str = "batch"
    scale: bool = True
    eps: float = 1e-5
    momentum: float = 0.1
    bias: bool = False

    def __post_init__(self) -> None:
        if self.name not in NORMALISATIONS:
            known = ", ".join(NORMALISATIONS)
            raise ValueError(f"unknown normalisation {self.name!r}; known are {known}")

    def of_channels(self, count: int) -> nn.Module:
        """Return the layer for (batch, count, height, width)."""
        return self._made(NORMALISATIONS[self.name][0](count))

    def of_units(self, count: int) -> nn.Module:
        """Return the layer for (batch, count)."""
        return self._made(NORMALISATIONS[self.name][1](count))

    def _made(self, layer: Norm) -> nn.Module:
        layer.weight.requires_grad_(self.scale)
        layer.eps = self.eps
        if not isinstance(layer, nn.LayerNorm):
            layer.momentum = self.momentum
        return layer


BATCH = Normalisation()


class Bias(nn.Module):
    """A learned offset a channel: (batch, channels, ...) -> the same shape. Batch normalisation cancels it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))


def keras(name: str) -> Normalisation:
    """Return Keras's default, but without a scale; layers before it have a bias if that makes a difference."""
    return Normalisation(name, scale=False, eps=1e-3, momentum=0.01, bias=name == "layer")


Layer = TypeVar("Layer", BinaryConv2d, BinaryLinear)


def of_real_input(layer: Layer) -> Layer:
    """Return the binary `layer`, changed to take its input itself and not its signs: for a network's first layer."""
    layer.binarise = nn.Identity()
    return layer


def stack(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: Sequence[int],
    kernel_size: int,
    dense: Sequence[int],
    normalisation: Normalisation = BATCH,
    first_padding: bool = True,
) -> nn.Sequential:
    """Build a network (batch, *input_shape) -> (batch, classes): binary convolutions, then binary dense layers.

    All layers are normalised. Max-pooling halves the image before the normalisation of every second convolution. All
    layers but the first take the signs of their input, and have a bias if `normalisation` says so. Without
    `first_padding` the first convolution has none; the others keep the size. Raises ValueError if nothing of the image
    is left.
    """
    layers: list[nn.Module] = []
    channels, *size = input_shape
    for i, count in enumerate(filters):
        padding = kernel_size // 2 if i > 0 or first_padding else 0
        convolution = BinaryConv2d(channels, count, kernel_size, padding=padding)
        layers.append(of_real_input(convolution) if i == 0 else convolution)
        if normalisation.bias and i > 0:
            layers.append(Bias(count))
        size = [side + 2 * padding - kernel_size + 1 for side in size]
        if i % 2 == 1:
            layers.append(nn.MaxPool2d(2))
            size = [side // 2 for side in size]
        layers.append(normalisation.of_channels(count))
        channels = count
    if min(size) < 1:
        raise ValueError(f"images of {tuple(input_shape[1:])} are too small for {len(filters)} convolutions")
    layers.append(nn.Flatten())
    units = channels * math.prod(size)
    for count in (*dense, classes):
        bias = [Bias(count)] if normalisation.bias else []
        layers += [BinaryLinear(units, count), *bias, normalisation.of_units(count)]
        units = count
    return nn.Sequential(*layers)
