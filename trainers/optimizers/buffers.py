"""What optimizers keep beside a binary parameter: float32 or wider, in memory, through saving and loading."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor


def buffer(parameter: Tensor) -> Tensor:
    """Zeros shaped, laid out and placed like `parameter`, of its type or, where that has 16 bits, float32."""
    return torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))


def load_buffers(optimizer: torch.optim.Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Put back exactly the buffers that `Optimizer.load_state_dict` has cast to their parameters' type."""
    saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    own = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    for key, parameter in zip(saved, own, strict=True):
        for name, value in state_dict["state"].get(key, {}).items():
            optimizer.state[parameter][name] = value.to(parameter.device, copy=True)
