"""PyTorch files made by somebody else."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import tensors


def test_what_torch_has_written_is_read_in_both_of_its_formats(tmp_path: Path) -> None:
    contents = {"a": torch.arange(6.0).view(2, 3).t(), "words": ["x", 1, None, {"b": torch.zeros(0)}]}
    for new in (True, False):
        torch.save(contents, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        read = tensors.read(tmp_path / "x.pt")
        assert torch.equal(read["a"], contents["a"])
        assert read["words"][:3] == ["x", 1, None]
    contents["self"] = contents
    torch.save(contents, tmp_path / "x.pt")
    assert torch.equal(tensors.read(tmp_path / "x.pt", mapped=True)["a"], contents["a"])


def compressed(file: Path) -> None:
    """Compressed, three gigabytes of zeros would fit into three megabytes."""
    torch.save(torch.zeros(1000), file)
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("echo run",)


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "it is empty"),
    "text": (lambda file: file.write_text("<html>"), "."),
    "compressed": (compressed, "in it is compressed"),
    "runs something": (lambda file: torch.save(Runs(), file), r"it holds posix\.system"),
    "runs something, old": (
        lambda file: torch.save(Runs(), file, _use_new_zipfile_serialization=False),
        r"it holds posix\.system",
    ),
    "a plain pickle": (lambda file: file.write_bytes(pickle.dumps(Runs())), "."),
    "larger than it is": (
        lambda file: torch.save(torch.zeros(1).expand(10**6, 10**6), file),
        r"it lacks the numbers of a tensor of shape \(1000000, 1000000\)",
    ),
    "no memory at all": (
        lambda file: torch.save(torch.zeros(10**6, device="meta"), file),
        "not dense on the CPU",
    ),
    "sparse": (lambda file: torch.save(torch.eye(3).to_sparse(), file), "not dense on the CPU"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", BAD)
def test_others_are_refused_with_the_reason(kind: str, tmp_path: Path, capfd: Any) -> None:
    file = tmp_path / "x.pt"
    make, message = BAD[kind]
    make(file)
    with pytest.raises(ValueError, match=message):
        tensors.read(file)
    assert capfd.readouterr().out == ""


def test_every_byte_that_is_damaged_is_found(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    torch.save({"a": torch.ones(64)}, file)
    whole = file.read_bytes()
    start = whole.index(torch.ones(64).numpy().tobytes())
    for place in (start, start + 100, start + 255):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"damaged|Bad CRC"):
            tensors.read(file)
