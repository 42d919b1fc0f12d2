"""Random changes of training images, a batch at a time, on the images' own device.

Every draw comes from `generator`, which must be on that device; nothing is copied to the host.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

# of ImageNet's colours: standard deviations along the principal axes, and the axes (Krizhevsky et al. 2012)
COLOUR_DEVIATIONS = (55.46, 4.794, 1.148)
COLOUR_AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return bytes (batch, channels, height, width) as floats (images - mean) / std, both (channels,)."""
    scale = 1 / std
    return torch.addcmul((-mean * scale)[:, None, None], images.to(mean.dtype), scale[:, None, None])


def crop_and_flip(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Move each image by up to `padding` pixels, filling up with 0, and mirror each with a chance of 1/2.

    Source: Quist 2023, section 4.1.

    (batch, channels, height, width) -> the same shape and type, by one gather from the padded images.
    """
    batch, channels, height, width = images.shape
    device = images.device
    moves = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator, device=device)
    mirrored = torch.randint(0, 2, (batch, 1), generator=generator, device=device, dtype=torch.bool)
    rows = torch.arange(height, device=device) + moves[0]
    columns = torch.arange(width, device=device)
    columns = torch.where(mirrored, width - 1 - columns, columns) + moves[1]
    positions = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]
    padded = pad(images, (padding,) * 4).flatten(2)
    return padded.gather(2, positions.view(batch, 1, -1).expand(-1, channels, -1)).view(images.shape)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each of the images (batch, channels, height, width) with a chance of 1/2."""
    draws = torch.randint(
        0, 2, (len(images), 1, 1, 1), generator=generator, device=images.device, dtype=torch.bool
    )
    return torch.where(draws, images.flip(-1), images)


def add_noise(images: Tensor, generator: torch.Generator, *, factor: float = 0.1) -> Tensor:
    """Return images in [-1, 1] + factor * N(0, 1), clipped to [-1, 1] (Nayak 2020, eq 4, with its text's bounds)."""
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return noise.mul_(factor).add_(images).clamp_(-1, 1)


def shift_colours(images: Tensor, generator: torch.Generator, *, deviation: float = 0.1) -> Tensor:
    """Move each colour image (batch, 3, height, width), floats from 0 to 255, along ImageNet's principal colours."""
    draws = torch.empty_like(images[:, :, 0, 0]).normal_(std=deviation, generator=generator)
    shifts = draws @ _colour_axes(images.device, images.dtype)
    return images + shifts[:, :, None, None]


@lru_cache
def _colour_axes(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return one axis a row, as long as its deviation; cached, because copying it to a device would wait for that."""
    axes = torch.tensor(COLOUR_AXES, dtype=torch.float64) * torch.tensor(COLOUR_DEVIATIONS)
    return axes.T.to(device, dtype)
