"""A data set divided into training, validation and test samples."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Samples(NamedTuple):
    """Inputs (samples, ...) and their targets (samples,)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of samples. `classes` counts the values that targets take, 0 to `classes` - 1."""

    train: Samples
    validation: Samples
    test: Samples
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.inputs.shape[1:])


def stratified(targets: Tensor, sizes: tuple[int, ...], seed: int) -> list[Tensor]:
    """Disjoint sets of indices into `targets`, the i-th with `sizes[i]` of every class, in random order."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in sizes]
    for label in range(int(targets.max()) + 1):
        members = (targets == label).nonzero().flatten()
        if len(members) < sum(sizes):
            raise ValueError(f"class {label} has {len(members)} samples, {sum(sizes)} were asked for")
        members = members[torch.randperm(len(members), generator=generator)]
        for part, chosen in zip(parts, torch.split(members[: sum(sizes)], list(sizes)), strict=True):
            part.append(chosen)
    joined = [torch.cat(part) for part in parts]
    return [part[torch.randperm(len(part), generator=generator)] for part in joined]
