"""Time one training of spoken-digits: `python tests/benchmarks/training_step.py [--rounds N] [--threads N]`.

Three loops take turns: ours; the same training written plainly (sign gradients as masked temporaries, an optimizer step
per parameter, loss and flips read every step); and the floor, the training's matrix products and nothing else.
Prints the median seconds of a training and of one of its steps.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainers.data import DATASETS
from trainers.layers.binary import BinaryLinear, partition
from trainers.models import MODELS
from trainers.schedules import factor
from trainers.tasks import TASKS
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec

TASK = TASKS["spoken-digits"]
ALPHA, GAMMA = 1e-3, 1e-1


def masked_sign(x: Tensor) -> Tensor:
    inside = (x.abs() <= 1).to(x.dtype)
    hard = torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))
    return hard.detach() + x * inside - (x * inside).detach()


def plain(data_dir: Path) -> None:
    recipe = TASK.recipe
    splits = DATASETS[TASK.dataset].load(data_dir, 0)
    model = MODELS[TASK.model](splits.input_shape, splits.classes, **TASK.model_options)
    for layer in model.modules():
        if isinstance(layer, BinaryLinear):
            layer.binarise = masked_sign
    binary, real = partition(model)
    sgd = torch.optim.SGD(
        real, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    ms, gs = [torch.zeros_like(p) for p in binary], [torch.zeros_like(p) for p in binary]
    steps_an_epoch = len(splits.train.targets) // recipe.batch_size
    step = 0
    for _ in range(recipe.epochs):
        order = torch.randperm(len(splits.train.targets))
        for batch in torch.split(order, recipe.batch_size):
            decay = factor(recipe.decay, step, recipe.epochs * steps_an_epoch)
            sgd.param_groups[0]["lr"] = recipe.learning_rate * decay
            loss = cross_entropy(model(splits.train.inputs[batch]), splits.train.targets[batch])
            model.zero_grad()
            loss.backward()
            sgd.step()
            flips = 0
            with torch.no_grad():
                for theta, m, g in zip(binary, ms, gs, strict=True):
                    assert theta.grad is not None
                    m.mul_(1 - GAMMA).add_(theta.grad, alpha=GAMMA)
                    g.mul_(1 - ALPHA * decay).add_(m, alpha=ALPHA * decay)
                    new = torch.where(g == 0, theta, -torch.sign(g))
                    flips += (new != theta).sum().item()
                    theta.copy_(new)
            loss.item()
            step += 1
        model.eval()
        with torch.no_grad():
            for part in (splits.validation, splits.test):
                (model(part.inputs).argmax(1) == part.targets).float().mean().item()
        model.train()


def ours(data_dir: Path) -> None:
    values = {"alpha": ALPHA, "gamma": GAMMA}
    spec = TrainingSpec(task=TASK, method="gradient-filter", hyperparameters=values)
    for _ in train(spec, Machine(data_dir=data_dir)):
        pass


def floor(data_dir: Path) -> None:
    """Do every layer's product, and its two in the backward pass (the first layer needs no gradient of its input)."""
    splits = DATASETS[TASK.dataset].load(data_dir, 0)
    model = MODELS[TASK.model](splits.input_shape, splits.classes, **TASK.model_options)
    weights = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    size = TASK.recipe.batch_size
    inputs = [torch.randn(size, w.shape[1]) for w in weights]
    outputs = [torch.randn(size, w.shape[0]) for w in weights]
    for _ in range(TASK.recipe.epochs * (len(splits.train.targets) // size)):
        for i, (w, x, y) in enumerate(zip(weights, inputs, outputs, strict=True)):
            x @ w.T
            y.T @ x
            if i > 0:
                y @ w


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = Path(os.environ.get("TUNEBENCH_DATA_DIR") or Path.home() / ".cache" / "tunebench")
    DATASETS[TASK.dataset].fetch(folder, None)

    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds + 1):
        for contender in (plain, ours, floor):
            begun = time.perf_counter()
            contender(folder)
            seconds.setdefault(contender.__name__, []).append(time.perf_counter() - begun)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first warms up
    samples = len(DATASETS[TASK.dataset].load(folder, 0).train.targets)
    steps = TASK.recipe.epochs * (samples // TASK.recipe.batch_size)
    print(f"{TASK.name}, {steps} steps and {TASK.recipe.epochs} evaluations, threads: {options.threads}")
    for name, value in median.items():
        print(
            f"  {name:6s} {value:6.3f} s   {value / steps * 1e3:6.3f} ms a step   {value / median['ours']:5.2f} x ours"
        )
