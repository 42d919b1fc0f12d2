"""ReActNet-A: MobileNet with binary convolutions, RSign and RPReLU (Liu et al. 2020; Quist 2023, section 4.1)."""

import torch
from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d
from trainers.layers.rsign_rprelu import RPReLU, RSign

# output channels of each block, in units of the width
OUTPUTS = (2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32)


class Block(nn.Module):
    """A 3x3, then a 1x1 binary convolution, each normalised, with a shortcut around it and RPReLU after it.

    Where the channels double, ReActNet has the 1x1 twice, each copy with the shortcut. Here the two are one convolution
    with the filters of both, as they have the same input. With stride 2, the first shortcut averages 2x2 pixels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.copies = outputs // inputs
        self.conv1 = BinaryConv2d(inputs, inputs, 3, stride=stride, padding=1)
        self.conv1.binarise = RSign(inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.activation1 = RPReLU(inputs)
        self.conv2 = BinaryConv2d(inputs, outputs, 1)
        self.conv2.binarise = RSign(inputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.activation2 = RPReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation1(self.bn1(self.conv1(x)) + self.shortcut(x))
        copies = x if self.copies == 1 else torch.cat([x] * self.copies, dim=1)
        return self.activation2(self.bn2(self.conv2(x)) + copies)  # type: ignore[no-any-return]


def reactnet_a(input_shape: tuple[int, ...], classes: int, *, width: int = 32) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> logits; the first convolution has `width` channels, 32."""
    layers: list[nn.Module] = [
        nn.Conv2d(input_shape[0], width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
    ]
    inputs = width
    for i, factor in enumerate(OUTPUTS):
        outputs = factor * width
        layers.append(Block(inputs, outputs, stride=2 if i > 0 and outputs > inputs else 1))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
