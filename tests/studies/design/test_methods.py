"""Every method trains, anywhere in its default space and on every task."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import train_with
from pictures import data_folder

from studies.design.methods import METHODS
from studies.design.searchers import suggest_sobol
from trainers.data import DATASETS, DataSet, Samples, Splits
from trainers.data.splits import channel_statistics
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, NoBinaryWeights
from trainers.tasks import REAL_TASKS, TASKS, TEACHERS, Task
from trainers.training import teachers

BATCH = 16


def test_the_table_knows_what_keeps_latent_weights() -> None:
    for name, method in METHODS.items():
        assert method.latent == (method.optimizer is not None and OPTIMIZERS[method.optimizer].latent), name


def cut(data: DataSet) -> DataSet:
    """Return the data set with two batches to train on, and one each for validation and test."""

    def load(folder: Path, seed: int) -> Splits:
        splits = data.load(folder, seed)
        some = {name: getattr(splits, name) for name in ("train", "validation", "test")}
        sizes = {"train": 2 * BATCH, "validation": BATCH, "test": BATCH}
        return replace(splits, **{n: Samples(*(part[: sizes[n]] for part in s)) for n, s in some.items()})

    return replace(data, load=load)


def made_up(data: DataSet, classes: int, *shape: int) -> DataSet:
    """Return the same with random images, bytes of this shape, or with features; each split has all classes."""

    def load(folder: Path, seed: int) -> Splits:
        generator = torch.Generator().manual_seed(seed)
        parts = [
            Samples(
                torch.randint(0, 256, (size, *shape), generator=generator, dtype=torch.uint8),
                torch.arange(size) % classes,
            )
            for size in (2 * BATCH, BATCH, BATCH)
        ]
        if len(shape) == 2:
            return Splits(*(Samples(inputs / 128 - 1, targets) for inputs, targets in parts), classes=classes)
        mean, std = channel_statistics(parts[0].inputs)
        return Splits(*parts, classes=classes, mean=mean, std=std)

    return replace(data, load=load)


IMAGES = {"mnist": (10, 1, 28, 28), "cifar10": (10, 3, 32, 32), "cifar100": (100, 3, 32, 32)}
FEATURES = {"fsdd": (10, 20, 40), "audiomnist": (10, 20, 40)}
PICTURES = (2, 3, 32, 32)
NARROWEST = {"fullycon": 16, "autoencoder": 4}  # 2 for other models


def small(task: Task) -> Task:
    options = {**task.model_options}
    side = task.image_size
    if side is not None:
        options["width"] = NARROWEST.get(task.model, 2)
        side = min(side, 32)
    recipe = replace(task.recipe, batch_size=BATCH, epochs=1, first_step=None)
    return replace(task, model_options=options, recipe=recipe, image_size=side)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data folder with two batches of pictures to train on, and untrained teachers."""
    folder = data_folder(tmp_path_factory.mktemp("methods"), train=BATCH + 1)
    for name, task in TEACHERS.items():
        classes, *shape = IMAGES.get(task.dataset, PICTURES)
        teachers.save(
            MODELS[task.model](tuple(shape), classes, width=2),
            teachers.path(folder, name),
        )
    return folder


# the first task of each network; its other tasks differ in data or teacher
FIRST = {(task.model, repr(task.model_options)): name for name, task in reversed(TASKS.items())}


@pytest.mark.parametrize(
    ("task", "method"),
    [
        (task, name)
        for task in TASKS
        for name in METHODS
        if (name == "real-valued") == (task in REAL_TASKS)
        and (task in FIRST.values() or name in ("real-valued", "gradient-filter"))
    ],
)
def test_two_steps_of_every_method_on_every_network_and_of_one_on_every_task(
    task: str, method: str, spoken_digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = small(TASKS[task])
    data = DATASETS[definition.dataset]
    shape = {**IMAGES, **FEATURES}.get(definition.dataset)
    if data.files is None:
        monkeypatch.setitem(DATASETS, definition.dataset, made_up(data, *shape) if shape else cut(data))
    data_dir = spoken_digits if definition.image_size is None else folder
    name = METHODS[method].optimizer
    optimizer, taken = OPTIMIZERS[name] if name else NoBinaryWeights, []
    step = optimizer.step
    monkeypatch.setattr(optimizer, "step", lambda self: taken.append(self) or step(self))
    values = {name: dimension.at(0.5) for name, dimension in METHODS[method].space.items()}
    (result,) = train_with(
        definition, METHODS[method].optimizer, values, seed=0, split_seed=0, data_dir=data_dir
    )
    assert len(taken) == 2
    assert result.epoch == 1
    assert not result.diverged
    assert 0 <= result.flip_ratio <= 1


@pytest.mark.parametrize("method", OPTIMIZERS)
def test_every_point_of_a_default_space_can_be_trained_with(
    method: str, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five Sobol points and the corners where all values are least or greatest: no error, and some learn."""
    space, extra = METHODS[method].space, METHODS[method].extra
    points = [
        suggest_sobol(space, [], seed, maximize=True, initial_trials=1).hyperparameters for seed in range(5)
    ]
    corners = [{name: d.at(u) for name, d in {**space, **extra}.items()} for u in (0.0, 1.0)]
    task = replace(TASKS["spoken-digits"], recipe=replace(TASKS["spoken-digits"].recipe, epochs=2))
    scores = []
    for values in (*points, *corners):
        results = list(
            train_with(task, METHODS[method].optimizer, values, seed=0, split_seed=0, data_dir=spoken_digits)
        )
        assert len(results) == 2 or results[-1].diverged
        scores.append(results[-1].validation_metric)
    assert max(scores) > 0.6
