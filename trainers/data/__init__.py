"""Data sets, one file each. A new one is a file with `path`, `fetch` and `load`, and an entry here."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainers.data import image_folder, mnist, spoken_digits
from trainers.data.arrays import read_arrays
from trainers.data.audio import AUDIOMNIST, FSDD
from trainers.data.cifar import CIFAR10, CIFAR100
from trainers.data.image_folder import ImageFiles, ImageSplits
from trainers.data.splits import Samples, Splits
from trainers.errors import DataError
from trainers.files import checksum

__all__ = ["DATASETS", "DataSet", "ImageFiles", "ImageSplits", "Samples", "Splits"]


@dataclass(frozen=True, slots=True)
class DataSet:
    """The functions of a data set. `path` gives its file under a data folder. `fetch` puts the data there, from a place
    on disk if one is given. `load` reads them and splits them by a seed. `files` also splits them, but does not read
    the images, which may be too many for memory. All raise DataError. With `drawn_test` the seed draws the test split
    too; otherwise it is the published one. `fetch` takes `any_number` of samples, or else as many as are published."""

    summary: str
    path: Callable[[Path], Path]
    fetch: Callable[[Path, Path | None], Path]
    load: Callable[[Path, int], Splits]
    files: Callable[[Path, int], ImageSplits] | None = None
    drawn_test: bool = False
    any_number: bool = False

    def check_data(self, root: Path) -> None:
        """Raise DataError if the data are missing or damaged; of images in files only the index is read."""
        (self.files or self.splits)(root, 0)

    def splits(self, root: Path, split_seed: int) -> Splits:
        """Return what `load` reads, checked for a network: finite numbers, valid classes. Raises DataError."""
        splits = self.load(root, split_seed)
        for inputs, targets in (splits.train, splits.validation, splits.test):
            if len(inputs) != len(targets) or len(targets) == 0:
                raise DataError(
                    f"{self.path(root)}: has {len(targets)} labels for {len(inputs)} samples; fetch it again"
                )
            if targets.min() < 0 or targets.max() >= splits.classes:
                raise DataError(
                    f"{self.path(root)}: has labels that are not 0 to {splits.classes - 1}; fetch it again"
                )
            if inputs.is_floating_point() and not inputs.isfinite().all():
                raise DataError(
                    f"{self.path(root)}: has samples with numbers that are not finite; fetch it again"
                )
        return splits

    def origin(self, root: Path) -> dict[str, str | bool | None]:
        """Return the checksum of the data's file (for images in files, their index) and whether the data are the
        published ones; either is None if unknown."""
        file = self.path(root)
        published = None
        with suppress(DataError):  # missing or damaged data are reported by a training
            published = bool(read_arrays(file, ("published",), "")[0])
        return {"sha256": checksum(file), "published": published}


DATASETS: dict[str, DataSet] = {
    "spoken-digits": DataSet(
        summary="3,000 recordings of ten spoken digits as MFCC frames (FSDD, CC BY-SA 4.0), 2.6 MB",
        path=spoken_digits.path,
        fetch=spoken_digits.fetch,
        load=spoken_digits.load,
        drawn_test=True,
    ),
    "fsdd": DataSet(
        summary="the same 3,000 recordings as wav files, log-mel features, no speaker in two splits, 10 MB",
        path=FSDD.path,
        fetch=FSDD.fetch,
        load=FSDD.load,
        drawn_test=True,
    ),
    "audiomnist": DataSet(
        summary="30,000 recordings of ten spoken digits by 60 speakers (MIT), log-mel features, 96 MB",
        path=AUDIOMNIST.path,
        fetch=AUDIOMNIST.fetch,
        load=AUDIOMNIST.load,
        drawn_test=True,
    ),
    "mnist": DataSet(
        summary="70,000 grey images of handwritten digits, 28 x 28, 55 MB",
        path=mnist.path,
        fetch=mnist.fetch,
        load=mnist.load,
        any_number=True,
    ),
    "cifar10": DataSet(
        summary="60,000 colour images of 10 classes, 32 x 32, 185 MB",
        path=CIFAR10.path,
        fetch=CIFAR10.fetch,
        load=CIFAR10.load,
    ),
    "cifar100": DataSet(
        summary="60,000 colour images of 100 classes, 32 x 32, 185 MB",
        path=CIFAR100.path,
        fetch=CIFAR100.fetch,
        load=CIFAR100.load,
    ),
    "imagenet": DataSet(
        summary="images in folders train/CLASS and val/CLASS, of any number of classes; ImageNet has 145 GB",
        path=image_folder.path,
        fetch=image_folder.fetch,
        load=image_folder.load,
        files=image_folder.files,
        any_number=True,
    ),
}
