"""Time the gradient filter's step on ReActNet-A: `python tests/benchmarks/optimizer_step.py [--device cuda]`.

Four steps take turns, so that other load on the machine affects all of them: the difference equation of Quist 2023,
eqs 14-17 written plainly, one parameter at a time with concatenated histories; the cascade of eqs 11-13 written
plainly; ours; and the floor, the time to move the step's bytes once (read gradient, m, g and theta, write m, g and
theta) by torch's fastest way. Prints the median of each, and ratios of medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from trainers.devices import wait
from trainers.layers.binary import binary_parameters
from trainers.models import MODELS
from trainers.optimizers import GradientFilter

ALPHA, GAMMA = 1e-3, 1e-1


def difference_equation(parameters: list[Tensor]) -> Callable[[], None]:
    """Return a step by g_i = sum of b x_(i-p) - sum of a g_(i-q): any such filter, with input and output histories."""
    b = parameters[0].new_tensor([ALPHA * GAMMA, 0.0, 0.0])
    a = parameters[0].new_tensor([1.0, (ALPHA - 1) + (GAMMA - 1), (ALPHA - 1) * (GAMMA - 1)])
    xs = [p.new_zeros(len(b), *p.shape) for p in parameters]
    ys = [p.new_zeros(len(a) - 1, *p.shape) for p in parameters]

    def step() -> None:
        for i, theta in enumerate(parameters):
            assert theta.grad is not None
            xs[i] = torch.cat((theta.grad.unsqueeze(0), xs[i][:-1]))
            y = (torch.tensordot(b, xs[i], dims=1) - torch.tensordot(a[1:], ys[i], dims=1)) / a[0]
            ys[i] = torch.cat((y.unsqueeze(0), ys[i][:-1]))
            theta.copy_(torch.where(y == 0, theta, -torch.sign(y)))

    return step


def cascade(parameters: list[Tensor]) -> Callable[[], None]:
    ms, gs = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]

    def step() -> None:
        for theta, m, g in zip(parameters, ms, gs, strict=True):
            assert theta.grad is not None
            m.mul_(1 - GAMMA).add_(theta.grad, alpha=GAMMA)
            g.mul_(1 - ALPHA).add_(m, alpha=ALPHA)
            theta.copy_(torch.where(g == 0, theta, -torch.sign(g)))

    return step


def floor(parameters: list[Tensor]) -> Callable[[], None]:
    """Return a step that reads one array and reads and writes three: the time to do nothing but touch the step's data.

    On a GPU it uses a few launches over all arrays, because one launch per array would take longer.
    """
    ms, gs = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]
    gradients = [theta.grad for theta in parameters if theta.grad is not None]

    def step() -> None:
        if parameters[0].is_cuda:
            torch._foreach_norm(gradients)
            torch._foreach_neg_([*ms, *gs, *parameters])
            return
        for theta, m, g, gradient in zip(parameters, ms, gs, gradients, strict=True):
            gradient.sum()
            m.neg_()
            g.neg_()
            theta.neg_()

    return step


def ours(parameters: list[Tensor]) -> Callable[[], None]:
    return GradientFilter(parameters, alpha=ALPHA, gamma=GAMMA).step


@torch.no_grad()
def measure(device: str, threads: int, rounds: int) -> None:
    place = torch.device(device)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = [theta.shape for theta in binary_parameters(MODELS["reactnet-a"]((3, 224, 224), 1000))]
    start = [torch.randn(shape, device=place).sign() for shape in shapes]
    gradients = [torch.randn(shape, device=place) * 1e-3 for shape in shapes]
    contenders = {}
    for build in (difference_equation, cascade, ours, floor):
        parameters = [theta.clone().requires_grad_() for theta in start]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        contenders[build.__name__] = build(parameters)

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, step in contenders.items():
            begun = time.perf_counter()
            step()
            wait(place)
            seconds[name].append(time.perf_counter() - begun)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first warms up

    weights = sum(theta.numel() for theta in start)
    print(f"{weights / 1e6:.1f} M weights, {device}, threads: {threads}, median of {rounds} steps")
    for name, value in median.items():
        print(f"  {name:20s} {value * 1e3:8.1f} ms   {value / median['ours']:5.2f} x ours")
    moved = 7 * 4 * weights
    print(f"  ours / floor {median['ours'] / median['floor']:.2f} ({moved / median['ours'] / 1e9:.1f} GB/s)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    for count in dict.fromkeys((torch.get_num_threads(), 1)):
        measure(options.device, count, options.rounds)
