"""Images in the layout train/CLASS/FILE and val/CLASS/FILE, of any number of classes: ImageNet and the like.

They stay where they are; only an index of them is kept. Pillow is needed, and only here.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.archives import is_hidden
from trainers.data.arrays import read_arrays, write_arrays
from trainers.data.splits import Samples, Splits, held_out, splits_of_images
from trainers.errors import DataError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

FETCH = "tunebench data fetch imagenet"
VALIDATION_SHARE = (
    0.04  # of every class's training images, 50,000 of ImageNet, whose val folder is the test split
)
MEMORY_BYTES = 4 << 30
SUFFIXES = (".jpeg", ".jpg", ".png")  # other files are left out
# of ImageNet's colours, by which published networks expect their images normalised
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
Box = tuple[float, float, float, float]  # left, upper, right, lower
END = b"\xff\xd9"  # of a whole JPEG
ARRAYS = ("folder", "classes", "train_names", "train_targets", "val_names", "val_targets")


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images on disk: `names` (samples,) below `folder`, in the file system's bytes, and their targets (samples,)."""

    folder: Path
    names: NDArray[np.bytes_]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        return self.folder / os.fsdecode(bytes(self.names[index]))


@dataclass(frozen=True, slots=True)
class ImageSplits:
    """`Splits` of images that are too many to hold in memory; `mean` and `std` are ImageNet's."""

    train: ImageFiles
    validation: ImageFiles
    test: ImageFiles
    classes: int
    mean: Tensor
    std: Tensor


def path(root: Path) -> Path:
    """Return the index's file under the data folder `root`."""
    return root / "imagenet" / "index.npz"


def fetch(root: Path, source: Path | None = None) -> Path:
    """Index the images in the folder `source` and return the index's file; without `source`, keep an intact one.

    Every image is opened just far enough to see its size and colours. Both folders must have the same classes, each
    with images. Raises DataError, which names the file.
    """
    file = path(root)
    if source is None:
        if file.exists():
            _index(file)
            return file
        raise DataError(
            "ImageNet needs an account: download ILSVRC2012 from https://image-net.org, unpack it into "
            f"train/CLASS/*.JPEG and val/CLASS/*.JPEG, and run: {FETCH} --from FOLDER"
        )
    classes = _classes(source, "train")
    if odd := sorted(set(classes) ^ set(_classes(source, "val"))):
        raise DataError(f"{source}: class {odd[0]} is in only one of train and val")
    values = (
        np.array(os.fsencode(source.resolve())),
        np.array([os.fsencode(name) for name in classes]),
        *_scan(source, "train"),
        *_scan(source, "val"),
    )
    write_arrays(file, dict(zip(ARRAYS, values, strict=True)))
    _decoded.cache_clear()
    return file


def files(root: Path, split_seed: int) -> ImageSplits:
    """Return the images; `split_seed` draws a share of every class of train for validation. Raises DataError."""
    import torch  # takes seconds, and asking for a path need not wait

    folder, classes, names, targets, test_names, test_targets = _index(path(root))
    train, validation = (
        part.numpy() for part in held_out(torch.from_numpy(targets), VALIDATION_SHARE, split_seed)
    )
    source = _source(folder)
    if len(validation) == 0:
        raise DataError(
            f"{source}: has too few images to hold out any for validation; 13 of a class are enough"
        )
    return ImageSplits(
        train=ImageFiles(source, names[train], targets[train]),
        validation=ImageFiles(source, names[validation], targets[validation]),
        test=ImageFiles(source, test_names, test_targets),
        classes=len(classes),
        mean=torch.tensor(MEAN),
        std=torch.tensor(STD),
    )


def load(root: Path, split_seed: int, *, image_size: int = 64) -> Splits:
    """Return the images' centres as bytes (samples, 3, image_size, image_size), all in memory: for few or small images.

    The splits hold the same samples as those of `files`. Raises DataError if an image is damaged, which it names, or if
    all take more than 4 GiB.
    """
    import torch

    images, targets, test_images, test_targets = _decoded(path(root), image_size)
    train, test = Samples(images, targets), Samples(test_images, test_targets)
    return splits_of_images(train, test, int(torch.max(targets)) + 1, VALIDATION_SHARE, split_seed)


def centre_crop(file: Path, size: int) -> NDArray[np.uint8]:
    """Return the centre of an image, cut by `centre_box`, as (3, size, size). Raises DataError."""
    return _cut(file, size, centre_box)


def random_part(file: Path, size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random part of an image, cut by `random_box`, as (3, size, size). Raises DataError."""
    return _cut(file, size, lambda width, height: random_box(width, height, generator))


def jpeg(file: Path) -> tuple[bytes, int, int] | None:
    """Return contents, width and height of a JPEG in colour or grey with a proper end; None for any other file."""
    from PIL import Image

    with suppress(DataError), _named(file, "an image"):
        contents = file.read_bytes()
        with Image.open(BytesIO(contents)) as image:
            if image.format == "JPEG" and image.mode in ("RGB", "L") and contents.endswith(END):
                return contents, image.width, image.height
    return None


def centre_box(width: int, height: int) -> Box:
    """Return the central square of 7/8 of the shorter side (224 of 256)."""
    side = min(width, height) * 7 / 8
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def random_box(width: int, height: int, generator: np.random.Generator) -> Box:
    """Return a box of 8 to 100 % of the area, 3/4 to 4/3 as wide as high; after ten misfits, the largest square."""
    for _ in range(10):
        area = width * height * generator.uniform(0.08, 1)
        ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
        if across <= width and down <= height:
            left, upper = generator.uniform(0, width - across), generator.uniform(0, height - down)
            return left, upper, left + across, upper + down
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def _cut(file: Path, size: int, box_of: Callable[[int, int], Box]) -> NDArray[np.uint8]:
    """Cut `box_of(width, height)` out of an image and resize it to (3, size, size); grey and CMYK become RGB.

    Of 16 bits a pixel the upper 8 are used. Transparency and a camera's note of the orientation are ignored. A JPEG is
    decoded at the smallest scale of 1, 1/2, 1/4 and 1/8 at which the part has at least `size` pixels a side.
    """
    from PIL import Image

    with _named(file, "a complete image"), Image.open(file) as image:
        width, height = image.size
        left, upper, right, lower = box_of(width, height)
        wanted = (width * size / (right - left), height * size / (lower - upper))
        image.draft("RGB", (ceil(wanted[0]), ceil(wanted[1])))
        across, down = image.width / width, image.height / height
        # the products may come out a rounding error too large
        right, lower = min(right * across, image.width), min(lower * down, image.height)
        box = (left * across, upper * down, right, lower)
        colours = _bytes(image) if image.mode.startswith("I") else image
        part = colours.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(part).transpose(2, 0, 1)


@contextmanager
def _named(file: Path, what: str) -> Iterator[None]:
    """Turn Pillow's errors into a DataError that names the file and says that it is not `what`."""
    from PIL import Image

    try:
        yield
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: is not {what}: {error}") from error


def _bytes(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 bits a pixel with 8 of them; Pillow's own conversion makes all but black white."""
    from PIL import Image

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _classes(source: Path, part: str) -> list[str]:
    if not (source / part).is_dir():
        raise DataError(f"{source}: holds no folder {part}; it needs train/CLASS/FILE and val/CLASS/FILE")
    return sorted(
        entry.name for entry in (source / part).iterdir() if entry.is_dir() and not is_hidden(entry.name)
    )


def _kind(entry: Path) -> str:
    """Return what an entry of a class's folder is, in words, or its suffix if it may be an image."""
    if is_hidden(entry.name):
        return "hidden"
    suffix = entry.suffix.lower()
    if suffix not in SUFFIXES and entry.is_dir():
        return "folder"
    return suffix or "without a suffix"


def _source(folder: NDArray[Any]) -> Path:
    return Path(os.fsdecode(bytes(folder[()])))


def _scan(source: Path, part: str) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """Return names below `source` and targets of a part's images, ordered by class and name."""
    from PIL import Image

    names: list[bytes] = []
    targets: list[int] = []
    left: Counter[str] = Counter()
    for target, label in enumerate(_classes(source, part)):
        kinds = {entry: _kind(entry) for entry in sorted((source / part / label).iterdir())}
        found = [entry for entry, kind in kinds.items() if kind in SUFFIXES]
        left.update(kind for kind in kinds.values() if kind not in SUFFIXES)
        if not found:
            raise DataError(f"{source / part / label}: has no images ({', '.join(SUFFIXES)})")
        for file in found:
            with _named(file, "an image"), Image.open(file) as image:
                image.draft("RGB", (1, 1))
            names.append(os.fsencode(file.relative_to(source)))
            targets.append(target)
    if not names:
        raise DataError(f"{source / part}: has no classes")
    if left:
        others = ", ".join(
            f"{n} {kind}{'s' * (kind == 'folder' and n > 1)}" for kind, n in left.most_common()
        )
        taken = ", ".join(SUFFIXES)
        warnings.warn(f"{source / part}: ignored entries that are not {taken}: {others}", stacklevel=3)
    return np.array(names), np.array(targets)


def _index(file: Path) -> tuple[NDArray[Any], ...]:
    index = read_arrays(file, ARRAYS, f"{FETCH} --from FOLDER")
    folder = _source(index[0])
    if not folder.is_dir():
        raise DataError(f"{folder}: this folder of images no longer exists; run: {FETCH} --from FOLDER")
    return index


@lru_cache(maxsize=1)
def _decoded(file: Path, image_size: int) -> tuple[Tensor, ...]:
    """Return the centres of all images and their targets, cached for a process's many trainings."""
    import torch

    folder, _, *parts = _index(file)
    source = _source(folder)
    needed = sum(map(len, parts[::2])) * 3 * image_size**2
    if needed > MEMORY_BYTES:
        raise DataError(
            f"{source}: its images take {needed:,} bytes at {image_size} x {image_size}, more than {MEMORY_BYTES:,}"
        )
    tensors: list[Tensor] = []
    for names, targets in zip(parts[::2], parts[1::2], strict=True):
        images = np.stack([centre_crop(source / os.fsdecode(bytes(name)), image_size) for name in names])
        tensors += [torch.from_numpy(images), torch.from_numpy(targets)]
    return tuple(tensors)
