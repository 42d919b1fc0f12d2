"""CIFAR-10 and CIFAR-100: 32 x 32 colour images, in the Python version of their batches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data import pickled
from trainers.data.archives import Download, digest, holding, unpacked
from trainers.data.arrays import read_arrays, read_tensors, write_arrays
from trainers.data.splits import Samples, Splits, splits_of_images
from trainers.errors import DataError, first_line

VALIDATION_SHARE = 0.1  # of the official training images; the official test images are the test split
MOST_BYTES = 1 << 29  # to unpack; the batches are 186 MB
SIZE = 3 * 32 * 32  # bytes of an image
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cifar:
    """CIFAR-10 or CIFAR-100. `train` and `test` name its files with their MD5; every class has equally many samples."""

    name: str
    classes: int
    labels: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    train_a_class: int
    test_a_class: int
    download: Download

    @property
    def command(self) -> str:
        return f"tunebench data fetch {self.name}"

    def path(self, root: Path) -> Path:
        """Return the data set's file under the data folder `root`."""
        return root / self.name / "images.npz"

    def fetch(self, root: Path, source: Path | None = None) -> Path:
        """Put the data set under `root` and return its file; without `source`, keep an intact one.

        It comes from its official address, or from `source`, the archive or a folder with the batches. Counts and
        classes are checked. Batches with other checksums than the published ones are taken with a warning; an archive
        of the published name with another checksum is refused. Raises DataError.
        """
        file = self.path(root)
        if source is None and file.exists():
            read_arrays(file, ARRAYS, self.command)
            return file
        with unpacked(source, [self.download], root, self.command, MOST_BYTES) as folder:
            folder = holding(folder, next(iter(self.train)))
            train = self._read(folder, self.train, self.train_a_class)
            test = self._read(folder, self.test, self.test_a_class)
            expected = {**self.train, **self.test}
            others = [name for name, md5 in expected.items() if digest(folder / name) != md5]
            if others:
                warnings.warn(
                    f"{folder}: these are not the published images (other checksum: {', '.join(others)}); "
                    "results will differ from published ones",
                    stacklevel=2,
                )
        values = (*train, *test, np.array(not others))
        write_arrays(file, dict(zip((*ARRAYS, "published"), values, strict=True)))
        read_tensors.cache_clear()
        return file

    def load(self, root: Path, split_seed: int) -> Splits:
        """Return images as bytes (samples, 3, 32, 32). A tenth of each class's training images, drawn by `split_seed`,
        is for validation. Raises DataError if the file is missing or damaged."""
        images, labels, test_images, test_labels = read_tensors(self.path(root), ARRAYS, self.command)
        train, test = Samples(images, labels), Samples(test_images, test_labels)
        return splits_of_images(train, test, self.classes, VALIDATION_SHARE, split_seed)

    def _read(
        self, folder: Path, names: Mapping[str, str], a_class: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        a_file = a_class * self.classes // len(names)
        batches = [_batch(folder / name, self.labels, self.classes, a_file) for name in names]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        counts = np.bincount(labels, minlength=self.classes)
        if (counts != a_class).any():
            label = int((counts != a_class).argmax())
            raise DataError(
                f"{folder} ({', '.join(names)}): class {label} has {counts[label]} images, not {a_class}"
            )
        return images, labels


def _batch(
    file: Path, key: str, classes: int, images_in_it: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return one file's images (samples, 3, 32, 32) and labels (samples,). Raises DataError."""
    try:
        with file.open("rb") as stream:
            contents = stream.read(most := 2 * images_in_it * SIZE + 2**20)
        if len(contents) == most:
            raise ValueError(f"it has {most:,} bytes or more, too many for {images_in_it} images")
        batch = pickled.read(contents)
        images, labels = pickled.array(batch["data"]), _whole(batch[key])
    except FileNotFoundError as error:
        raise DataError(f"{file}: missing") from error
    except KeyError as error:
        raise DataError(f"{file}: is not a complete CIFAR batch: it has no {error}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise DataError(f"{file}: is not a complete CIFAR batch: {first_line(error)}") from error
    if images.shape[1:] not in ((SIZE,), (3, 32, 32)):
        raise DataError(
            f"{file}: has data of shape {images.shape}, not (images, {SIZE}) with one colour after another"
        )
    if images.dtype != np.uint8 or labels.shape != (len(images),) or len(images) == 0:
        raise DataError(f"{file}: has {len(images)} images of type {images.dtype} and {labels.size} labels")
    if labels.min() < 0 or labels.max() >= classes:
        other = labels[(labels < 0) | (labels >= classes)][0]
        raise DataError(f"{file}: has label {other}; labels must be 0 to {classes - 1}")
    return images.reshape(-1, 3, 32, 32), labels


def _whole(labels: Any) -> NDArray[np.int64]:
    """Return labels, a list or an array of whole numbers, as an array. Raises ValueError for others."""
    if not isinstance(labels, list):
        return pickled.array(labels).astype(np.int64)
    numbers = [label if type(label) is int else pickled.array(label) for label in labels]
    return np.array(numbers, np.int64)


CIFAR10 = Cifar(
    name="cifar10",
    classes=10,
    labels="labels",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    train_a_class=5000,
    test_a_class=1000,
    download=Download(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
    ),
)

CIFAR100 = Cifar(
    name="cifar100",
    classes=100,
    labels="fine_labels",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    train_a_class=500,
    test_a_class=100,
    download=Download(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"
    ),
)
