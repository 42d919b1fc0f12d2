"""A batch's loss, plain or compiled by torch."""

from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import UnusableError, first_line

Loss = Callable[[Tensor, Tensor], Tensor]
TRAININGS_PER_COMPILE = (
    20  # trainings on a GPU: each leaves its own CUDA graphs behind, as its weights lie elsewhere in memory
)
_trainings = count()


def batch_loss(
    model: nn.Module, teacher: nn.Module | None, loss: Loss, inputs: Tensor, targets: Tensor
) -> Tensor:
    """Return the `loss` of the model's outputs for a batch, shape (); a teacher's outputs replace the targets."""
    if teacher is not None:
        with torch.no_grad():
            targets = teacher(inputs)
    return loss(model(inputs), targets)


def compiled(kind: str, device: str) -> Callable[..., Tensor]:
    """Return `batch_loss`, compiled with its gradients, for a training of a `kind` on one type of device.

    Kernels are fused, and on a GPU recorded as CUDA graphs, so that a step costs the host two launches. Each step
    overwrites what the last one returned. Sums have another order than without compilation, which flips signs: a
    training's losses may differ in their second digit.

    The first step takes about a minute. Trainings of a kind in one process share what it compiled, on a GPU
    TRAININGS_PER_COMPILE of them. Raises UnusableError without a C++ compiler or, on a GPU, without a C compiler or
    Triton.
    """
    return _compiled(kind, device, next(_trainings) // TRAININGS_PER_COMPILE if device == "cuda" else 0)


@lru_cache(maxsize=1)
def _compiled(kind: str, device: str, renewal: int) -> Callable[..., Tensor]:
    torch.compiler.reset()  # forget what was compiled before, with its graphs
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))
    except Exception as error:  # a missing or incomplete compiler raises anything
        raise UnusableError(f"torch cannot compile on this machine: {first_line(error)}") from error
    _gather_gradients()
    return torch.compile(batch_loss, fullgraph=True, dynamic=False, options=_options(device))


def _options(device: str) -> dict[str, Any]:
    """Return the compiler's options: on a GPU, graphs, and reductions not chosen by timing, which would change sums."""
    if device != "cuda":
        return {}
    if "deterministic" not in torch._inductor.list_options():
        raise UnusableError(
            f"torch {torch.__version__} cannot compile for a GPU so that numbers repeat; torch 2.10 can"
        )
    return {"triton.cudagraphs": True, "deterministic": True}


def _gather_gradients() -> None:
    """Leave the gradient of overlapping max-pooling to a kernel that gathers it.

    torch 2.10 and newer decompose it into atomic additions, whose order varies.
    """
    from torch._inductor import decomposition

    decomposition.decompositions.pop(torch.ops.aten.max_pool2d_with_indices_backward.default, None)
    decomposition.fast_random_decomps.cache_clear()
