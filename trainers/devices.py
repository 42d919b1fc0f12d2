"""The device that a training runs on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from trainers.errors import first_line


def find(name: str) -> torch.device:
    """The device of that name, as torch names it; a GPU with its number. Raises ValueError where it cannot be used."""
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {first_line(error)}") from error


def take_threads(number: int | None) -> None:
    """Have torch use so many on the CPU, None for as many as it does: sums differ with it in their last bits."""
    if number is not None:
        torch.set_num_threads(number)


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeatable(device: torch.device) -> AbstractContextManager[None]:
    """Within it a GPU's convolutions give the same numbers each time, as a CPU's do anyway. They are in TF32, which
    is exact for signs of inputs and weights, forward; real numbers, gradients among them, count with 11 bits."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What is drawn within it without a generator, such as dropout, comes from `seed`; torch's state is left."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        yield
