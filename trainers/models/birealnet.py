"""Bi-Real-Net: a shortcut around every binary convolution (Liu et al. 2018).

With 20 layers as in Quist 2023, section 4.1, and with 18.
"""

from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d
from trainers.models.residual import head, shortcut, stages


class Block(nn.Module):
    """A normalised binary 3x3 convolution + shortcut, with a real-valued 1x1 in it where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(
            inputs, outputs, 3, stride=stride, padding=1, estimator="piecewise-polynomial"
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.shortcut(x)  # type: ignore[no-any-return]


def birealnet20(input_shape: tuple[int, ...], classes: int, *, width: int = 16) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> logits: three stages of six blocks, with 16, 32 and 64
    channels for `width` 16."""
    stem = [nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*stem, *stages(Block, width, (6, 6, 6)), *head(4 * width, classes))


def birealnet18(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> logits: four stages of four blocks, with 64 to 512 channels
    for `width` 64."""
    stem = [
        nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    return nn.Sequential(*stem, *stages(Block, width, (4, 4, 4, 4)), *head(8 * width, classes))
