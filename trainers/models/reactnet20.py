"""The small networks of Paren & Poudel 2021, section 5.1, by its code: ReActNet's blocks, and a teacher."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d, BinaryLinear
from trainers.layers.rsign_rprelu import RPReLU, RSign, Scale
from trainers.models.residual import Subsampled, head, shortcut, stages
from trainers.models.stack import Bias, of_real_input


class Block(nn.Module):
    """RSign, binary 3x3, scale, normalisation, + shortcut, RPReLU. Where the shape changes, the shortcut averages 2x2
    pixels and has a real-valued, normalised 1x1. `without`: see `reactnet20`."""

    def __init__(self, inputs: int, outputs: int, stride: int, without: str | None = None) -> None:
        super().__init__()
        plain = without in ("polynomial", "scale-and-polynomial")
        estimator = "straight-through" if plain else "piecewise-polynomial"
        self.conv = BinaryConv2d(inputs, outputs, 3, stride=stride, padding=1, estimator=estimator)
        if without not in ("rsign", "offsets"):
            self.conv.binarise = RSign(inputs, estimator=estimator)
        self.scale = nn.Identity() if without in ("scale", "scale-and-polynomial") else Scale(outputs)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.Identity() if without == "rprelu" else _rprelu(outputs, without)
        self.shortcut = shortcut(inputs, outputs, stride)
        if without == "real-shortcuts" and isinstance(self.shortcut, nn.Sequential):
            self.shortcut[1] = of_real_input(BinaryConv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.scale(self.conv(x)))
        return self.activation(y + self.shortcut(x))  # type: ignore[no-any-return]


def _rprelu(channels: int, without: str | None) -> RPReLU:
    """Return an RPReLU, without "offsets" (they stay 0: a PReLU) or "slopes" (0: a ReLU between two offsets)."""
    layer = RPReLU(channels)
    if without == "offsets":
        layer.before.requires_grad_(False)
        layer.after.requires_grad_(False)
    elif without == "slopes":
        nn.init.zeros_(layer.slope).requires_grad_(False)
    return layer


class PreactivationBlock(nn.Module):
    """Twice normalisation, ReLU, 3x3, + shortcut: a 1x1 of the first ReLU's output where channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = Subsampled(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        before = torch.relu(self.bn1(x))
        y = self.conv2(torch.relu(self.bn2(self.conv1(before))))
        return y + (x if self.shortcut is None else self.shortcut(before))  # type: ignore[no-any-return]


def reactnet20(
    input_shape: tuple[int, ...], classes: int, *, width: int = 16, without: str | None = None
) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> logits.

    It has three stages of six blocks, with 16, 32 and 64 channels for `width` 16, and max-pooling to half the side
    before them. The 18 convolutions of the blocks are binary. `without` removes one part of ReActNet's from every
    block: "scale"; "rsign", for a plain sign; "rprelu", for nothing; or "polynomial", for the sign's derivative of eq 1
    instead of eq 2.

    The authors' code has "scale", "polynomial", "scale-and-polynomial", and these: "offsets", all learned ones of RSign
    and RPReLU; "slopes", those of RPReLU, for a ReLU between its offsets; "real-shortcuts" and "real-ends", for binary
    weights on real-valued inputs, in the shortcuts' 1x1, or in the first convolution and the last layer.
    """
    stem = [
        nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    blocks = stages(partial(Block, without=without), width, (6, 6, 6))
    ends = head(4 * width, classes)
    if without == "real-ends":
        stem[0] = of_real_input(BinaryConv2d(input_shape[0], width, 3, padding=1))
        ends[-1:] = [of_real_input(BinaryLinear(4 * width, classes)), Bias(classes)]
    return nn.Sequential(*stem, *blocks, *ends)


def preactivation_resnet20(input_shape: tuple[int, ...], classes: int, *, width: int = 16) -> nn.Sequential:
    """Build the real-valued teacher, (batch, channels, height, width) -> logits; `width` is the first stage's, 16.

    It is a wide residual network of width 1 (Zagoruyko & Komodakis 2016).
    """
    outputs = 4 * width
    model = nn.Sequential(
        nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False),
        *stages(PreactivationBlock, width, (3, 3, 3)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        *head(outputs, classes),
    )
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels)))
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    return model
