"""One training of one binary network, epoch by epoch."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _NormBase

from trainers.binary import partition
from trainers.data import DATASETS, Samples
from trainers.flips import FlipCounter
from trainers.hyperparameters import Value
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, validate
from trainers.results import EpochResult
from trainers.schedules import factor
from trainers.seeds import derive
from trainers.tasks import Task

EVALUATION_BATCH = 1000


def train(
    task: Task,
    optimizer: str,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    split_seed: int,
    data_dir: Path,
    device: str = "cpu",
    epochs: int | None = None,
) -> Iterator[EpochResult]:
    """Train `task`'s network once, its binary weights by `optimizer`, and yield every epoch's result.

    Real-valued initial weights and the order of samples depend on `seed` alone and are the same for every
    optimizer; the split depends on `split_seed`. torch's global random state is left as it was. `epochs`
    replaces the recipe's, decay included. An epoch takes the training samples in a new random order in whole
    batches: those that do not fill the last batch are left out of that epoch. After a loss that is not
    finite no epoch follows. Raises, at the first `next`, ValueError for arguments out of range and DataError
    for the data set.
    """
    recipe = task.recipe
    validate(optimizer, hyperparameters)
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    place = _device(device)

    splits = DATASETS[task.dataset].load(data_dir, split_seed)
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

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "real-initialisation"))
        model = MODELS[task.model](splits.input_shape, splits.classes, **task.model_options)
    model.to(place)
    binary, real = partition(model)
    binary_optimizer = OPTIMIZERS[optimizer](
        binary,
        **hyperparameters,  # type: ignore[arg-type]  # names and ranges are checked above
        generator=torch.Generator().manual_seed(derive(seed, "binary-initialisation")),
    )
    real_optimizer = torch.optim.SGD(
        _groups(model, real, recipe.weight_decay),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        fused=True,
    )
    decayed = [(group, "lr", group["lr"]) for group in real_optimizer.param_groups]
    decayed += [
        (group, key, group[key])
        for group in binary_optimizer.param_groups
        for key in [binary_optimizer.decayed]
    ]
    flips = FlipCounter(binary)
    loss_sum = torch.zeros((), device=place)

    step = 0
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        model.train()
        loss_sum.zero_()
        flips.reset()
        shuffled = torch.randperm(len(training.targets), generator=order).to(place)
        for batch in torch.split(shuffled, recipe.batch_size)[:steps_an_epoch]:
            for group, key, start in decayed:
                group[key] = start * factor(recipe.decay, step, epochs * steps_an_epoch)
            loss = cross_entropy(model(training.inputs[batch]), training.targets[batch])
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
        yield EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            validation_metric=task.worst if diverged else accuracy(model, validation),
            test_metric=task.worst if diverged else accuracy(model, test),
            flip_ratio=flips.ratio(),
            train_seconds=trained - started,
            evaluate_seconds=time.perf_counter() - trained,
            diverged=diverged,
        )
        if diverged:
            return


@torch.no_grad()
def accuracy(model: nn.Module, samples: Samples) -> float:
    """Share of samples whose largest logit is their class's, in [0, 1]. Leaves the model evaluating."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=samples.targets.device)
    for inputs, targets in zip(*(torch.split(part, EVALUATION_BATCH) for part in samples), strict=True):
        correct += (model(inputs).argmax(1) == targets).sum()
    return int(correct) / len(samples.targets)


def _groups(model: nn.Module, real: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Real-valued parameters in two groups: no weight decay on normalisation layers and biases."""
    exempt: set[Tensor] = {p for m in model.modules() if isinstance(m, _NormBase) for p in m.parameters()}
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
