"""The decoders of images that are read from disk for training: Pillow, or NVIDIA's DALI."""

from typing import Literal, get_args

from trainers.errors import UnusableError
from trainers.tasks import Task

Decoder = Literal["pillow", "dali"]


def check_decodes(decoder: str, task: Task) -> None:
    """Raise ValueError if `decoder` is unknown, or if it is not Pillow and `task` has no images on disk."""
    if decoder not in get_args(Decoder):
        raise ValueError(f"unknown decoder {decoder!r}; known are {', '.join(get_args(Decoder))}")
    if decoder == "pillow":
        return
    from trainers.data import DATASETS  # imported late: reading a study does not need it

    if DATASETS[task.dataset].files is None:
        raise ValueError(f"{task.name} has no images on disk for {decoder} to decode")


def version(decoder: Decoder) -> str | None:
    """Return DALI's version, on which pixels may depend; None for Pillow. Raises UnusableError if DALI is missing."""
    if decoder == "pillow":
        return None
    try:
        import nvidia.dali as installed
    except ImportError as error:
        raise UnusableError("NVIDIA DALI is not installed here: pip install 'tunebench[dali]'") from error
    return f"dali {installed.__version__}"
