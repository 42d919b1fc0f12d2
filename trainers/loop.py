"""One training of one binary network, epoch by epoch."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from trainers.binary import partition
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
) -> Iterator[EpochResult]:
    """Train `task`'s network once, its binary weights by `optimizer`, and yield every epoch's result.

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the
    same for every optimizer; the split and noise in scoring depend on `split_seed`. torch's global random state is
    left as it was. `proxy` scales the task down. An epoch takes the training samples in a new random order in whole
    batches: those that do not fill the last batch are left out of that epoch. After a loss that is not
    finite no epoch follows. Raises, at the first `next`, ValueError for arguments out of range and DataError
    for the data set.
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
    order = torch.Generator().manual_seed(derive(seed, "data-order"))
    augmentation = torch.Generator(place).manual_seed(derive(seed, "augmentation"))
    scale = pixels(recipe, splits, place)
    loss_of = LOSSES[recipe.loss]

    with _seeded(derive(seed, "real-initialisation"), torch.device("cpu")):
        model = MODELS[task.model](splits.input_shape, splits.classes, **task.model_options)
    model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    binary, real = partition(model)
    binary_optimizer = OPTIMIZERS[optimizer](
        binary,
        **({"decay": recipe.decay} | dict(hyperparameters)),  # type: ignore[arg-type]  # checked above
        generator=torch.Generator().manual_seed(derive(seed, "binary-initialisation")),
    )
    real_optimizer = _real_optimizer(recipe, _groups(model, real, recipe.weight_decay))
    rates = [(group, group["lr"]) for group in real_optimizer.param_groups]
    flips = FlipCounter(binary)
    loss_sum = torch.zeros((), device=place)

    step = 0
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        model.train()
        loss_sum.zero_()
        flips.reset()
        shuffled = torch.randperm(len(training.targets), generator=order).to(place)
        with _seeded(derive(seed, "dropout", epoch), place):
            for batch in torch.split(shuffled, recipe.batch_size)[:steps_an_epoch]:
                progress = Progress(step, recipe.epochs * steps_an_epoch, steps_an_epoch, recipe.decay_end)
                for group, start in rates:
                    group["lr"] = start * factor(recipe.decay, step, progress.total_steps, recipe.decay_end)
                binary_optimizer.schedule(progress)
                samples = Samples(training.inputs[batch], training.targets[batch])
                inputs, targets = prepare(samples, recipe, scale, augmentation, training=True)
                loss = loss_of(model(inputs), targets)
                for parameter in (*binary, *real):
                    parameter.grad = None
                loss.backward()  # type: ignore[no-untyped-call]
                real_optimizer.step()
                binary_optimizer.step()
                flips.update()
                loss_sum += loss.detach()
                step += 1
        train_loss = float(loss_sum) / steps_an_epoch  # the epoch's one wait for the device
        trained = time.perf_counter()

        diverged = not math.isfinite(train_loss)
        with binary_optimizer.binarised():
            scores = [
                task.worst
                if diverged
                else evaluate(model, part, task, scale, derive(split_seed, "evaluation", i))
                for i, part in enumerate((validation, test))
            ]
        yield EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            validation_metric=scores[0],
            test_metric=scores[1],
            flip_ratio=flips.ratio(),
            train_seconds=trained - started,
            evaluate_seconds=time.perf_counter() - trained,
            diverged=diverged,
        )
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
