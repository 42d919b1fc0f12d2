"""A batch's loss, as it is written, and the same compiled by torch."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def batch_loss(
    model: nn.Module, teacher: nn.Module | None, loss: Loss, inputs: Tensor, targets: Tensor
) -> Tensor:
    """`loss` () of what `model` makes of a batch; the teacher's outputs, if there is one, are the targets."""
    if teacher is not None:
        with torch.no_grad():
            targets = teacher(inputs)
    return loss(model(inputs), targets)


@lru_cache(maxsize=1)
def compiled(kind: str, device: str) -> Callable[..., Tensor]:
    """`batch_loss` and its gradients compiled, for one `kind` of training on one type of device.

    Kernels are fused, and on a GPU recorded as CUDA graphs, so that a step costs the host two launches. What a
    step returns is overwritten by the next one's. Sums come in another order: as signs turn round by it, the losses
    of a training may differ in their second digit from those that are not compiled.

    The first step takes about a minute; all trainings of a kind in one process share what it made. A C++ compiler
    is needed, on a GPU Triton; what they fail with is raised as it is.
    """
    torch.compiler.reset()  # what was compiled for another kind
    mode = "reduce-overhead" if device == "cuda" else None
    return torch.compile(batch_loss, fullgraph=True, dynamic=False, mode=mode)
