"""A small folder of pictures in ImageNet's layout."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainers.data import image_folder


def data_folder(root: Path, *, classes: int = 2, train: int = 40, val: int = 4, side: int = 40) -> Path:
    """A data folder under `root` whose data set imagenet has so many pictures a class, brighter from class to class."""
    generator = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / "pictures" / part / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                level = 256 * label // classes
                pixels = level + generator.integers(0, 256 // classes, (4, 4, 3))
                image = Image.fromarray(pixels.astype(np.uint8)).resize(
                    (side, side), Image.Resampling.BICUBIC
                )
                image.save(folder / f"{i}.JPEG", quality=95)
    image_folder.fetch(root / "data", root / "pictures")
    return root / "data"
