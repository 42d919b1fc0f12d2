"""How a network is scored on a split: a number for each sample, and what their mean says."""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

RANGE = 2.0  # of images from -1 to 1: the largest error that there is


class Metric(NamedTuple):
    """`of_samples` maps outputs and targets to a number a sample, `of_mean` the mean of all to the metric."""

    of_samples: Callable[[Tensor, Tensor], Tensor]
    of_mean: Callable[[float], float]


def is_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the largest of a sample's logits (batch, classes) is its class's: their mean is the accuracy."""
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


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio of images from -1 to 1, in dB: from 0 on, infinite without an error.

    Source: Nayak 2020, eq 3.
    """
    return 10 * math.log10(RANGE**2 / mean_squared_error) if mean_squared_error else math.inf


METRICS: dict[str, Metric] = {
    "accuracy": Metric(is_correct, float),
    "PSNR": Metric(squared_error, psnr),
}
