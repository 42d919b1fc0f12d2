"""The buffers that optimizers keep for a binary parameter: float32 or wider, also after saving and loading."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor


def buffer(parameter: Tensor) -> Tensor:
    """Return zeros with `parameter`'s shape, layout, device and type, but float32 if this type has 16 bits."""
    return torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))


def load_buffers(optimizer: torch.optim.Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Restore the exact buffers, which `Optimizer.load_state_dict` has cast to their parameters' type."""
    saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    own = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    for key, parameter in zip(saved, own, strict=True):
        for name, value in state_dict["state"].get(key, {}).items():
            optimizer.state[parameter][name] = value.to(parameter.device, copy=True)
