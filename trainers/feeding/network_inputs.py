"""What a network is given of a data set's samples, made a batch at a time on their device."""

import torch
from torch import Tensor

from trainers.data import Samples
from trainers.data.splits import divisor
from trainers.feeding.augment import add_noise, crop_and_flip, flip, normalise, shift_colours
from trainers.tasks import Recipe

Pixels = tuple[Tensor, Tensor]


def real_type(recipe: Recipe) -> torch.dtype:
    """The type of a network's numbers, and so of its inputs."""
    return torch.float64 if recipe.precision == "float64" else torch.float32


def pixels(recipe: Recipe, mean: Tensor | None, std: Tensor | None, device: torch.device) -> Pixels | None:
    """What `recipe` takes from bytes and what it divides them by, both (channels,), with the data set's `mean` and
    `std`, also of a channel that is the same everywhere; None where there are no bytes."""
    if mean is None or std is None:
        return None
    if recipe.pixels == "symmetric":
        half = torch.full_like(mean, 127.5, device=device)
        return half, half
    return mean.to(device), divisor(std).to(device)


def as_bytes(images: Tensor, pixels: Pixels | None) -> Tensor:
    """Images (..., channels, height, width) of a network as bytes again, the nearest ones there are."""
    if pixels is not None:
        taken, divided = (values[:, None, None] for values in pixels)
        images = images * divided + taken
    return images.round().clamp(0, 255).to(torch.uint8)


def prepare(
    samples: Samples, recipe: Recipe, pixels: Pixels | None, generator: torch.Generator, *, training: bool
) -> Samples:
    """A batch as the network takes it and is to answer it; draws come from `generator`, on the samples' device.

    Images come out as floats, channels last in memory. They are moved by up to an eighth of their side, 4 of 32. All
    is made in float32, whatever the recipe's precision: it gets the same numbers, and the same draws.
    """
    inputs, targets = samples
    kind = real_type(recipe)
    if training and recipe.augmentation == "crop-and-flip":
        inputs = crop_and_flip(inputs, generator, padding=inputs.shape[-1] // 8)
    if training and recipe.augmentation == "flip-and-colours":
        inputs = shift_colours(flip(inputs, generator).float(), generator)
    if pixels is not None:
        inputs = normalise(inputs, *pixels).contiguous(memory_format=torch.channels_last)
    if recipe.noise:
        return Samples(add_noise(inputs, generator, factor=recipe.noise).to(kind), inputs.to(kind))
    return Samples(inputs.to(kind), targets)
