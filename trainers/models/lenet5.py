"""LeNet-5 with binary weights: Nayak 2020, Table 2."""

from torch import nn

from trainers.models.stack import stack


def lenet5(input_shape: tuple[int, ...], classes: int, *, width: int = 20) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> (batch, classes). `width` is the number of filters of the
    first convolutions, 20."""
    wide = width * 5 // 2
    return stack(input_shape, classes, filters=(width, width, wide, wide), kernel_size=5, dense=(width * 25,))
