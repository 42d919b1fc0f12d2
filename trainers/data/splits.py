"""A data set divided into training, validation and test samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from trainers.errors import UnusableError

if TYPE_CHECKING:
    from torch import Tensor


class Samples(NamedTuple):
    """Inputs (samples, ...), as floats or as images of bytes, and their targets (samples,)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Splits:
    """Three sets of samples, disjoint unless made by `without_validation`. Targets are 0 to `classes` - 1.

    For inputs of bytes, `mean` and `std` (channels,) are those of the training images, in the same units.
    """

    train: Samples
    validation: Samples
    test: Samples
    classes: int
    mean: Tensor | None = None
    std: Tensor | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.inputs.shape[1:])


ROUNDING = 1e-4  # a smaller deviation counts as zero: equal numbers may have it by rounding


def divisor(std: Tensor) -> Tensor:
    """Return what to divide by for a deviation of 1: `std`, or 1 where it is zero, as for silence."""
    import torch  # takes seconds, and asking for a path need not wait

    return torch.where(std > ROUNDING, std, 1.0)


def stratified(targets: Tensor, sizes: tuple[int, ...], seed: int) -> list[Tensor]:
    """Return disjoint sets of indices into `targets`, the i-th with `sizes[i]` of every class, in random order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in sizes]
    for label in range(int(targets.max()) + 1):
        members = (targets == label).nonzero().flatten()
        if len(members) < sum(sizes):
            raise ValueError(f"class {label} has {len(members)} samples, but {sum(sizes)} are needed")
        members = members[torch.randperm(len(members), generator=generator)]
        for part, chosen in zip(parts, torch.split(members[: sum(sizes)], list(sizes)), strict=True):
            part.append(chosen)
    joined = [torch.cat(part) for part in parts]
    return [part[torch.randperm(len(part), generator=generator)] for part in joined]


def held_out(targets: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return indices into `targets` as (the rest, the rounded `share` of every class), in random order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(targets), generator=generator)
    held = torch.zeros(len(targets), dtype=torch.bool)
    for label in range(int(targets.max()) + 1):
        members = order[targets[order] == label]
        held[members[: share_of(len(members), share)]] = True
    return order[~held[order]], order[held[order]]


def share_of(samples: int, share: float) -> int:
    """Return how many of a class's `samples` make up its `share`."""
    return round(share * samples)


def splits_of_images(train: Samples, test: Samples, classes: int, share: float, seed: int) -> Splits:
    """Split images of bytes with an official test split: `share` of every class of `train` is for validation."""
    rest, held = held_out(train.targets, share, seed)
    training = Samples(*(part[rest] for part in train))
    mean, std = channel_statistics(training.inputs)
    validation = Samples(*(part[held] for part in train))
    return Splits(training, validation, test, classes, mean, std)


def without_validation(splits: Splits) -> Splits:
    """Return splits that train on all images but test's and have the test images for validation."""
    import torch

    train = Samples(*(torch.cat(parts) for parts in zip(splits.train, splits.validation, strict=True)))
    mean, std = channel_statistics(train.inputs)
    return replace(splits, train=train, validation=splits.test, mean=mean, std=std)


def scaled_down(splits: Splits, train_fraction: float | None, image_size: int | None, seed: int) -> Splits:
    """Keep a share of every class's training samples, drawn by `seed`, and average all images down to a smaller side.

    None leaves them as they are. The channels' mean and deviation are computed again. Raises ValueError if there are no
    images to scale, or if a class has no sample left.
    """
    import torch

    train = splits.train
    if train_fraction is not None:
        _, kept = held_out(train.targets, train_fraction, seed)
        train = Samples(*(part[kept] for part in train))
        if (train.targets.bincount(minlength=splits.classes) == 0).any():
            raise UnusableError(f"train_fraction {train_fraction} leaves classes without a training sample")
    parts = [train, splits.validation, splits.test]
    if image_size is not None:
        if train.inputs.dtype != torch.uint8:
            raise ValueError("there are no images to scale down")
        parts = [Samples(_averaged(part.inputs, image_size), part.targets) for part in parts]
    mean, std = splits.mean, splits.std
    if mean is not None:
        mean, std = channel_statistics(parts[0].inputs)
    return replace(splits, train=parts[0], validation=parts[1], test=parts[2], mean=mean, std=std)


def _averaged(images: Tensor, size: int) -> Tensor:
    """Average images of bytes (samples, channels, height, width) over areas to (samples, channels, size, size)."""
    import torch

    resize = torch.nn.functional.adaptive_avg_pool2d
    return torch.cat(
        [resize(part.float(), size).round_().to(torch.uint8) for part in torch.split(images, 1000)]
    )


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (channels,) of images of bytes (samples, channels, ...), by histogram."""
    import torch

    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([c.flatten().bincount(minlength=256) for c in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(1)
    return mean.float(), variance.sqrt().float()
