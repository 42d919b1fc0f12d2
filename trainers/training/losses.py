"""The losses that trainings minimise: (outputs, targets) -> the mean over the batch, a scalar."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss


def squared_hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of max(0, 1 - s y)^2 over the outputs y (batch, classes), s = +1 for the target class, else -1.

    The L2-SVM loss of Nayak 2020's networks.
    """
    signs = torch.full_like(outputs, -1).scatter_(1, targets[:, None], 1)
    return (1 - signs * outputs).clamp_min(0).square().mean()


def distribution(outputs: Tensor, teacher: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence KL(teacher || network) of the class distributions, mean over the batch.

    Both arguments are logits (batch, classes), without a temperature; labels are not used. This is ReActNet's
    distributional loss (Liu et al. 2020).
    """
    return kl_div(log_softmax(outputs, 1), log_softmax(teacher, 1), reduction="batchmean", log_target=True)


def smoothed_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy with a tenth of each target spread over all classes.

    Source: Bi-Real Net's code (Liu et al. 2018).
    """
    return cross_entropy(outputs, targets, label_smoothing=0.1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "smoothed-cross-entropy": smoothed_cross_entropy,
    "squared-hinge": squared_hinge,
    "mean-squared-error": mse_loss,
    "distribution": distribution,
}
