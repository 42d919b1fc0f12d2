"""Starting from another network's weights."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from trainers.binary import binary_parameters
from trainers.checkpoints import read
from trainers.errors import CheckpointError
from trainers.optimizers import BinaryOptimizer


def start_from(path: Path, model: nn.Module, optimizer: BinaryOptimizer) -> None:
    """Take over from a checkpoint what has the same name and shape in `model`.

    A warning names what the checkpoint has not. Raises CheckpointError where that is every binary layer.
    """
    state = read(path)["state"]
    weights: Mapping[str, Tensor] = state["model"]
    own = model.state_dict()
    shared = {name for name in own if name in weights and weights[name].shape == own[name].shape}
    binary = set(binary_parameters(model))
    if not any(theta in binary for name, theta in model.named_parameters() if name in shared):
        raise CheckpointError(f"{path}: of another network: no binary layer has the same name and shape")
    if others := own.keys() - shared:
        missing = ", ".join(name for name in own if name in others)
        warnings.warn(f"{path}: has nothing for {missing}, which start as they are", stacklevel=2)
    take_over({name: weights[name] for name in shared}, model, optimizer, real=state["real_weights"])


def take_over(
    weights: Mapping[str, Tensor], model: nn.Module, optimizer: BinaryOptimizer, *, real: bool
) -> None:
    """Give `model` the weights of these names, those of binary layers as `optimizer` takes them over."""
    binary = {theta for group in optimizer.param_groups for theta in group["params"]}
    named = {name: theta for name, theta in model.named_parameters() if name in weights and theta in binary}
    model.load_state_dict(
        {name: weight for name, weight in weights.items() if name not in named}, strict=False
    )
    optimizer.take_over({theta: weights[name] for name, theta in named.items()}, real=real)
