"""Trained real-valued networks that tasks learn from: their weights on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import DataError
from trainers.files import replacing
from trainers.tasks import TEACHERS, Proxy, Task
from trainers.training_spec import Machine, TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model")  # of a state dict, in checkpoints of others
PREFIXES = ("module.", "_orig_mod.")  # of every name, by DataParallel and by torch.compile


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

    The file holds a state dict, such as `save` writes and torchvision publishes for ResNet-34, or what trainings put
    one into; how wide the network is, is read from it. Raises DataError where it is missing, not finite, or of another
    network or other classes.
    """
    import torch

    from trainers import tensors
    from trainers.models import MODELS

    task = TEACHERS[name]
    try:
        weights = _weights(tensors.read(file))
        if nan := tensors.broken(weights):
            raise ValueError(f"{nan} holds numbers that are not finite")
        width = len(next(iter(weights.values())))
        with torch.device("meta"), tensors.Undrawn():  # its shapes are compared before there is memory for it
            model = MODELS[task.model](input_shape, classes, width=width)
        model.load_state_dict(weights, assign=True)
        model.float()
    except FileNotFoundError as error:
        raise _missing(file, task) from error
    except Exception as error:  # a damaged or foreign file raises anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{file}: not the weights of {task.model} for {classes} classes: {reason}; {_advice(task)}"
        ) from error
    return model.eval().requires_grad_(False)


def _weights(contents: Any) -> dict[str, Tensor]:
    """The state dict in a file: itself, or in a checkpoint's dictionary, with what wrappers put before names."""
    from torch import Tensor

    for name in WRAPPERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(name), Mapping):
            contents = contents[name]
    if not contents or not isinstance(contents, Mapping):
        raise ValueError("it holds no state dict")
    for name, weight in contents.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise ValueError(f"it holds no state dict: {name!r} is no tensor")
    weights = dict(contents)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    return weights


def check_file(task: Task, data_dir: Path) -> None:
    """Raise DataError where the teacher that `task` learns from is missing."""
    file = file_of(task, data_dir)
    if task.recipe.teacher and file and not file.exists():
        raise _missing(file, TEACHERS[task.recipe.teacher])


def check_weights(task: Task, proxy: Proxy, data_dir: Path) -> None:
    """Raise DataError where trainings of `proxy` of `task` cannot learn from the teacher that is there.

    Reads the data too, whose classes and shape it must fit; ValueError where they are too few.
    """
    name, file = task.recipe.teacher, file_of(task, data_dir)
    if name is None or file is None or not file.exists():
        return
    from trainers.feeding.feed import feed

    source = feed(TrainingSpec(task=task, proxy=proxy), Machine(data_dir=data_dir))
    load(name, file, source.input_shape, source.classes)


def _missing(file: Path, task: Task) -> DataError:
    return DataError(f"{file}: missing; {_advice(task)}")


def _advice(task: Task) -> str:
    published = ", such as torchvision publishes for ImageNet" if task.dataset == "imagenet" else ""
    return f"put a state dict of {task.model} there{published}, or train one: python -m trainers {task.name}"
