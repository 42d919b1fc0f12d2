"""Schedules of hyperparameters over a training's progress; decays are factors in (0, 1]."""

import math
from collections.abc import Callable
from typing import NamedTuple

EXPONENTIAL_END = 1e-4  # default, as a share of the start value

# functions of progress and the exponential's end; the first step has the factor 1, a step after the last would have the
# end's, 0 for linear and cosine
DECAYS: dict[str, Callable[[float, float], float]] = {
    "none": lambda progress, end: 1.0,
    "linear": lambda progress, end: 1.0 - progress,
    "cosine": lambda progress, end: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "exponential": lambda progress, end: end**progress,
    "step": lambda progress, end: 0.1 ** ((progress >= 0.5) + (progress >= 0.75)),
}


def factor(decay: str, step: int, total_steps: int, end: float = EXPONENTIAL_END) -> float:
    """Return the factor of the start value at `step`, counted from 0 to `total_steps` - 1."""
    return DECAYS[decay](step / total_steps, end)


class Progress(NamedTuple):
    """The progress of a training that is about to take `step`, counted from 0 to `total_steps` - 1.

    `end` is what exponential decays fall to, as a share of the start value.
    """

    step: int
    total_steps: int
    steps_an_epoch: int
    end: float = EXPONENTIAL_END

    def restarted(self, last: int) -> "Progress":
        """Return the progress of a decay that ends before the `last` steps and restarts with them."""
        before = self.total_steps - last
        if self.step < before:
            return self._replace(total_steps=before)
        return self._replace(step=self.step - before, total_steps=last)
