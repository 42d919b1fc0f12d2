"""Python numbers that PyTorch computes with in its tensors' narrower type."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def within(x: float, tensors: Sequence[Tensor]) -> float:
    """Return `x`, or NaN if the type of `tensors` cannot hold it: the step overflows, and the training diverges."""
    return x if abs(x) <= torch.finfo(tensors[0].dtype).max else math.nan
