"""How a learning rate or an alpha falls over a training: factors in (0, 1] by step."""

import math
from collections.abc import Callable

# the first step takes the whole value; 0 is what the step after the last would take
DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def factor(decay: str, step: int, total_steps: int) -> float:
    """What the start value is multiplied by at `step`, counted from 0 to `total_steps` - 1."""
    return DECAYS[decay](step / total_steps)
