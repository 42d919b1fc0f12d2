"""A network's inputs, made from a data set's samples on their device, one batch at a time."""

import torch
from torch import Tensor

from trainers.data import Samples
from trainers.data.splits import divisor
from trainers.feeding.augment import add_noise, crop_and_flip, flip, normalise, shift_colours
from trainers.tasks import Recipe

Pixels = tuple[Tensor, Tensor]


def real_type(recipe: Recipe) -> torch.dtype:
    """Return the type of a network's numbers and its inputs."""
    return torch.float64 if recipe.precision == "float64" else torch.float32


def pixels(recipe: Recipe, mean: Tensor | None, std: Tensor | None, device: torch.device) -> Pixels | None:
    """Return what `recipe` subtracts from bytes and what it divides them by, both (channels,), or None without bytes.
    `mean` and `std` are the data set's; a channel that is the same everywhere is divided by 1."""
    if mean is None or std is None:
        return None
    if recipe.pixels == "symmetric":
        half = torch.full_like(mean, 127.5, device=device)
        return half, half
    return mean.to(device), divisor(std).to(device)


def as_bytes(images: Tensor, pixels: Pixels | None) -> Tensor:
    """Return a network's images (..., channels, height, width) as bytes again, rounded to the nearest."""
    if pixels is not None:
        taken, divided = (values[:, None, None] for values in pixels)
        images = images * divided + taken
    return images.round().clamp(0, 255).to(torch.uint8)


def prepare(
    samples: Samples, recipe: Recipe, pixels: Pixels | None, generator: torch.Generator, *, training: bool
) -> Samples:
    """Return a batch's inputs and targets for the network; draws come from `generator`, on the samples' device.

    Images become floats, channels last in memory. Crops move them by up to an eighth of their side, 4 of 32. Everything
    is made in float32, so that every precision of the recipe gets the same numbers and draws.
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
