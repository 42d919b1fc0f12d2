"""What a training minimises: (outputs, targets) -> the mean over the batch, a scalar."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss


def squared_hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of max(0, 1 - s y)^2 over the outputs y (batch, classes), s = +1 for the class in `targets`, else -1.

    The L2-SVM loss of 001's networks.
    """
    signs = torch.full_like(outputs, -1).scatter_(1, targets[:, None], 1)
    return (1 - signs * outputs).clamp_min(0).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "squared-hinge": squared_hinge,
    "mean-squared-error": mse_loss,
}
