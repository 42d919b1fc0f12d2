"""FullyCon, dense layers with binary weights: Nayak 2020, Table 1."""

import math

from torch import Tensor, nn

from trainers.layers.binary import ESTIMATORS, BinaryLinear
from trainers.models.stack import of_real_input


class Sign(nn.Module):
    """The sign with the straight-through gradient (Nayak 2020's binary tanh), as a layer that dropout can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return ESTIMATORS["straight-through"](x)


def fullycon(input_shape: tuple[int, ...], classes: int, *, width: int = 4096) -> nn.Sequential:
    """Build a network (batch, *input_shape) -> (batch, classes), with three hidden layers of `width` units.

    Half of each hidden layer's inputs are dropped, after the sign, so that a dropped input is 0 and not a sign. (The
    authors' code drops a fifth of the image, and also half of the last layer's inputs.)
    """
    units = math.prod(input_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(3):
        layers += [] if i == 0 else [Sign()]
        layers += [nn.Dropout(0.5), of_real_input(BinaryLinear(units, width)), nn.BatchNorm1d(width)]
        units = width
    return nn.Sequential(*layers, BinaryLinear(width, classes), nn.BatchNorm1d(classes))
