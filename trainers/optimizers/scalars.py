"""Python's numbers where PyTorch computes with them in its tensors' type, which is narrower."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def within(x: float, tensors: Sequence[Tensor]) -> float:
    """`x`, or NaN where the type of `tensors` ends before it: the step overflows, and the training diverges."""
    return x if abs(x) <= torch.finfo(tensors[0].dtype).max else math.nan
