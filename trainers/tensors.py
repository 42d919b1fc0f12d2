"""Files of PyTorch's that anybody may have made: tensors, numbers and words in them, and nothing that is executed."""

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
    """What `torch.save` has put into a file, on the CPU; `mapped` leaves tensors on disk, unchecked.

    No more memory is asked for than the file fills. Raises FileNotFoundError, and ValueError with what is wrong.
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
    except Exception as error:  # whatever unpickling meets
        raise ValueError(first_line(error)) from error
    for tensor in _tensors(contents):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"it holds a tensor that is not plain: {tensor.layout}, {tensor.device}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"a tensor of it is said to be {tuple(tensor.shape)}, and is not there")
    return contents


def broken(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first that is not all finite."""
    return next((n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()), None)


def _check_archive(file: Path, *, whole: bool) -> None:
    """Nothing in it is compressed, and so could unfold to any size; `whole` compares checksums, torch does not."""
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


class Undrawn(TorchFunctionMode):
    """Where networks are made for their shapes alone: to draw them, on "meta", torch would load its compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))
