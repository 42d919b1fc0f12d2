"""The part of each image that a network is given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.data.image_folder import Box, ImageFiles, centre_box, centre_crop, random_box, random_part


@dataclass(frozen=True, slots=True)
class Parts:
    """The centre of each image, or a random part, which depends on `drawn_from` and the sample's number alone.

    Every decoder gets the same parts, which are resized to `size` x `size`.
    """

    files: ImageFiles
    size: int
    drawn_from: tuple[int, int] | None

    def box(self, index: int, width: int, height: int) -> Box:
        """Return the part of an image of this size."""
        if self.drawn_from is None:
            return centre_box(width, height)
        return random_box(width, height, self._generator(self.drawn_from, index))

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return the part (3, size, size), as Pillow decodes it. Raises DataError, which names the file."""
        file = self.files.path(index)
        if self.drawn_from is None:
            return centre_crop(file, self.size)
        return random_part(file, self.size, self._generator(self.drawn_from, index))

    @staticmethod
    def _generator(drawn_from: tuple[int, int], index: int) -> np.random.Generator:
        return np.random.default_rng([*drawn_from, index])
