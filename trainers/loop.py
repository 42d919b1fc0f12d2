"""One training of one binary network, epoch by epoch."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from trainers import teachers
from trainers.binary import partition
from trainers.checkpoints import Checkpoint, digest
from trainers.data import Samples
from trainers.feed import Part, feed
from trainers.flips import FlipCounter
from trainers.hyperparameters import Value
from trainers.inputs import Pixels, pixels, prepare
from trainers.losses import LOSSES
from trainers.metrics import METRICS, is_among_five
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, BinaryOptimizer, NoBinaryWeights, validate
from trainers.optimizers.real_weights import RealWeights
from trainers.react import RPReLU, RSign
from trainers.results import EpochResult
from trainers.schedules import Progress, factor
from trainers.seeds import derive
from trainers.start import start_from, take_over
from trainers.state import State
from trainers.tasks import WHOLE, Proxy, Recipe, Task

PARTS: tuple[Part, Part] = ("validation", "test")
SPARED = (_NormBase, nn.LayerNorm, RSign, RPReLU)  # from weight decay


def train(
    task: Task,
    optimizer: str | None,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    split_seed: int,
    data_dir: Path,
    device: str = "cpu",
    proxy: Proxy = WHOLE,
    teacher: Path | None = None,
    save: Path | None = None,
    workers: int | None = None,
    checkpoint: Checkpoint | None = None,
    start: Path | None = None,
) -> Iterator[EpochResult]:
    """Train `task`'s network once, its binary weights by `optimizer`, and yield every epoch's result.

    A network without binary weights, a teacher, has no `optimizer`. A task with a teacher takes the weights in
    `teacher`, or those in the data folder. After the last epoch the network's weights are put into `save`.

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the
    same for every optimizer; the split and noise in scoring depend on `split_seed`. torch's global random state is
    left as it was. `hyperparameters` are the optimizer's and, where they differ from the recipe's, those of the
    real-valued parameters' optimizer (`Recipe.real`). `proxy` scales the task down. What an epoch is, and `workers`,
    are `trainers.feed`'s. After a loss that is not finite no epoch follows.

    With a `checkpoint` a training that was stopped anywhere goes on from there, on the same kind of machine with
    the very numbers that it would have had; the epochs that it had finished are yielded again. `start` is another
    training's checkpoint, whose weights this one starts from, with new optimizers. Raises, at the first `next`,
    ValueError for arguments out of range, DataError for the data set and the teacher, and CheckpointError for a
    checkpoint.
    """
    task = proxy.of(task)
    validate(optimizer, hyperparameters, task.recipe.real)
    recipe = task.recipe.tuned(hyperparameters)
    own = {name: value for name, value in hyperparameters.items() if name not in recipe.real}
    place = _device(device)

    source = feed(
        task, proxy, seed=seed, split_seed=split_seed, data_dir=data_dir, place=place, workers=workers
    )
    scale = pixels(recipe, source.mean, source.std, place)
    loss_of = LOSSES[recipe.loss]

    with _seeded(derive(seed, "real-initialisation"), torch.device("cpu")):
        model = MODELS[task.model](source.input_shape, source.classes, **task.model_options)
    model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    binary, real = partition(model)
    if bool(binary) != (optimizer is not None):
        needs = "needs a method for its" if binary else "has no"
        raise ValueError(f"{task.name} {needs} binary weights, got {optimizer!r}")
    teacher = teachers.file_of(task, data_dir, teacher)
    master = None
    if recipe.teacher and teacher:
        master = teachers.load(recipe.teacher, teacher, source.input_shape, source.classes).to(place)
        master.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    stages = _stages(recipe, optimizer, own)
    state = State(model, torch.Generator(place).manual_seed(derive(seed, "augmentation")))
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
            "training samples": source.samples,
            "device": place.type,
            "teacher": teacher and teachers.checksum(teacher),
            "start": start and digest(start),
        }
    )
    if kept:
        _begin(state, kept["stage"], stages, recipe, seed)
        state.load_state_dict(kept)
        yield from tuple(state.results)
        if state.results and state.results[-1].diverged:
            return
    else:
        _begin(state, 0, stages, recipe, seed)
        if start:
            start_from(start, model, state.binary_optimizer)
            state.flips.look()
    steps_an_epoch = source.steps_an_epoch

    for epoch in range(len(state.results) + 1, recipe.all_epochs + 1):
        if epoch > stages[state.stage].last_epoch:
            _begin(state, state.stage + 1, stages, recipe, seed)
        stage = stages[state.stage]
        stage_begin = (stage.last_epoch - stage.epochs) * steps_an_epoch
        stage_steps = stage.epochs * steps_an_epoch
        begun = state.step - (epoch - 1) * steps_an_epoch  # steps of it, where the training goes on
        if begun == 0:
            state.begin_epoch()
        started = time.perf_counter()
        model.train()
        with (
            _seeded(derive(seed, "dropout", epoch), place),
            closing(source.training(epoch, begun)) as batches,
        ):
            state.go_on_drawing()
            for samples in batches:
                step = state.step - stage_begin
                rate = recipe.learning_rate * factor(recipe.decay, step, stage_steps, recipe.decay_end)
                for group in state.real_optimizer.param_groups:
                    group["lr"] = rate
                progress = Progress(step, stage_steps, steps_an_epoch, recipe.decay_end)
                state.binary_optimizer.schedule(progress)
                inputs, targets = prepare(samples, recipe, scale, state.augmentation, training=True)
                if master is not None:
                    with torch.no_grad():
                        targets = master(inputs)
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
        scores = [(task.worst, 0.0 if task.top5 else None)] * len(PARTS)
        if not diverged:
            with state.binary_optimizer.binarised():
                for i, part in enumerate(PARTS):
                    noise = torch.Generator(place).manual_seed(derive(split_seed, "evaluation", i))
                    with closing(source.scored(part)) as batches:
                        scores[i] = evaluate(model, batches, task, scale, noise)
        result = EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            validation_metric=scores[0][0],
            test_metric=scores[1][0],
            flip_ratio=state.flips.ratio(),
            train_seconds=state.train_seconds + trained - started,
            evaluate_seconds=time.perf_counter() - trained,
            diverged=diverged,
            validation_top5=scores[0][1],
            test_top5=scores[1][1],
        )
        state.results.append(result)
        state.train_seconds = 0.0
        if checkpoint and checkpoint.due(end=diverged or epoch == recipe.all_epochs):
            checkpoint.write(state.state_dict())
        yield result
        if diverged:
            return
    if save is not None:
        teachers.save(model, save)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Samples],
    task: Task,
    scale: Pixels | None,
    generator: torch.Generator,
) -> tuple[float, float | None]:
    """The task's metric of `model` on `batches`, and top-5 where it counts that; noise comes from `generator`.

    Leaves the model evaluating.
    """
    model.eval()
    metric = METRICS[task.metric]
    measures = [metric.of_samples, is_among_five] if task.top5 else [metric.of_samples]
    sums = torch.zeros(len(measures), dtype=torch.float64, device=generator.device)
    samples = 0
    for batch in batches:
        samples += len(batch.targets)
        inputs, targets = prepare(batch, task.recipe, scale, generator, training=False)
        outputs = model(inputs)
        sums += torch.stack([measure(outputs, targets).sum(dtype=torch.float64) for measure in measures])
    value, *top5 = [float(total) / samples for total in sums]
    return metric.of_mean(value), top5[0] if top5 else None


class Stage(NamedTuple):
    """Epochs with one optimizer of the binary layers' weights, up to and with the training's `last_epoch`."""

    optimizer: type[BinaryOptimizer]
    values: dict[str, Value]
    epochs: int
    last_epoch: int


def _stages(recipe: Recipe, optimizer: str | None, hyperparameters: Mapping[str, Value]) -> list[Stage]:
    if optimizer is None:
        return [Stage(NoBinaryWeights, {}, recipe.all_epochs, recipe.all_epochs)]
    defaults: dict[str, Value] = {"decay": recipe.decay}
    first = recipe.first_step
    if first is None:
        return [Stage(OPTIMIZERS[optimizer], defaults | dict(hyperparameters), recipe.epochs, recipe.epochs)]
    weights = {"learning_rate": first.learning_rate, "weight_decay": first.weight_decay}
    if "pretraining" in OPTIMIZERS[optimizer].optional:
        defaults["pretraining"] = 0.0  # the first step is that
    return [
        Stage(RealWeights, {"decay": recipe.decay, **weights}, first.epochs, first.epochs),
        Stage(OPTIMIZERS[optimizer], defaults | dict(hyperparameters), recipe.epochs, recipe.all_epochs),
    ]


def _begin(state: State, number: int, stages: list[Stage], recipe: Recipe, seed: int) -> None:
    """Begin a stage: with new optimizers, the second from the first one's weights."""
    binary, real = partition(state.model)
    weights = {name: weight.clone() for name, weight in state.model.state_dict().items()}
    state.stage = number
    state.binary_optimizer = stages[number].optimizer(
        binary,
        **stages[number].values,  # type: ignore[arg-type]  # checked by whoever gave them
        generator=torch.Generator().manual_seed(derive(seed, "binary-initialisation")),
    )
    state.real_optimizer = _real_optimizer(recipe, _groups(state.model, real, recipe.weight_decay))
    if number > 0:
        take_over(weights, state.model, state.binary_optimizer, real=True)
    state.flips = FlipCounter(binary)


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
