"""Time a training step of Bi-Real-Net-20 and ReActNet-A: `python tests/benchmarks/network_step.py [--device cuda]`.

Contenders take turns on the same network, the same images and the same initial weights. `plain` is the published
formulation: signs with gradients from masked temporaries, offsets and PReLU as separate operations, every convolution
on its own, float32, channels first. `ours` is the network of `trainers.models`, channels last; `ours bf16` is the same
under autocast, which is fast only if the processor has instructions for it; `ours compiled` is the same compiled by
torch (`trainers.training.compilation`), which takes a minute before its first step. A step is forward, backward, the
gradient filter on the binary weights and SGD on the others, both optimizers written plainly in `plain`.

Prints how much outputs and gradients differ in float64 at a small size, where they must agree, and the median seconds
of a step. In float32 the losses may differ in the second digit: sums in another order flip signs.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainers.devices import repeatable
from trainers.layers.binary import BinaryConv2d, partition
from trainers.layers.rsign_rprelu import RPReLU, RSign
from trainers.models import MODELS, reactnet
from trainers.optimizers import GradientFilter
from trainers.training.compilation import batch_loss, compiled

ALPHA, GAMMA = 1e-3, 1e-1
KINDS = ("plain", "ours", "ours bf16", "ours compiled")
# by network: classes, image side, batch, batch on a GPU
NETWORKS = {"birealnet20": (10, 32, 128, 256), "reactnet-a": (1000, 224, 8, 128)}


def masked_sign(x: Tensor) -> Tensor:
    """Return the sign as in the code that the authors of Bi-Real Net and ReActNet published."""
    hard = torch.sign(x)
    left, negative, below_one = (x < -1).type(x.dtype), (x < 0).type(x.dtype), (x < 1).type(x.dtype)
    soft = (-1) * left + (x * x + 2 * x) * (1 - left)
    soft = soft * negative + (-x * x + 2 * x) * (1 - negative)
    soft = soft * below_one + 1 * (1 - below_one)
    return hard.detach() - soft.detach() + soft


class PlainSign(nn.Module):
    def __init__(self, ours: RSign) -> None:
        super().__init__()
        self.offset = nn.Parameter(ours.offset.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return masked_sign(x + self.offset.view(1, -1, 1, 1))


class PlainPReLU(nn.Module):
    def __init__(self, ours: RPReLU) -> None:
        super().__init__()
        self.before, self.after = (nn.Parameter(p.detach().clone()) for p in (ours.before, ours.after))
        self.prelu = nn.PReLU(len(ours.slope))

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(x + self.before.view(1, -1, 1, 1)) + self.after.view(1, -1, 1, 1)


class PlainBlock(nn.Module):
    """ReActNet's block with separate 1x1 convolutions."""

    def __init__(self, ours: reactnet.Block) -> None:
        super().__init__()
        self.sign1, self.sign2 = PlainSign(ours.conv1.binarise), PlainSign(ours.conv2.binarise)
        self.conv1, self.bn1, self.shortcut = without_sign(ours.conv1), ours.bn1, ours.shortcut
        self.activation1, self.activation2 = PlainPReLU(ours.activation1), PlainPReLU(ours.activation2)
        inputs = ours.conv2.in_channels
        self.halves = nn.ModuleList()
        for weight in ours.conv2.weight.detach().split(inputs):
            half = without_sign(BinaryConv2d(inputs, inputs, 1))
            half.weight = nn.Parameter(weight.clone())
            self.halves.append(nn.Sequential(half, nn.BatchNorm2d(inputs)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation1(self.bn1(self.conv1(self.sign1(x))) + self.shortcut(x))
        signs = self.sign2(x)
        return self.activation2(torch.cat([half(signs) + x for half in self.halves], dim=1))


def without_sign(layer: BinaryConv2d) -> BinaryConv2d:
    layer.binarise = nn.Identity()
    return layer


def in_plain(model: nn.Sequential) -> nn.Sequential:
    for i, layer in enumerate(model):
        if isinstance(layer, reactnet.Block):
            model[i] = PlainBlock(layer)
    for layer in model.modules():
        if isinstance(layer, BinaryConv2d) and not isinstance(layer.binarise, nn.Identity):
            layer.binarise = masked_sign
    return model


def plain_step(model: nn.Module) -> Callable[[], None]:
    binary, real = partition(model)
    sgd = torch.optim.SGD(real, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=False)
    ms, gs = [torch.zeros_like(p) for p in binary], [torch.zeros_like(p) for p in binary]

    @torch.no_grad()
    def step() -> None:
        sgd.step()
        for theta, m, g in zip(binary, ms, gs, strict=True):
            assert theta.grad is not None
            m.mul_(1 - GAMMA).add_(theta.grad, alpha=GAMMA)
            g.mul_(1 - ALPHA).add_(m, alpha=ALPHA)
            theta.copy_(torch.where(g == 0, theta, -torch.sign(g)))

    return step


def our_step(model: nn.Module) -> Callable[[], None]:
    binary, real = partition(model)
    kept = [p.detach().clone() for p in binary]
    optimizers = [GradientFilter(binary, ALPHA, GAMMA)]
    with torch.no_grad():  # the filter draws its own initial signs: restore those that all contenders have
        for parameter, value in zip(binary, kept, strict=True):
            parameter.copy_(value)
    sgd = torch.optim.SGD(real, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)

    def step() -> None:
        sgd.step()
        optimizers[0].step()

    return step


def contender(name: str, kind: str, device: str) -> Callable[[], float]:
    """Return a function that does one step, waits for the device and returns the loss."""
    classes, side, batch = size(name, device)
    torch.manual_seed(0)
    model = MODELS[name]((3, side, side), classes).train()
    images, targets = torch.randn(batch, 3, side, side), torch.randint(0, classes, (batch,))
    images, targets = images.to(device), targets.to(device)
    if kind == "plain":
        step = plain_step(in_plain(model).to(device))
    else:
        model.to(device).to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
        step = our_step(model)
    of_batch = compiled(name, device) if kind == "ours compiled" else batch_loss

    def train() -> float:
        torch.compiler.cudagraph_mark_step_begin()
        for parameter in model.parameters():
            parameter.grad = None
        with repeatable(torch.device(device)):  # as a training does
            with torch.autocast(device, torch.bfloat16) if kind == "ours bf16" else nullcontext():
                loss = of_batch(model, None, cross_entropy, images, targets)
            loss.backward()
        step()
        return loss.item()

    return train


def size(name: str, device: str) -> tuple[int, int, int]:
    """Return the number of classes, the images' side and the batch size."""
    classes, side, batch, batch_on_gpu = NETWORKS[name]
    return classes, side, batch if device == "cpu" else batch_on_gpu


def difference(name: str) -> float:
    """Return the largest difference of outputs and of first-layer gradients between plain and ours, in float64."""
    torch.manual_seed(0)
    model = MODELS[name]((3, 64, 64), 10, width=8).double()
    images, weights = torch.randn(8, 3, 64, 64).double(), torch.randn(8, 10).double()
    outputs, gradients = [], []
    for one in (model, in_plain(copy.deepcopy(model)).double()):
        y = one(images)
        outputs.append(y.detach())
        gradients += torch.autograd.grad((y * weights).sum(), [one[0].weight])
    return max(float((a - b).abs().max()) for a, b in (outputs, gradients))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compiled", action="store_true", help="take `ours compiled` in on the CPU too")
    options = parser.parse_args()
    kinds = KINDS if options.compiled or options.device == "cuda" else KINDS[:-1]
    torch.set_num_threads(options.threads)
    for name in options.networks:
        contenders = {kind: contender(name, kind, options.device) for kind in kinds}
        for train in [*contenders.values()] * 3:
            train()  # warms up; CUDA graphs are recorded in the second step
        seconds: dict[str, list[float]] = {kind: [] for kind in contenders}
        for _ in range(options.rounds):
            for kind, train in contenders.items():
                begun = time.perf_counter()
                train()
                seconds[kind].append(time.perf_counter() - begun)
        _, side, batch = size(name, options.device)
        median = {kind: statistics.median(values) for kind, values in seconds.items()}
        print(f"{name}, {batch} images of {side} x {side}, {options.device}, threads: {options.threads}")
        print(f"  plain and ours differ by {difference(name):.1g} in float64")
        for kind, value in median.items():
            print(f"  {kind:14s} {value:7.3f} s a step   {median['plain'] / value:5.2f} x as fast as plain")
