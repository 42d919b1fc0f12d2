"""One training of one binary network, epoch by epoch."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from trainers.binary import partition
from trainers.checkpoints import Checkpoint
from trainers.data import DATASETS, Samples
from trainers.data.splits import scaled_down
from trainers.flips import FlipCounter
from trainers.hyperparameters import Value
from trainers.inputs import Pixels, pixels, prepare
from trainers.losses import LOSSES
from trainers.metrics import METRICS
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, validate
from trainers.react import RPReLU, RSign
from trainers.results import EpochResult
from trainers.schedules import Progress, factor
from trainers.seeds import derive
from trainers.state import State
from trainers.tasks import Proxy, Recipe, Task

EVALUATION_BATCH = 1000
WHOLE = Proxy()  # the task itself
SPARED = (_NormBase, nn.LayerNorm, RSign, RPReLU)  # from weight decay


def train(
    task: Task,
    optimizer: str,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    split_seed: int,
    data_dir: Path,
    device: str = "cpu",
    proxy: Proxy = WHOLE,
    checkpoint: Checkpoint | None = None,
) -> Iterator[EpochResult]:
    """Train `task`'s network once, its binary weights by `optimizer`, and yield every epoch's result.

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the
    same for every optimizer; the split and noise in scoring depend on `split_seed`. torch's global random state is
    left as it was. `proxy` scales the task down. An epoch takes the training samples in a new random order in whole
    batches: those that do not fill the last batch are left out of that epoch. After a loss that is not
    finite no epoch follows.

    With a `checkpoint` a training that was stopped anywhere goes on from there, on the same kind of machine with
    the very numbers that it would have had; the epochs that it had finished are yielded again. Raises, at the first
    `next`, ValueError for arguments out of range, DataError for the data set and CheckpointError for a checkpoint.
    """
    task = proxy.of(task)
    recipe = task.recipe
    validate(optimizer, hyperparameters)
    place = _device(device)

    splits = DATASETS[task.dataset].load(data_dir, split_seed)
    if proxy.train_fraction or proxy.image_size:
        splits = scaled_down(
            splits, proxy.train_fraction, proxy.image_size, derive(split_seed, "train-fraction")
        )
    training, validation, test = (
        Samples(part.inputs.to(place), part.targets.to(place))
        for part in (splits.train, splits.validation, splits.test)
    )
    steps_an_epoch = len(training.targets) // recipe.batch_size
    if steps_an_epoch == 0:
        raise ValueError(
            f"{len(training.targets)} training samples do not fill a batch of {recipe.batch_size}"
        )
    scale = pixels(recipe, splits, place)
    loss_of = LOSSES[recipe.loss]

    with _seeded(derive(seed, "real-initialisation"), torch.device("cpu")):
        model = MODELS[task.model](splits.input_shape, splits.classes, **task.model_options)
    model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    binary, real = partition(model)
    state = State(
        model,
        OPTIMIZERS[optimizer](
            binary,
            **({"decay": recipe.decay} | dict(hyperparameters)),  # type: ignore[arg-type]  # checked above
            generator=torch.Generator().manual_seed(derive(seed, "binary-initialisation")),
        ),
        _real_optimizer(recipe, _groups(model, real, recipe.weight_decay)),
        FlipCounter(binary),
        torch.Generator(place).manual_seed(derive(seed, "augmentation")),
    )
    kept = checkpoint and checkpoint.open(
        {
            "task": task.name,
            "recipe": asdict(recipe),
            "model": dict(task.model_options),
            "method": optimizer,
            "hyperparameters": dict(hyperparameters),
            "seed": seed,
            "split_seed": split_seed,
            "proxy": proxy.changes,
            "training samples": len(training.targets),
            "device": place.type,
        }
    )
    if kept:
        state.load_state_dict(kept)
        yield from tuple(state.results)
        if state.results and state.results[-1].diverged:
            return
    total_steps = recipe.epochs * steps_an_epoch
    orders = _orders(len(training.targets), derive(seed, "data-order"))

    for epoch, order in islice(enumerate(orders, 1), len(state.results), recipe.epochs):
        begun = state.step - (epoch - 1) * steps_an_epoch  # steps of it, where the training goes on
        if begun == 0:
            state.begin_epoch()
        started = time.perf_counter()
        model.train()
        with _seeded(derive(seed, "dropout", epoch), place):
            state.go_on_drawing()
            for batch in torch.split(order.to(place), recipe.batch_size)[begun:steps_an_epoch]:
                progress = Progress(state.step, total_steps, steps_an_epoch, recipe.decay_end)
                for group in state.real_optimizer.param_groups:
                    group["lr"] = recipe.learning_rate * factor(
                        recipe.decay, state.step, total_steps, recipe.decay_end
                    )
                state.binary_optimizer.schedule(progress)
                samples = Samples(training.inputs[batch], training.targets[batch])
                inputs, targets = prepare(samples, recipe, scale, state.augmentation, training=True)
                loss = loss_of(model(inputs), targets)
                for parameter in (*binary, *real):
                    parameter.grad = None
                loss.backward()  # type: ignore[no-untyped-call]
                state.real_optimizer.step()
                state.binary_optimizer.step()
                state.flips.update()
                state.loss_sum += loss.detach()
                state.step += 1
                if checkpoint and checkpoint.due():
                    _wait(place)
                    state.train_seconds += time.perf_counter() - started
                    checkpoint.write(state.state_dict())
                    started = time.perf_counter()
        train_loss = float(state.loss_sum) / steps_an_epoch  # the epoch's one wait for the device
        trained = time.perf_counter()

        diverged = not math.isfinite(train_loss)
        with state.binary_optimizer.binarised():
            scores = [
                task.worst
                if diverged
                else evaluate(model, part, task, scale, derive(split_seed, "evaluation", i))
                for i, part in enumerate((validation, test))
            ]
        result = EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            validation_metric=scores[0],
            test_metric=scores[1],
            flip_ratio=state.flips.ratio(),
            train_seconds=state.train_seconds + trained - started,
            evaluate_seconds=time.perf_counter() - trained,
            diverged=diverged,
        )
        state.results.append(result)
        if checkpoint and checkpoint.due(end=diverged or epoch == recipe.epochs):
            checkpoint.write(state.state_dict())
        yield result
        if diverged:
            return


@torch.no_grad()
def evaluate(model: nn.Module, samples: Samples, task: Task, scale: Pixels | None, seed: int) -> float:
    """The task's metric of `model` on `samples`, with the same noise for the same `seed`. Leaves it evaluating."""
    model.eval()
    metric = METRICS[task.metric]
    place = samples.targets.device
    generator = torch.Generator(place).manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64, device=place)
    for part in zip(*(torch.split(tensor, EVALUATION_BATCH) for tensor in samples), strict=True):
        inputs, targets = prepare(Samples(*part), task.recipe, scale, generator, training=False)
        total += metric.of_samples(model(inputs), targets).sum(dtype=torch.float64)
    return metric.of_mean(float(total) / len(samples.targets))


def _orders(samples: int, seed: int) -> Iterator[Tensor]:
    """Each epoch's order of the training samples, one after another."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randperm(samples, generator=generator)


def _wait(place: torch.device) -> None:
    """Until the device has done all that it was given."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@contextmanager
def _seeded(seed: int, place: torch.device) -> Iterator[None]:
    """What is drawn within it without a generator, such as dropout, comes from `seed`; torch's state is left."""
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _real_optimizer(recipe: Recipe, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)


def _groups(model: nn.Module, real: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Real-valued parameters in two groups: no weight decay on what is `SPARED` and on biases."""
    exempt: set[Tensor] = {p for m in model.modules() if isinstance(m, SPARED) for p in m.parameters()}
    exempt |= {p for name, p in model.named_parameters() if name.endswith("bias")}
    groups = [
        {"params": [p for p in real if p not in exempt], "weight_decay": weight_decay},
        {"params": [p for p in real if p in exempt], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device
