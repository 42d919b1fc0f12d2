"""The base class of the gradient filters and the IIR filter, whose weights are the sign of a filtered gradient."""

from typing import Any

import torch
from torch import Tensor

from trainers.optimizers.binary_optimizer import BinaryOptimizer


class Filtering(BinaryOptimizer):
    """Base class of the optimizers whose weights are minus the sign of a filter's output.

    The buffers are all that such a weight remembers. From buffers of 0 the first gradient would decide the weight. So
    when weights are taken over, the buffers start as if every gradient before had been minus the weight, times a factor
    per parameter. The factor gives the output the mean size that it has for gradients that are noise, as large as the
    first one. Weights then stay as long as in the middle of a training, large ones longer than small ones.
    """

    def steady(self, group: dict[str, Any]) -> tuple[float, ...]:
        """Return what the buffers hold once the filter's output has long been 1."""
        raise NotImplementedError

    def noise_gain(self, group: dict[str, Any]) -> float:
        """Return the output's standard deviation for independent gradients of standard deviation 1."""
        raise NotImplementedError

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        super().start(group, theta, weight, real)
        self.state[theta]["past"] = weight / weight.abs().mean() if real else theta.detach().clone()

    def rows(self, group: dict[str, Any]) -> list[tuple[Tensor, ...]]:
        rows = super().rows(group)
        for theta, gradient, *buffers in rows:
            past = self.state[theta].pop("past", None)
            if past is None:
                continue
            size = gradient.to(buffers[0]).abs().mean() * -self.noise_gain(group)
            output = past.to(buffers[0]) * size
            for kept, value in zip(buffers, self.steady(group), strict=True):
                torch.mul(output, value, out=kept)
        return rows
