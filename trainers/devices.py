"""The device that a training runs on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from trainers.errors import first_line


def find(name: str) -> torch.device:
    """Return the device that torch calls `name`, a GPU with its number. Raises ValueError if it cannot be used."""
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {first_line(error)}") from error


def set_threads(number: int | None) -> None:
    """Set the number of CPU threads that torch uses, which changes sums in their last bits; None leaves it."""
    if number is not None:
        torch.set_num_threads(number)


def wait(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeatable(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which a GPU's convolutions repeat their numbers, as a CPU's always do. They use TF32, which
    is exact for signs of inputs and weights in the forward pass; real numbers, gradients included, have 11 bits."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw what has no generator of its own, dropout for example, from `seed`; restore torch's state afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield
