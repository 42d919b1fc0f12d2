"""How hyperparameters move over a training: by how far it is, factors in (0, 1] where they fall."""

import math
from collections.abc import Callable
from typing import NamedTuple

EXPONENTIAL_END = 1e-4  # of the start value, where nothing else is said

# by progress and the exponential's end; the first step takes the whole value, the step after the last would take
# the end, which is 0 but for the exponential and the step
DECAYS: dict[str, Callable[[float, float], float]] = {
    "none": lambda progress, end: 1.0,
    "linear": lambda progress, end: 1.0 - progress,
    "cosine": lambda progress, end: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "exponential": lambda progress, end: end**progress,
    "step": lambda progress, end: 0.1 ** ((progress >= 0.5) + (progress >= 0.75)),
}


def factor(decay: str, step: int, total_steps: int, end: float = EXPONENTIAL_END) -> float:
    """What the start value is multiplied by at `step`, counted from 0 to `total_steps` - 1."""
    return DECAYS[decay](step / total_steps, end)


class Progress(NamedTuple):
    """How far a training is: about to take `step`, counted from 0 to `total_steps` - 1.

    `end` is what its exponential decays fall to, as a share of the start.
    """

    step: int
    total_steps: int
    steps_an_epoch: int
    end: float = EXPONENTIAL_END

    def restarted(self, last: int) -> "Progress":
        """How far it is where what falls over the steps before the `last` ones starts anew with these."""
        before = self.total_steps - last
        if self.step < before:
            return self._replace(total_steps=before)
        return self._replace(step=self.step - before, total_steps=last)
