"""The share of binary weights that change sign in a step: the FF ratio (000 eq 18)."""

from collections.abc import Sequence

import torch
from torch import Tensor


class FlipCounter:
    """Counts sign changes of `parameters` from step to step, whatever moves them, on their own device.

    Nothing is copied to the host before `ratio`. A zero counts with its sign bit.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = [p.detach() for p in parameters]
        self.weights = sum(p.numel() for p in parameters)
        self.signs = [p.signbit() for p in self.parameters]
        self.reset()

    def reset(self) -> None:
        self.steps = 0
        self.flips = torch.zeros((), dtype=torch.int64, device=self.parameters[0].device)

    def update(self) -> None:
        """Count what changed since the last call."""
        for i, parameter in enumerate(self.parameters):
            signs = parameter.signbit()
            self.flips += torch.count_nonzero(signs != self.signs[i])
            self.signs[i] = signs
        self.steps += 1

    def ratio(self) -> float:
        """Mean share of weights that flipped in a step since `reset`, in [0, 1]; waits for the device."""
        return int(self.flips) / (self.weights * self.steps)
