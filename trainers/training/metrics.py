"""Metrics of a network on a split: a number per sample, and the metric from all of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

PSNR_BATCH = 64  # images per ratio, before ratios are averaged


class Metric(NamedTuple):
    """A metric: `of_samples` maps outputs and targets to a number per sample, `of_all` a split's numbers to one."""

    of_samples: Callable[[Tensor, Tensor], Tensor]
    of_all: Callable[[Tensor], Tensor]


def is_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether each sample's largest logit (batch, classes) is its class's; the mean is the accuracy."""
    return outputs.argmax(1) == targets


def is_among_five(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether each sample's class is among its five largest logits (batch, classes); the mean is top-5."""
    best = outputs.topk(min(5, outputs.shape[1])).indices
    return (best == targets[:, None]).any(1)


def is_broken(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether each sample's outputs (batch, ...) are not all finite."""
    return ~outputs.flatten(1).isfinite().all(1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return each sample's mean squared error: (batch, ...) -> (batch,)."""
    return (outputs - targets).square().flatten(1).mean(1)


def share(values: Tensor) -> Tensor:
    """Return the mean of numbers (samples,), in float64."""
    return values.sum(dtype=torch.float64) / len(values)


def psnr(squared_errors: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB from mean squared errors (samples,); infinite if a batch's are 0.

    Source: Nayak 2020, eq 3, as in its code: the peak is 1 for images from -1 to 1, so that the worst is -6.02 dB. The
    ratios of batches of 64 images are averaged; a last batch that is not full is left out unless it is the only one.
    """
    whole = len(squared_errors) // PSNR_BATCH * PSNR_BATCH or len(squared_errors)
    batches = squared_errors[:whole].double().view(-1, min(PSNR_BATCH, whole)).mean(1)
    return (-10 * batches.log10()).mean()


METRICS: dict[str, Metric] = {
    "accuracy": Metric(is_correct, share),
    "PSNR": Metric(squared_error, psnr),
}
