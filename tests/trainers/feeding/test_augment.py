import pytest
import torch

from trainers.feeding import augment
from trainers.feeding.augment import add_noise, crop_and_flip, flip, normalise, shift_colours


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(2000, 3, 4, 4), (2000, 1, 3, 5)])
def test_crop_and_flip_is_that_of_each_image_alone(shape) -> None:
    """Every result is a crop of its own padded image or the mirror image of one, all equally likely."""
    padding = 1
    images = torch.randint(1, 256, shape, dtype=torch.uint8)
    results = crop_and_flip(images, generator(), padding=padding)
    assert results.dtype == torch.uint8
    height, width = shape[2:]
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    found = []
    for y in range(2 * padding + 1):
        for x in range(2 * padding + 1):
            crop = padded[:, :, y : y + height, x : x + width]
            found += [(results == candidate).flatten(1).all(1) for candidate in (crop, crop.flip(3))]
    assert (torch.stack(found).sum(0) == 1).all()
    shares = torch.stack(found).float().mean(1)
    assert (shares - 1 / 18).abs().max() < 0.025  # five standard deviations


def test_nothing_drawn_but_from_the_generator() -> None:
    images = torch.rand(8, 3, 6, 6) * 2 - 1
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for change in (crop_and_flip, flip, add_noise, shift_colours):
        one, other, third = (
            change(images, generator(1)),
            change(images, generator(1)),
            change(images, generator(2)),
        )
        assert torch.equal(one, other)
        assert not torch.equal(one, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(1000, 1, 2, 3)
    results = flip(images, generator())
    kept = (results == images).flatten(1).all(1)
    mirrored = (results == images.flip(3)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 400 < kept.sum() < 600


def test_noise_is_that_of_eq_4() -> None:
    results = add_noise(torch.zeros(100, 1, 20, 20), generator(), factor=0.1)
    assert abs(results.std() - 0.1) < 0.001
    assert abs(results.mean()) < 0.001
    bright = add_noise(torch.ones(10, 1, 20, 20), generator(), factor=0.5)
    assert bright.max() == 1
    assert 0.4 < (bright == 1).float().mean() < 0.6


def test_normalise_by_hand() -> None:
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalise(images, torch.tensor([10.0, 100.0, 127.5]), torch.tensor([10.0, 3.0, 127.5]))
    torch.testing.assert_close(result.flatten(), torch.tensor([-1.0, 0.0, 1.0]))


def test_colours_move_along_the_published_axes() -> None:
    images = torch.zeros(20_000, 3, 1, 1)
    shifts = shift_colours(images, generator(), deviation=0.1)[:, :, 0, 0].double()
    axes = torch.tensor(augment.COLOUR_AXES, dtype=torch.float64)
    deviations = (shifts @ axes).std(0)
    torch.testing.assert_close(
        deviations, 0.1 * torch.tensor(augment.COLOUR_DEVIATIONS).double(), rtol=0.03, atol=0
    )
