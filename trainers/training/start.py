"""Starting from another network's weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import CheckpointError
from trainers.tasks import Proxy, Task
from trainers.training_spec import Machine, TrainingSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainers.optimizers import BinaryOptimizer


def start_file(data_dir: Path, name: str) -> Path:
    """Return the path in a data folder of the start `name`, a checkpoint that a study's trainings start from."""
    return data_dir / "starts" / f"{name}.pt"


def missing(file: Path, task: Task, proxy: Proxy) -> str:
    """Return a message that there is no start in `file`, and how to make one for trainings of `proxy` of `task`."""
    data_dir = file.parent.parent
    sizes = {name: value for name, value in proxy.changes.items() if name in ("width", "image_size")}
    same = "".join(f" --{name.replace('_', '-')} {value}" for name, value in sizes.items())
    return (
        f"{file}: missing; train a network, in the first step alone or with a METHOD, and move it there when done: "
        f"python -m trainers {task.name} --first-step EPOCHS{same} --data {data_dir} --checkpoint {file.name}; "
        f"mkdir -p {file.parent}; mv {file.name} {file.parent}"
    )


def check_start(file: Path, task: Task, proxy: Proxy, data_dir: Path) -> None:
    """Raise CheckpointError if trainings of `proxy` of `task` cannot start from `file`.

    They cannot if it is missing or damaged, if its training diverged or is not over, or if it lacks a binary layer of
    their network; a warning names what else it lacks. Reads the data too, whose classes and shape decide the network;
    raises DataError, and ValueError for too few samples.
    """
    import torch  # takes seconds: not for callers of `start_file`

    from trainers.feeding.feed import feed
    from trainers.models import MODELS

    if not file.exists():
        raise CheckpointError(missing(file, task, proxy))
    spec = TrainingSpec(task=task, proxy=proxy)
    source = feed(spec, Machine(data_dir=data_dir))
    with torch.random.fork_rng(devices=[]):
        model = MODELS[task.model](source.input_shape, source.classes, **spec.scaled.model_options)
    state, _ = _fitting(file, model, every_binary_layer=True)
    if not state["over"]:
        raise CheckpointError(f"{file}: its training has not finished: {len(state['results'])} epochs so far")


def start_from(path: Path, model: nn.Module, optimizer: BinaryOptimizer) -> None:
    """Take over the weights in a checkpoint that have the same name and shape in `model`.

    A warning names what the checkpoint lacks. Raises CheckpointError if it lacks every binary layer, or is unusable.
    """
    state, weights = _fitting(path, model)
    take_over(weights, model, optimizer, real=state["real_weights"])


def _fitting(
    path: Path, model: nn.Module, *, every_binary_layer: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the state in a checkpoint, and its weights with the same name and shape in `model`."""
    from torch import Tensor

    from trainers import tensors
    from trainers.layers.binary import named_binary_parameters
    from trainers.training.checkpoints import read

    try:
        state: dict[str, Any] = read(path)["state"]
    except CheckpointError as error:
        raise CheckpointError(f"{error}; name a file that a training saved with --checkpoint") from error
    match state:
        case {"model": {}, "results": [*_, {"diverged": True}]}:
            raise CheckpointError(f"{path}: its training diverged; start from another network")
        case {"model": {}, "results": [*_], "over": bool(), "real_weights": bool()}:
            pass
        case _:
            raise CheckpointError(f"{path}: not a checkpoint of a training")
    own = model.state_dict()
    weights = {
        name: weight
        for name, weight in state["model"].items()
        if name in own and isinstance(weight, Tensor) and weight.shape == own[name].shape
    }
    binary = [name for name, _ in named_binary_parameters(model)]
    lacks = [name for name in binary if name not in weights]
    if len(lacks) == len(binary):
        raise CheckpointError(
            f"{path}: belongs to another network: no binary layer has the same name and shape"
        )
    if lacks and every_binary_layer:
        told = f"{len(lacks)} of {len(binary)} binary layers differ in name or shape"
        raise CheckpointError(f"{path}: belongs to another network: {told}: {', '.join(lacks)}")
    if name := tensors.broken(weights):
        raise CheckpointError(f"{path}: {name} holds numbers that are not finite; start from another network")
    if others := [name for name in own if name not in weights]:
        warnings.warn(
            f"{path}: has no values for {', '.join(others)}, which keep their initial ones", stacklevel=3
        )
    return state, weights


def take_over(
    weights: Mapping[str, Tensor], model: nn.Module, optimizer: BinaryOptimizer, *, real: bool
) -> None:
    """Load `weights` by name into `model`; the binary layers' weights are taken over by `optimizer`."""
    binary = {theta for group in optimizer.param_groups for theta in group["params"]}
    named = {name: theta for name, theta in model.named_parameters() if name in weights and theta in binary}
    model.load_state_dict(
        {name: weight for name, weight in weights.items() if name not in named}, strict=False
    )
    optimizer.take_over({theta: weights[name] for name, theta in named.items()}, real=real)
