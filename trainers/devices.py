"""The device that a training runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def find(name: str) -> torch.device:
    """The device of that name, as torch names it. Raises ValueError where it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def wait(place: torch.device) -> None:
    """Until the device has done all that it was given."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


@contextmanager
def seeded(seed: int, place: torch.device) -> Iterator[None]:
    """What is drawn within it without a generator, such as dropout, comes from `seed`; torch's state is left."""
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
