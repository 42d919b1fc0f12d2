"""MNIST: 28 x 28 grey images of handwritten digits, in IDX files."""

from __future__ import annotations

import gzip
import hashlib
import math
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.data.archives import Download, holding, unpacked
from trainers.data.arrays import read_arrays, read_tensors, write_arrays
from trainers.data.splits import Samples, Splits, splits_of_images
from trainers.errors import DataError

FETCH = "tunebench data fetch mnist"
MOST_BYTES = 1 << 27  # to unpack; the four files are 55 MB
VALIDATION_SHARE = 0.1  # of the official training images; the official test images are the test split
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")

# PyTorch's copy, as the authors' own address often refuses
ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
UNPACKED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def path(root: Path) -> Path:
    """Return the data set's file under the data folder `root`."""
    return root / "mnist" / "images.npz"


def fetch(root: Path, source: Path | None = None) -> Path:
    """Put the data set under `root` and return its file; without `source`, keep an intact one.

    It comes from its address, or from `source`, a folder or an archive with the four IDX files, plain or in gzip. Files
    with other checksums than the published ones are taken with a warning. Raises DataError.
    """
    file = path(root)
    if source is None and file.exists():
        read_arrays(file, ARRAYS, FETCH)
        return file
    downloads = [Download(f"{ADDRESS}{name}.gz", md5) for name, md5 in MD5.items()]
    with unpacked(source, downloads, root, FETCH, MOST_BYTES) as folder:
        folder = holding(folder, *_names(next(iter(MD5))))
        arrays: list[NDArray[np.generic]] = []
        for part in ("train", "t10k"):
            arrays += _read(folder, part)
        others = [name for name, md5 in UNPACKED_MD5.items() if _md5(_either(folder, name)) != md5]
        if others:
            warnings.warn(
                f"{folder}: these are not the published images (other contents: {', '.join(others)}); results "
                "will differ from published ones",
                stacklevel=2,
            )
    values = (*arrays, np.array(not others))
    write_arrays(file, dict(zip((*ARRAYS, "published"), values, strict=True)))
    read_tensors.cache_clear()
    return file


def load(root: Path, split_seed: int) -> Splits:
    """Return images as bytes (samples, 1, 28, 28). A tenth of each digit's training images, drawn by `split_seed`, is
    for validation. Raises DataError if the file is missing or damaged."""
    images, labels, test_images, test_labels = read_tensors(path(root), ARRAYS, FETCH)
    train, test = Samples(images, labels), Samples(test_images, test_labels)
    return splits_of_images(train, test, 10, VALIDATION_SHARE, split_seed)


def _read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (samples, 1, 28, 28) and labels (samples,) of "train" or "t10k"."""
    images_file, labels_file = (
        _either(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")
    )
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or len(images) == 0:
        raise DataError(f"{images_file}: has shape {images.shape}, not images of 28 x 28")
    if labels.shape != (len(images),):
        raise DataError(f"{labels_file}: has labels of shape {labels.shape} for {len(images)} images")
    if labels.max() > 9:
        raise DataError(f"{labels_file}: has label {labels.max()}; labels must be 0 to 9")
    if len(np.unique(labels)) != 10:
        raise DataError(f"{labels_file}: has labels of only {len(np.unique(labels))} of the 10 digits")
    return images[:, None], labels.astype(np.int64)


def _names(name: str) -> list[str]:
    """Return the names that a file may have: also with a dot, as other archives write it, and in gzip."""
    return [f"{name}{end}" for name in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]


def _either(folder: Path, name: str) -> Path:
    """Return the file under one of its names; it may lie in a folder with that name. Raises DataError."""
    files = [file for entry in _names(name) for file in (folder / entry, folder / entry / entry)]
    for file in files:
        if file.is_file():
            return file
    raise DataError(f"{folder / name}: missing")


def read_idx(file: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, in gzip if its name ends in .gz. Raises DataError."""
    data = _content(file)
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < (start := 4 + 4 * data[3]):
        raise DataError(f"{file}: is not an IDX file of unsigned bytes")
    shape = tuple(np.frombuffer(data[4:start], dtype=">u4").astype(int).tolist())
    if len(data) - start != math.prod(shape):
        raise DataError(f"{file}: has {len(data) - start} bytes of data, but its header says shape {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _md5(file: Path) -> str:
    return hashlib.md5(_content(file), usedforsecurity=False).hexdigest()


def _content(file: Path) -> bytes:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content: bytes = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read completely: {error}") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{file}: holds more than {MOST_BYTES:,} bytes, so it is not a file of MNIST")
    return content
