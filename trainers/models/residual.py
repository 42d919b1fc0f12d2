"""Parts of residual networks that are a chain of blocks: shortcut, stages, head."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return the identity or, where the shape changes, a 2x2 average and a real-valued 1x1, normalised."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        nn.AvgPool2d(stride, ceil_mode=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Subsampled(nn.Conv2d):
    """A 1x1 convolution without bias of every `stride`-th pixel.

    It equals nn.Conv2d with a stride, whose gradient writes past its memory for 2 to 7 channels on processors without
    AVX-512 (oneDNN 3.12 in torch 2.13).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.stride
        return nn.functional.conv2d(x[..., ::down, ::across], self.weight)


def stages(block: Callable[[int, int, int], nn.Module], width: int, counts: Sequence[int]) -> list[nn.Module]:
    """Return stages with these `counts` of blocks; each after the first halves the image and doubles the channels.

    `block` takes the channels before and after it and its stride.
    """
    layers: list[nn.Module] = []
    inputs = width
    for stage, count in enumerate(counts):
        outputs = width * 2**stage
        for i in range(count):
            layers.append(block(inputs, outputs, 2 if stage > 0 and i == 0 else 1))
            inputs = outputs
    return layers


def head(channels: int, classes: int) -> list[nn.Module]:
    """Return layers that average channels over the image and then give logits."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
