"""The share of binary weights that change sign in a step: the FF ratio (Quist 2023, eq 18)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class FlipCounter:
    """A counter of the sign changes of `parameters` from step to step, whatever moves them, on their own device.

    Nothing is copied to the host before `ratio`. A zero counts with its sign bit.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = [p.detach() for p in parameters]
        self.weights = sum(p.numel() for p in parameters)
        self.look()
        self.reset()

    def look(self) -> None:
        """Count changes from the present signs on."""
        self.signs = [p.signbit() for p in self.parameters]

    def reset(self) -> None:
        self.steps = 0
        device = self.parameters[0].device if self.parameters else None
        self.flips = torch.zeros((), dtype=torch.int64, device=device)

    def update(self) -> None:
        """Count what changed since the last call."""
        for i, parameter in enumerate(self.parameters):
            signs = parameter.signbit()
            self.flips += torch.count_nonzero(signs != self.signs[i])
            self.signs[i] = signs
        self.steps += 1

    def ratio(self) -> float:
        """Return the mean share of weights that flipped in a step since `reset`, in [0, 1]; 0 without parameters.

        Waits for the device.
        """
        return int(self.flips) / max(self.weights * self.steps, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, without the parameters."""
        return {"steps": self.steps, "flips": self.flips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from `state`; the parameters must have been restored before."""
        self.look()
        self.steps = state["steps"]
        self.flips.copy_(state["flips"])
