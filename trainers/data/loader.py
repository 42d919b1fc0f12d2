"""Batches of images that are read from disk while the device computes."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.data.image_folder import ImageFiles, middle, random_part
from trainers.errors import DataError
from trainers.seeds import derive

Batch = tuple[Tensor, Tensor]
Batches = Generator[Batch, None, None]


def training_batches(
    files: ImageFiles,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = 0,
    pinned: bool = False,
) -> Batches:
    """An epoch's batches from number `start` on: random parts of images, bytes (batch_size, 3, size, size), targets.

    The samples come in a new random order in whole batches; those that do not fill the last one are left out of
    that epoch. Order and parts depend on `seed`, `epoch` and the sample alone: any number of `workers`
    (processes; 0 reads in this one) and any `start` give the same. A worker reads two batches ahead, into shared
    memory; `pinned` memory is copied to a GPU without waiting. Mirroring and colours are the device's work
    (`trainers.augment`). Raises DataError, which names the file. torch's global random state is left as it is. The
    workers end with the batches, or when the generator is closed.
    """
    order = torch.randperm(
        len(files), generator=torch.Generator().manual_seed(derive(seed, "data-order", epoch))
    )
    whole = len(order) // batch_size * batch_size
    batches = torch.split(order[:whole], batch_size)[start:]
    return _read(_Reader(files, image_size, (seed, epoch)), batches, workers, pinned)


def evaluation_batches(
    files: ImageFiles, *, batch_size: int, image_size: int, workers: int = 0, pinned: bool = False
) -> Batches:
    """The middles of all images, in order; the last batch may be smaller. Otherwise as `training_batches`."""
    batches = torch.split(torch.arange(len(files)), batch_size)
    return _read(_Reader(files, image_size, None), batches, workers, pinned)


class _Reader(Dataset[Batch | DataError]):
    """Decodes a batch at a time. What is wrong with an image is handed over, for it to be raised as it is."""

    def __init__(self, files: ImageFiles, image_size: int, drawn_from: tuple[int, int] | None) -> None:
        self.files = files
        self.image_size = image_size
        self.drawn_from = drawn_from

    def __getitems__(self, indices: Sequence[int]) -> Batch | DataError:
        try:
            images = np.stack([self._image(index) for index in indices])
        except DataError as error:
            return error
        return torch.from_numpy(images), torch.from_numpy(self.files.targets[indices])

    def _image(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        file = self.files.path(index)
        if self.drawn_from is None:
            return middle(file, self.image_size)
        return random_part(file, self.image_size, np.random.default_rng([*self.drawn_from, index]))


def _read(reader: _Reader, batches: Sequence[Tensor], workers: int, pinned: bool) -> Batches:
    loader = DataLoader(
        reader,
        batch_sampler=[batch.tolist() for batch in batches],
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
    )
    read = iter(loader)
    try:
        for batch in read:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    finally:
        del read  # with its last reference its workers end


def _as_it_is(batch: Any) -> Any:
    return batch
