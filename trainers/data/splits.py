"""A data set divided into training, validation and test samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from trainers.errors import UnusableError

if TYPE_CHECKING:
    from torch import Tensor


class Samples(NamedTuple):
    """Inputs (samples, ...), floats ready to use or images as bytes, and their targets (samples,)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of samples. `classes` counts the values that targets take, 0 to `classes` - 1.

    Where inputs are bytes, `mean` and `std` (channels,) are those of the training images, in the same units.
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


ROUNDING = 1e-4  # a deviation below it is none: what is left of equal numbers once their mean is taken out


def divisor(std: Tensor) -> Tensor:
    """What to divide by for a deviation of 1: `std`, but 1 where there is none, as of silence."""
    import torch  # takes seconds: not for whoever asks where the data are

    return torch.where(std > ROUNDING, std, 1.0)


def stratified(targets: Tensor, sizes: tuple[int, ...], seed: int) -> list[Tensor]:
    """Disjoint sets of indices into `targets`, the i-th with `sizes[i]` of every class, in random order."""
    import torch

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


def held_out(targets: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices into `targets` of (the rest, the held out): the rounded `share` of every class, in random order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(targets), generator=generator)
    held = torch.zeros(len(targets), dtype=torch.bool)
    for label in range(int(targets.max()) + 1):
        members = order[targets[order] == label]
        held[members[: share_of(len(members), share)]] = True
    return order[~held[order]], order[held[order]]


def share_of(samples: int, share: float) -> int:
    """How many samples `share` of a class's are."""
    return round(share * samples)


def splits_of_images(train: Samples, test: Samples, classes: int, share: float, seed: int) -> Splits:
    """Images of bytes with their official test split; `share` of every class of the others is for validation."""
    rest, held = held_out(train.targets, share, seed)
    training = Samples(*(part[rest] for part in train))
    mean, std = channel_statistics(training.inputs)
    validation = Samples(*(part[held] for part in train))
    return Splits(training, validation, test, classes, mean, std)


def without_validation(splits: Splits) -> Splits:
    """All images that are not test's to train on, and test's where validation's were."""
    import torch

    train = Samples(*(torch.cat(parts) for parts in zip(splits.train, splits.validation, strict=True)))
    mean, std = channel_statistics(train.inputs)
    return replace(splits, train=train, validation=splits.test, mean=mean, std=std)


def scaled_down(splits: Splits, train_fraction: float | None, image_size: int | None, seed: int) -> Splits:
    """A share of every class of the training samples, drawn by `seed`; all images averaged down to a smaller side.

    What is None stays. Mean and deviation of the channels are those of what is left. Raises ValueError where a split
    has no images, or a class no sample left.
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
            raise ValueError("there are no images to be scaled down")
        parts = [Samples(_averaged(part.inputs, image_size), part.targets) for part in parts]
    mean, std = splits.mean, splits.std
    if mean is not None:
        mean, std = channel_statistics(parts[0].inputs)
    return replace(splits, train=parts[0], validation=parts[1], test=parts[2], mean=mean, std=std)


def _averaged(images: Tensor, size: int) -> Tensor:
    """Images of bytes (samples, channels, height, width) -> (samples, channels, size, size), means of areas."""
    import torch

    resize = torch.nn.functional.adaptive_avg_pool2d
    return torch.cat(
        [resize(part.float(), size).round_().to(torch.uint8) for part in torch.split(images, 1000)]
    )


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (channels,) of images of bytes (samples, channels, ...), from their histogram."""
    import torch

    values = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([c.flatten().bincount(minlength=256) for c in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(1)
    return mean.float(), variance.sqrt().float()
