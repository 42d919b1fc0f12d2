"""Trained real-valued networks that tasks learn from: their weights on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import DataError
from trainers.files import replacing
from trainers.tasks import TEACHERS, Task

if TYPE_CHECKING:
    from torch import nn


def path(data_dir: Path, name: str) -> Path:
    """Where the weights of the teacher `name` of TEACHERS lie under a data folder."""
    return data_dir / "teachers" / f"{name}.pt"


def save(model: nn.Module, file: Path) -> None:
    """Write the weights as a state dict, all or nothing. Raises DataError."""
    import torch  # takes seconds: not for whoever asks where a teacher is

    with replacing(file) as stream:
        torch.save(model.state_dict(), stream)


def file_of(task: Task, data_dir: Path, given: Path | None = None) -> Path | None:
    """The weights that `task` learns from, those `given` or the data folder's; None where it learns from the classes.

    Raises ValueError where some are given to such a task.
    """
    name = task.recipe.teacher
    if name is not None:
        return given or path(data_dir, name)
    if given is not None:
        raise ValueError(f"{task.name} learns from no teacher, got {given}")
    return None


def load(name: str, file: Path, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The teacher `name` with the weights in `file`, on the CPU, evaluating, without gradients.

    The file holds a state dict, such as `save` writes and torchvision publishes for ResNet-34; how wide the network
    is, is read from it. Raises DataError where it is missing, or of another network or other classes.
    """
    import torch

    from trainers.models import MODELS

    task = TEACHERS[name]
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        width = len(next(iter(weights.values())))
        with torch.random.fork_rng(devices=[]):
            model = MODELS[task.model](input_shape, classes, width=width)
        model.load_state_dict(weights)
    except FileNotFoundError as error:
        raise _missing(file, task) from error
    except Exception as error:  # a damaged or foreign file raises anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{file}: not the weights of {task.model} for {classes} classes: {reason}; {_advice(task)}"
        ) from error
    return model.eval().requires_grad_(False)


def check(task: Task, data_dir: Path) -> None:
    """Raise DataError where the teacher that `task` learns from is missing."""
    file = file_of(task, data_dir)
    if task.recipe.teacher and file and not file.exists():
        raise _missing(file, TEACHERS[task.recipe.teacher])


def _missing(file: Path, task: Task) -> DataError:
    return DataError(f"{file}: missing; {_advice(task)}")


def _advice(task: Task) -> str:
    published = ", such as torchvision publishes for ImageNet" if task.dataset == "imagenet" else ""
    return f"put a state dict of {task.model} there{published}, or train one: python -m trainers {task.name}"
