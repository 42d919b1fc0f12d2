"""How a network is scored on a split: a number for each sample, and what all of them say."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

PSNR_BATCH = 64  # images that a ratio is of, before ratios are averaged


class Metric(NamedTuple):
    """`of_samples` maps outputs and targets to a number a sample, `of_all` those of a split to the metric."""

    of_samples: Callable[[Tensor, Tensor], Tensor]
    of_all: Callable[[Tensor], Tensor]


def is_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest of a sample's logits (batch, classes) is its class's: their share is the accuracy."""
    return outputs.argmax(1) == targets


def is_among_five(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether a sample's class is among the five largest of its logits (batch, classes): top-5, of the mean."""
    best = outputs.topk(min(5, outputs.shape[1])).indices
    return (best == targets[:, None]).any(1)


def is_broken(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether a sample's outputs (batch, ...) are not all finite."""
    return ~outputs.flatten(1).isfinite().all(1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """A sample's mean squared error: (batch, ...) -> (batch,)."""
    return (outputs - targets).square().flatten(1).mean(1)


def share(values: Tensor) -> Tensor:
    """The mean of numbers (samples,), in float64."""
    return values.sum(dtype=torch.float64) / len(values)


def psnr(squared_errors: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, from samples' mean squared errors (samples,); infinite without an error.

    Source: Nayak 2020, eq 3, as its code has it: the peak is 1, for images from -1 to 1, whence -6.02 at worst; the
    mean of the ratios of batches of 64 images, of which one that is not full is left out.
    """
    whole = len(squared_errors) // PSNR_BATCH * PSNR_BATCH or len(squared_errors)
    batches = squared_errors[:whole].double().view(-1, min(PSNR_BATCH, whole)).mean(1)
    return (-10 * batches.log10()).mean()


METRICS: dict[str, Metric] = {
    "accuracy": Metric(is_correct, share),
    "PSNR": Metric(squared_error, psnr),
}
