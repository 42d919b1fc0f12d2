"""The audio network of Quist 2023, section 4.2: four fully connected layers, the first real-valued."""

import math

from torch import nn

from trainers.layers.binary import BinaryLinear


def audio_mlp(
    input_shape: tuple[int, ...], classes: int, *, width: int, first: int | None = None
) -> nn.Sequential:
    """Build a network (batch, *input_shape) -> logits (batch, classes), with three hidden layers of `width` units.

    The first layer, real-valued, has at most `first`: fewer leave more to the binary layers. The signs that these take
    of their inputs are the network's only non-linearity.
    """
    inputs, first = math.prod(input_shape), min(first or width, width)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, first, bias=False),
        nn.BatchNorm1d(first),
        BinaryLinear(first, width),
        nn.BatchNorm1d(width),
        BinaryLinear(width, width),
        nn.BatchNorm1d(width),
        BinaryLinear(width, classes),
        nn.BatchNorm1d(classes),
    )
