"""ConvNet with binary weights, shaped like VGG: Nayak 2020, Table 3."""

from torch import nn

from trainers.models.stack import stack


def convnet(input_shape: tuple[int, ...], classes: int, *, width: int = 128) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> (batch, classes). `width` is the number of filters of the
    first convolutions, 128."""
    filters = [width * factor for factor in (1, 1, 2, 2, 4, 4)]
    return stack(input_shape, classes, filters=filters, kernel_size=3, dense=(width * 8, width * 8))
