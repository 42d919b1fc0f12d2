"""Data sets, one file each. A new one is a file with `path`, `fetch` and `load`, and a line here."""

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
    """`path` of the data under a data folder; `fetch` puts it there, from a place on disk where one is given;
    `load` reads it and splits it by a seed, and so does `files` without reading the images, where they may be too
    many for memory. All raise DataError. With a `drawn_test` the seed draws the test split too, which else is the
    published one. `fetch` takes `any_number` of samples, or as many as are published."""

    summary: str
    path: Callable[[Path], Path]
    fetch: Callable[[Path, Path | None], Path]
    load: Callable[[Path, int], Splits]
    files: Callable[[Path, int], ImageSplits] | None = None
    drawn_test: bool = False
    any_number: bool = False

    def check_data(self, root: Path) -> None:
        """Raise DataError where the data are missing or damaged; of images in files only their index is read."""
        (self.files or self.splits)(root, 0)

    def splits(self, root: Path, split_seed: int) -> Splits:
        """What `load` gives, fit for a network: finite numbers, of classes that there are. Raises DataError."""
        splits = self.load(root, split_seed)
        for inputs, targets in (splits.train, splits.validation, splits.test):
            if len(inputs) != len(targets) or len(targets) == 0:
                raise DataError(
                    f"{self.path(root)}: has {len(targets)} labels for {len(inputs)} samples; fetch it anew"
                )
            if targets.min() < 0 or targets.max() >= splits.classes:
                raise DataError(
                    f"{self.path(root)}: has labels that are not 0 to {splits.classes - 1}; fetch it anew"
                )
            if inputs.is_floating_point() and not inputs.isfinite().all():
                raise DataError(
                    f"{self.path(root)}: its samples hold numbers that are not finite; fetch it anew"
                )
        return splits

    def origin(self, root: Path) -> dict[str, str | bool | None]:
        """Which data these are: the checksum of their file, and whether they are known to be the published ones or
        known to be others; what is not known is None. Of images in files it is the checksum of their index."""
        file = self.path(root)
        published = None
        with suppress(DataError):  # missing or damaged: whoever trains on them says so
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
        summary="the same 3,000 recordings as wav files, log-mel features, whole speakers in each split, 10 MB",
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
        summary="images in folders train/CLASS and val/CLASS, of any number of classes; 145 GB where ImageNet's",
        path=image_folder.path,
        fetch=image_folder.fetch,
        load=image_folder.load,
        files=image_folder.files,
        any_number=True,
    ),
}
