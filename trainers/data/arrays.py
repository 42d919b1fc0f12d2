"""A data set as it is kept after fetching: arrays in one file, checked by their checksums when they are read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainers.errors import DataError
from trainers.files import replacing

if TYPE_CHECKING:
    from torch import Tensor


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """All or nothing: other processes see the old file or the new one. Raises DataError."""
    with replacing(file) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_arrays(file: Path, names: tuple[str, ...], command: str) -> tuple[NDArray[Any], ...]:
    """The arrays of these names. Raises DataError, which says to run `command`."""
    try:
        with np.load(file) as arrays:
            return tuple(arrays[name] for name in names)
    except FileNotFoundError as error:
        raise DataError(f"{file}: missing; run: {command}") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: damaged ({error}); delete it and run: {command}") from error


@lru_cache(maxsize=1)
def read_tensors(file: Path, names: tuple[str, ...], command: str) -> tuple[Tensor, ...]:
    """The same as tensors, kept, as a process trains many times: `cache_clear` after the file has changed."""
    import torch  # takes seconds: not for whoever asks where the data are

    return tuple(torch.from_numpy(array) for array in read_arrays(file, names, command))
