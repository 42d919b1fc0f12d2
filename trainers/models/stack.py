"""Convolutions and dense layers with binary weights, one after the other (Nayak 2020, Tables 2 and 3)."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d, BinaryLinear


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (batch, channels, ...), at each position on its own.

    Source: Nayak 2020, section 4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMALISATIONS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "batch": (nn.BatchNorm2d, nn.BatchNorm1d),
    "layer": (ChannelNorm, nn.LayerNorm),
}

Layer = TypeVar("Layer", BinaryConv2d, BinaryLinear)


def of_real_input(layer: Layer) -> Layer:
    """`layer` with binary weights still, but on its input as it is: for a network's first layer."""
    layer.binarise = nn.Identity()
    return layer


def stack(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: Sequence[int],
    kernel_size: int,
    dense: Sequence[int],
    normalisation: str = "batch",
    scale: bool = True,
    first_padding: bool = True,
) -> nn.Sequential:
    """(batch, *input_shape) -> (batch, classes): binary convolutions, each second one halved by max-pooling, then
    binary dense layers; all normalised, all but the first on the signs of their input.

    Pooling comes before normalisation. Without `scale` normalisation only shifts: a sign follows, or the
    largest output counts. Without `first_padding` the first convolution has none, the others keep the size.
    Raises ValueError where nothing of the image is left.
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"unknown normalisation {normalisation!r}; known are {', '.join(NORMALISATIONS)}")
    normal_2d, normal_1d = NORMALISATIONS[normalisation]
    layers: list[nn.Module] = []
    channels, *size = input_shape
    for i, count in enumerate(filters):
        padding = kernel_size // 2 if i > 0 or first_padding else 0
        convolution = BinaryConv2d(channels, count, kernel_size, padding=padding)
        layers.append(of_real_input(convolution) if i == 0 else convolution)
        size = [side + 2 * padding - kernel_size + 1 for side in size]
        if i % 2 == 1:
            layers.append(nn.MaxPool2d(2))
            size = [side // 2 for side in size]
        layers.append(normal_2d(count))
        channels = count
    if min(size) < 1:
        raise ValueError(f"images of {tuple(input_shape[1:])} are too small for {len(filters)} convolutions")
    layers.append(nn.Flatten())
    units = channels * math.prod(size)
    for count in (*dense, classes):
        layers += [BinaryLinear(units, count), normal_1d(count)]
        units = count
    if not scale:
        for layer in layers:
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm):
                layer.weight.requires_grad_(False)
    return nn.Sequential(*layers)
