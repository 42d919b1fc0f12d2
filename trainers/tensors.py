"""PyTorch files from untrusted sources: tensors, numbers and words are read, nothing is executed."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trainers.errors import first_line


def read(file: Path, *, mapped: bool = False) -> Any:
    """Return what `torch.save` wrote to a file, on the CPU; `mapped` leaves tensors on disk and skips checksums.

    It allocates no more memory than the file fills. Raises FileNotFoundError, and ValueError that says what is wrong.
    """
    try:
        if file.stat().st_size == 0:
            raise ValueError("it is empty")
        if zipfile.is_zipfile(file):
            _check_archive(file, whole=not mapped)
        contents = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, ValueError):
        raise
    except UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(
            f"it holds {found[1] if found else 'more than tensors, numbers and words'}"
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(first_line(error)) from error
    for tensor in _tensors(contents):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(
                f"it holds a tensor that is not dense on the CPU: {tensor.layout}, {tensor.device}"
            )
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"it lacks the numbers of a tensor of shape {tuple(tensor.shape)}")
    return contents


def broken(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a number that is not finite, or None."""
    return next((n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()), None)


def _check_archive(file: Path, *, whole: bool) -> None:
    """Refuse compressed entries, which could unpack to any size. `whole` compares checksums, which torch does not."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > file.stat().st_size:
                raise ValueError(f"{entry.filename} in it is compressed")
        if whole and (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} in it is damaged")


def _tensors(contents: Any) -> Iterator[Tensor]:
    left, seen = [contents], set[int]()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple | set):
            left += value


class SkipInitialisation(TorchFunctionMode):
    """A mode for building networks on "meta" for their shapes: it skips `normal_`, which loads torch's compiler
    there."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))
