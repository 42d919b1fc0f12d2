"""Denoising autoencoder, binary or real-valued: Nayak 2020, Table 6."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from trainers.layers.binary import BinaryConv2d
from trainers.models.stack import keras, of_real_input


def autoencoder(
    input_shape: tuple[int, ...], classes: int, *, width: int = 32, binary: bool = True
) -> nn.Sequential:
    """Build a network from noisy images (batch, channels, height, width) to images of the same shape in (-1, 1).

    `classes` is not used. Sides must be multiples of 8 (ValueError). Three convolutions are each followed by
    max-pooling to half the side, three by doubling it, and a last one by tanh; the first has `width` filters, 32. A
    deconvolution of stride 1 is a convolution with its kernel rotated by 180 degrees. As in the code, the first layers
    of encoder and decoder take their inputs as they are, the other binary ones take signs, and normalisation is Keras's
    without a scale. Real-valued layers have biases and are normalised after their ReLU, the last one not at all.
    """
    channels, *size = input_shape
    if any(side % 8 for side in size):
        raise ValueError(f"sides of images must be multiples of 8, got {tuple(size)}")
    widths = (width, width // 2, width // 4)
    layers: list[nn.Module] = []
    inputs = channels
    for i, count in enumerate(widths):
        layers += [*_convolution(inputs, count, binary, direct=i == 0), nn.MaxPool2d(2)]
        inputs = count
    for i, count in enumerate(reversed(widths)):
        layers += [*_convolution(inputs, count, binary, direct=i == 0), Doubled()]
        inputs = count
    last = _convolution(inputs, channels, binary, direct=False) if binary else _real(inputs, channels)
    layers += [*last, nn.Tanh()]
    return nn.Sequential(*layers)


class _Doubling(torch.autograd.Function):
    """Doubling by repeated pixels. `nn.Upsample` is the same, but compiled for a GPU it sums gradients in any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return avg_pool2d(gradient, 2, divisor_override=1)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubling.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def _convolution(inputs: int, outputs: int, binary: bool, *, direct: bool) -> list[nn.Module]:
    """Return a normalised 3x3 convolution; a binary one that is `direct` takes the input as it is, not its signs."""
    normalisation = keras("batch").of_channels(outputs)
    if not binary:
        return [*_real(inputs, outputs), nn.ReLU(), normalisation]
    layer = BinaryConv2d(inputs, outputs, 3, padding=1)
    return [of_real_input(layer) if direct else layer, normalisation]


def _real(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1)]
