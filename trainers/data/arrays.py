"""A data set as kept after fetching: arrays in one file, checked by their checksums when they are read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainers.errors import DataError
from trainers.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor


KINDS = "biufS"  # of arrays: booleans, whole numbers, floats, bytes


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays, all or nothing: other processes see the old file or the new one. Raises DataError."""
    with atomic_write(file) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_arrays(file: Path, names: tuple[str, ...], command: str) -> tuple[NDArray[Any], ...]:
    """Return the arrays of these names, finite numbers or bytes. Raises DataError, which says to run `command`.

    The file may come from anyone: an array's stated size is checked before memory is allocated for it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return tuple(_array(archive, name) for name in names)
    except FileNotFoundError as error:
        raise DataError(f"{file}: missing; run: {command}") from error
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(f"{file}: damaged ({error}); delete it and run: {command}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"{name} has a header of version {version}")
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
        held = entry.file_size - stream.tell()
    if kind.kind not in KINDS or math.prod(shape) * kind.itemsize != held:
        raise ValueError(f"{name} has {held} bytes, but its header says {shape} of {kind}")
    with archive.open(entry) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if kind.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array


@lru_cache(maxsize=1)
def read_tensors(file: Path, names: tuple[str, ...], command: str) -> tuple[Tensor, ...]:
    """Return the arrays as tensors, cached for a process's many trainings: call `cache_clear` when the file changes."""
    import torch  # takes seconds, and asking for a path need not wait

    return tuple(torch.from_numpy(array) for array in read_arrays(file, names, command))
