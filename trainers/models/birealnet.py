"""Bi-Real-Net: a shortcut round every binary convolution (Liu et al. 2018).

With 20 layers as in Quist 2023, section 4.1, and with 18.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from trainers.layers.binary import BinaryConv2d


class Block(nn.Module):
    """normalised binary 3x3 convolution + shortcut; a real-valued 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(
            inputs, outputs, 3, stride=stride, padding=1, estimator="piecewise-polynomial"
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.shortcut(x)  # type: ignore[no-any-return]


def birealnet20(input_shape: tuple[int, ...], classes: int, *, width: int = 16) -> nn.Sequential:
    """(batch, channels, height, width) -> logits; three stages of six blocks, 16, 32 and 64 channels for `width` 16."""
    stem = [nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*stem, *_stages(width, (6, 6, 6)), *_head(4 * width, classes))


def birealnet18(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Sequential:
    """(batch, channels, height, width) -> logits; four stages of four blocks, 64 to 512 channels for `width` 64."""
    stem = [
        nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    return nn.Sequential(*stem, *_stages(width, (4, 4, 4, 4)), *_head(8 * width, classes))


def _stages(width: int, blocks: Sequence[int]) -> list[nn.Module]:
    """Stages of so many blocks; each after the first halves the image and doubles the channels."""
    layers: list[nn.Module] = []
    inputs = width
    for stage, count in enumerate(blocks):
        outputs = width * 2**stage
        for i in range(count):
            layers.append(Block(inputs, outputs, stride=2 if stage > 0 and i == 0 else 1))
            inputs = outputs
    return layers


def _head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
