"""What decodes the images that a network trains on, where they are read from disk: Pillow, or NVIDIA's DALI."""

from typing import Literal, get_args

from trainers.errors import UnusableError
from trainers.tasks import Task

Decoder = Literal["pillow", "dali"]


def check_decodes(decoder: str, task: Task) -> None:
    """Raise ValueError where `decoder` is unknown, or where it is not the usual one and `task` has nothing for it."""
    if decoder not in get_args(Decoder):
        raise ValueError(f"unknown decoder {decoder!r}; known are {', '.join(get_args(Decoder))}")
    if decoder == "pillow":
        return
    from trainers.data import DATASETS  # not for whoever only reads a study

    if DATASETS[task.dataset].files is None:
        raise ValueError(f"{task.name} has no images on disk for {decoder} to decode")


def version(decoder: Decoder) -> str | None:
    """Which DALI it is, as pixels may differ between two; None of Pillow. Raises UnusableError where there is none."""
    if decoder == "pillow":
        return None
    try:
        import nvidia.dali as installed
    except ImportError as error:
        raise UnusableError("NVIDIA DALI is not installed here: pip install 'tunebench[dali]'") from error
    return f"dali {installed.__version__}"
