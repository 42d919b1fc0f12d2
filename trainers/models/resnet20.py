"""ResNet-20 for small images (He et al. 2016, section 4.2), and its binary form (Paren & Poudel 2021, section 5.1)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d
from trainers.layers.rsign_rprelu import RPReLU, RSign


class Shortcut(nn.Module):
    """Every `stride`-th pixel, with channels of zeros on both sides up to `outputs`: no parameters (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.added == 0:
            return x
        before = self.added // 2
        sparse = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(sparse, (0, 0, 0, 0, before, self.added - before))


class RealBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class BinaryHalf(nn.Module):
    """One convolution of a block: RSign, binary 3x3, normalisation, + shortcut, RPReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.conv.binarise = RSign(inputs)
        self.bn = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.activation = RPReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)) + self.shortcut(x))  # type: ignore[no-any-return]


def resnet20(input_shape: tuple[int, ...], classes: int, *, width: int = 16) -> nn.Sequential:
    """Build the real-valued teacher, (batch, channels, height, width) -> logits; `width` is the first stage's, 16."""
    return _resnet20(input_shape, classes, width, RealBlock, nn.ReLU())


def binary_resnet20(input_shape: tuple[int, ...], classes: int, *, width: int = 16) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> logits, with 18 binary convolutions between its ends.

    Paren & Poudel 2021 puts a sign before each of them and finds the developments of Bi-Real Net and ReActNet useful;
    hence a shortcut around each, RSign and RPReLU.
    """
    return _resnet20(
        input_shape,
        classes,
        width,
        lambda inputs, outputs, stride: nn.Sequential(
            BinaryHalf(inputs, outputs, stride), BinaryHalf(outputs, outputs, 1)
        ),
        nn.Identity(),
    )


def _resnet20(
    input_shape: tuple[int, ...],
    classes: int,
    width: int,
    block: Callable[[int, int, int], nn.Module],
    activation: nn.Module,
) -> nn.Sequential:
    stem = [nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), activation]
    blocks: list[nn.Module] = []
    inputs = width
    for stage in range(3):
        outputs = width * 2**stage
        for i in range(3):
            blocks.append(block(inputs, outputs, 2 if stage > 0 and i == 0 else 1))
            inputs = outputs
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    for layer in model.modules():
        if type(layer) is nn.Conv2d:
            nn.init.kaiming_normal_(layer.weight)
    return model
