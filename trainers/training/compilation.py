"""A batch's loss, as it is written, and the same compiled by torch."""

from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import UnusableError, first_line

Loss = Callable[[Tensor, Tensor], Tensor]
RENEWED_AFTER = (
    20  # trainings on a GPU, as each leaves CUDA graphs behind: its weights lie elsewhere in memory
)
_trainings = count()


def batch_loss(
    model: nn.Module, teacher: nn.Module | None, loss: Loss, inputs: Tensor, targets: Tensor
) -> Tensor:
    """`loss` () of what `model` makes of a batch; the teacher's outputs, if there is one, are the targets."""
    if teacher is not None:
        with torch.no_grad():
            targets = teacher(inputs)
    return loss(model(inputs), targets)


def compiled(kind: str, device: str) -> Callable[..., Tensor]:
    """`batch_loss` and its gradients compiled, for a training of a `kind` on one type of device.

    Kernels are fused, and on a GPU recorded as CUDA graphs, so that a step costs the host two launches. What a
    step returns is overwritten by the next one's. Sums come in another order: as signs turn round by it, the losses
    of a training may differ in their second digit from those that are not compiled.

    The first step takes about a minute; trainings of a kind in one process, on a GPU so many of them, share what it
    made. Raises UnusableError where there is no C++ compiler, on a GPU no C compiler or Triton.
    """
    return _compiled(kind, device, next(_trainings) // RENEWED_AFTER if device == "cuda" else 0)


@lru_cache(maxsize=1)
def _compiled(kind: str, device: str, renewal: int) -> Callable[..., Tensor]:
    torch.compiler.reset()  # what was compiled before, with its graphs
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a compiler that is not there, or not whole, makes of it
        raise UnusableError(f"torch cannot compile on this machine: {first_line(error)}") from error
    _gather_gradients()
    return torch.compile(batch_loss, fullgraph=True, dynamic=False, options=_options(device))


def _options(device: str) -> dict[str, Any]:
    """On a GPU graphs, and no reduction chosen by a race, as another's sums would be others."""
    if device != "cuda":
        return {}
    if "deterministic" not in torch._inductor.list_options():
        raise UnusableError(
            f"torch {torch.__version__} does not compile for a GPU so that numbers repeat: 2.10 does"
        )
    return {"triton.cudagraphs": True, "deterministic": True}


def _gather_gradients() -> None:
    """Leave the gradient of overlapping max-pooling to a kernel that gathers it.

    torch 2.10 and newer take it apart into a sum by atomic additions, which come in any order.
    """
    from torch._inductor import decomposition

    decomposition.decompositions.pop(torch.ops.aten.max_pool2d_with_indices_backward.default, None)
    decomposition.fast_random_decomps.cache_clear()
