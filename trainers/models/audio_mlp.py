"""The audio network of Quist 2023, section 4.2: four fully connected layers, the first real-valued."""

import math

from torch import nn

from trainers.layers.binary import BinaryLinear


def audio_mlp(input_shape: tuple[int, ...], classes: int, *, width: int) -> nn.Sequential:
    """(batch, *input_shape) -> logits (batch, classes); three hidden layers of `width` units.

    The signs that the binary layers take of their inputs are the network's only non-linearity.
    """
    inputs = math.prod(input_shape)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width, bias=False),
        nn.BatchNorm1d(width),
        BinaryLinear(width, width),
        nn.BatchNorm1d(width),
        BinaryLinear(width, width),
        nn.BatchNorm1d(width),
        BinaryLinear(width, classes),
        nn.BatchNorm1d(classes),
    )
