"""Many small trainings in one process: `python tests/benchmarks/stacked_trainings.py [--device cuda]`.

Trains spoken digits by the gradient filter, with nothing but different seeds: one training after the other, as a
study's workers do, and stacked. Stacked trainings have one weight tensor per layer, whose products are batched, and
step together; on a GPU the step is recorded as one CUDA graph and replayed without the host. Prints trainings a second
for both, and how their validation metrics differ: sums in another order flip signs in float32.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy

from trainers.data import DATASETS, Samples
from trainers.layers.binary import BinaryLinear
from trainers.optimizers.signs import write_signs
from trainers.schedules import factor
from trainers.seeds import derive
from trainers.tasks import TASKS, Proxy
from trainers.tasks.proxy import PRECISIONS
from trainers.training.loop import train
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec

TASK = TASKS["spoken-digits"]
ALPHA, GAMMA = 1e-3, 0.1
Numbers = npt.NDArray[np.float64]
WARM_UP = 3  # steps before a graph is recorded, which are undone


class Stack:
    """Networks of one shape as one network: inputs (networks, batch, ...) -> logits (networks, batch, classes)."""

    def __init__(self, models: Sequence[nn.Sequential]) -> None:
        self.layers = list(models[0])
        states = [model.state_dict() for model in models]
        self.tensors = {
            name: torch.stack([state[name] for state in states])
            for name in states[0]
            if "num_batches" not in name
        }
        names = [name for name, _ in models[0].named_parameters()]
        self.binary = [
            f"{i}.weight" for i, layer in enumerate(self.layers) if isinstance(layer, BinaryLinear)
        ]
        self.real = [name for name in names if name not in self.binary]
        for name in names:
            self.tensors[name].requires_grad_()

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        for i, layer in enumerate(self.layers):
            match layer:
                case nn.Flatten():
                    x = x.flatten(2)
                case BinaryLinear():
                    x = layer.binarise(x) @ self.tensors[f"{i}.weight"].mT
                case nn.Linear(bias=None):
                    x = x @ self.tensors[f"{i}.weight"].mT
                case nn.BatchNorm1d():
                    x = self._normalised(x, i, layer, training)
                case _:
                    raise TypeError(f"{layer} cannot be stacked")
        return x

    def _normalised(self, x: Tensor, i: int, layer: nn.BatchNorm1d, training: bool) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        rows = [self.tensors[f"{i}.{name}"].flatten() for name in names]
        wide = x.transpose(0, 1).flatten(1)  # a channel of each network is a channel of its own
        wide = batch_norm(wide, *rows, training=training, momentum=layer.momentum, eps=layer.eps)
        return wide.view(x.shape[1], x.shape[0], -1).transpose(0, 1)


class Steps:
    """All steps of a stack's training. All that they need lies on the device beforehand: no step needs the host."""

    def __init__(self, specs: Sequence[TrainingSpec], data_dir: Path, device: torch.device) -> None:
        self.recipe = recipe = specs[0].scaled.recipe
        splits = DATASETS[TASK.dataset].splits(data_dir, specs[0].split_seed)
        done_here = (recipe.augmentation, recipe.noise, recipe.nesterov, recipe.loss, recipe.optimizer)
        assert done_here == ("none", 0, None, "cross-entropy", "sgd"), done_here
        trainings = [Training(spec, Machine(data_dir=data_dir)) for spec in specs]
        for training in trainings:
            training.begin()
        self.stack = Stack([training.model.to(device) for training in trainings])
        dtype = self.stack.tensors[self.stack.binary[0]].dtype
        self.inputs, self.targets = splits.train.inputs.to(device, dtype), splits.train.targets.to(device)
        self.scored = splits.validation, splits.test
        size, samples = recipe.batch_size, len(splits.train.targets)
        self.an_epoch = samples // size
        self.total = recipe.epochs * self.an_epoch
        shape = (self.total, size)
        orders = [torch.Generator().manual_seed(derive(spec.seed, "data-order")) for spec in specs]
        drawn = [
            torch.cat(
                [
                    torch.randperm(samples, generator=order)[: self.an_epoch * size]
                    for _ in range(recipe.epochs)
                ]
            )
            for order in orders
        ]
        self.batches = torch.stack([each.view(shape) for each in drawn], dim=1).to(device)
        self.rates, self.alphas = (
            torch.tensor(
                [value * factor(recipe.decay, step, self.total) for step in range(self.total)],
                dtype=dtype,
                device=device,
            )
            for value in (recipe.learning_rate, ALPHA)
        )
        self.taken = torch.zeros(1, dtype=torch.int64, device=device)
        self.ms, self.gs, self.momenta = (
            [torch.zeros_like(self.stack.tensors[name]) for name in names]
            for names in (self.stack.binary, self.stack.binary, self.stack.real)
        )

    def step(self) -> None:
        recipe, tensors = self.recipe, self.stack.tensors
        batch = self.batches[self.taken][0]
        logits = self.stack(self.inputs[batch], training=True)
        loss = cross_entropy(logits.flatten(0, 1), self.targets[batch].flatten(), reduction="sum")
        names = [*self.stack.binary, *self.stack.real]
        found = torch.autograd.grad(loss / batch.shape[1], [tensors[name] for name in names])
        gradients = dict(zip(names, found, strict=True))
        rate, alpha = self.rates[self.taken], self.alphas[self.taken]
        with torch.no_grad():
            for name, velocity in zip(self.stack.real, self.momenta, strict=True):
                decayed = recipe.weight_decay if tensors[name].dim() > 2 else 0.0  # not for normalisation
                velocity.mul_(recipe.momentum).add_(gradients[name] + decayed * tensors[name])
                tensors[name].sub_(rate * velocity)
            for name, m, g in zip(self.stack.binary, self.ms, self.gs, strict=True):
                m.lerp_(gradients[name], GAMMA)
                g.lerp_(m, alpha)
                write_signs([tensors[name]], [g], direction=-1)
            self.taken += 1

    def run(self) -> Tensor:
        """Return the trainings' validation and test metrics (2, networks) after the last epoch; score after each."""
        step = self.recorded() if self.taken.is_cuda else self.step
        for taken in range(1, self.total + 1):
            step()
            if taken % self.an_epoch == 0:
                metrics = torch.stack([self.metric(part) for part in self.scored])
        return metrics.cpu()

    @torch.no_grad()
    def metric(self, part: Samples) -> Tensor:
        device, networks = self.taken.device, self.batches.shape[1]
        inputs, targets = part.inputs.to(self.inputs), part.targets.to(device)
        logits = self.stack(inputs.expand(networks, *inputs.shape), training=False)
        return (logits.argmax(-1) == targets).double().mean(1)

    def recorded(self) -> Callable[[], None]:
        """Return a step recorded as one CUDA graph. What its warm-up steps changed is restored."""
        moving = [*self.stack.tensors.values(), *self.ms, *self.gs, *self.momenta, self.taken]
        kept = [each.detach().clone() for each in moving]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self.step()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        with torch.no_grad():
            for each, value in zip(moving, kept, strict=True):
                each.copy_(value)
        return graph.replay


def spec(seed: int, precision: str) -> TrainingSpec:
    values = {"alpha": ALPHA, "gamma": GAMMA}
    proxy = Proxy(precision=precision)
    return TrainingSpec(task=TASK, proxy=proxy, method="gradient-filter", hyperparameters=values, seed=seed)


def one_by_one(specs: Sequence[TrainingSpec], machine: Machine) -> list[float]:
    return [list(train(each, machine))[-1].validation_metric for each in specs]


def stacked(specs: Sequence[TrainingSpec], machine: Machine) -> list[float]:
    return Steps(specs, machine.data_dir, torch.device(machine.device)).run()[0].tolist()


def timed(work: Callable[[], Sequence[float]]) -> tuple[Numbers, float]:
    begun = time.perf_counter()
    return np.asarray(work()), time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trainings", type=int, nargs="+", default=[8, 64, 512], help="stacked at a time")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    parser.add_argument("--alone", type=int, default=8, help="trainings one after the other")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data_dir = Path(os.environ.get("TUNEBENCH_DATA_DIR") or Path.home() / ".cache" / "tunebench")
    DATASETS[TASK.dataset].fetch(data_dir, None)
    machine = Machine(data_dir=data_dir, device=options.device)
    specs = [spec(seed, options.precision) for seed in range(max(options.alone, *options.trainings))]
    one_by_one(specs[:1], machine)  # warms up
    alone, seconds = timed(lambda: one_by_one(specs[: options.alone], machine))
    pace = options.alone / seconds
    print(f"one after the other: {pace:.2f} trainings a second, validation {show(alone)}")
    for number in options.trainings:
        together, seconds = timed(lambda n=number: stacked(specs[:n], machine))
        both = min(number, options.alone)
        differ = np.abs(together[:both] - alone[:both])
        print(
            f"{number} stacked: {number / seconds:.2f} trainings a second, {number / seconds / pace:.1f} x; validation "
            f"{show(together)}; of {both} trained both ways {int((differ == 0).sum())} end equal, the others "
            f"differ by {100 * differ.max():.2f} points at most"
        )


def show(metrics: Numbers) -> str:
    return f"{100 * metrics.mean():.2f} ({100 * metrics.std():.2f})"


if __name__ == "__main__":
    main()
