"""The weights on disk of teachers, the trained real-valued networks that tasks learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import DataError
from trainers.files import atomic_write
from trainers.tasks import TEACHERS, Proxy, Task
from trainers.training_spec import Machine, TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys of a state dict in others' checkpoints
PREFIXES = ("module.", "_orig_mod.")  # before every name, from DataParallel and torch.compile


def path(data_dir: Path, name: str) -> Path:
    """Return the path in a data folder of the weights of the teacher `name` of TEACHERS."""
    return data_dir / "teachers" / f"{name}.pt"


def save(model: nn.Module, file: Path) -> None:
    """Write the weights as a state dict, all or nothing. Raises DataError."""
    import torch  # takes seconds: not for callers of `path`

    with atomic_write(file) as stream:
        torch.save(model.state_dict(), stream)


def file_of(task: Task, data_dir: Path, given: Path | None = None) -> Path | None:
    """Return the file of the teacher that `task` learns from, `given` or the data folder's; None without a teacher.

    Raises ValueError if a file is given for a task without a teacher.
    """
    name = task.recipe.teacher
    if name is not None:
        return given or path(data_dir, name)
    if given is not None:
        raise ValueError(f"{task.name} does not learn from a teacher, got {given}")
    return None


def load(name: str, file: Path, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the teacher `name` with the weights in `file`, on the CPU, in evaluation mode, without gradients.

    The file holds a state dict, as `save` writes and torchvision publishes for ResNet-34, or a checkpoint with one in
    it; the network's width is read from its weights. Raises DataError if the file is missing, has numbers that are not
    finite, or is of another network or other classes.
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
        with torch.device("meta"), tensors.SkipInitialisation():  # compares shapes before it takes memory
            model = MODELS[task.model](input_shape, classes, width=width)
        model.load_state_dict(weights, assign=True)
        model.float()
    except FileNotFoundError as error:
        raise _missing(file, task) from error
    except Exception as error:  # a damaged or foreign file may raise anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{file}: not the weights of {task.model} for {classes} classes: {reason}; {_advice(task)}"
        ) from error
    return model.eval().requires_grad_(False)


def _weights(contents: Any) -> dict[str, Tensor]:
    """Return the state dict in a file, itself or in a checkpoint's dictionary, without wrappers' prefixes of names."""
    from torch import Tensor

    for name in WRAPPERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(name), Mapping):
            contents = contents[name]
    if not contents or not isinstance(contents, Mapping):
        raise ValueError("it holds no state dict")
    for name, weight in contents.items():
        if not isinstance(name, str) or not isinstance(weight, Tensor):
            raise ValueError(f"it holds no state dict: {name!r} is not a tensor")
    weights = dict(contents)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    return weights


def check_file(task: Task, data_dir: Path) -> None:
    """Raise DataError if the teacher that `task` learns from is missing."""
    file = file_of(task, data_dir)
    if task.recipe.teacher and file and not file.exists():
        raise _missing(file, TEACHERS[task.recipe.teacher])


def check_weights(task: Task, proxy: Proxy, data_dir: Path) -> None:
    """Raise DataError if trainings of `proxy` of `task` cannot learn from the teacher that is there; none is no error.

    Reads the data too, whose classes and shape the teacher must fit; raises ValueError for too few samples.
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
