"""Batches of images that are read from disk while the device computes."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.data.image_folder import ImageFiles
from trainers.errors import DataError
from trainers.feeding import dali
from trainers.feeding.crops import Parts
from trainers.feeding.decoders import Decoder
from trainers.seeds import derive

Batch = tuple[Tensor, Tensor]
Batches = Generator[Batch, None, None]
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How images are read: by so many workers of a decoder, for a device.

    Pillow's workers are processes, or this one where there are none; each reads two batches ahead, into shared memory,
    from where the batches are copied to a GPU, as `device` may be, without waiting. DALI's are threads (`dali.read`).
    """

    workers: int = 0
    device: torch.device = CPU
    decoder: Decoder = "pillow"

    def read(self, parts: Parts, batches: Sequence[Tensor]) -> Batches:
        """The parts of the samples in each of `batches`, and their targets."""
        return READERS[self.decoder](parts, batches, self.workers, self.device)


HERE = Reading()


def training_batches(
    files: ImageFiles,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    reading: Reading = HERE,
) -> Batches:
    """An epoch's batches from number `start` on: random parts of images, bytes (batch_size, 3, size, size), targets.

    The samples come in a new random order in whole batches; those that do not fill the last one are left out of
    that epoch. Order and parts depend on `seed`, `epoch` and the sample alone: any `start` and any `reading` give the
    same, but for what a decoder makes of a part's pixels. Mirroring and colours are the device's work (`augment`).
    Raises DataError, which names the file. torch's global random state is left as it is. Whatever reads ahead ends
    with the batches, or when the generator is closed.
    """
    order = torch.randperm(
        len(files), generator=torch.Generator().manual_seed(derive(seed, "data-order", epoch))
    )
    whole = len(order) // batch_size * batch_size
    batches = torch.split(order[:whole], batch_size)[start:]
    return reading.read(Parts(files, image_size, (seed, epoch)), batches)


def evaluation_batches(
    files: ImageFiles,
    *,
    batch_size: int,
    image_size: int,
    reading: Reading = HERE,
) -> Batches:
    """The middles of all images, in order; the last batch may be smaller. Otherwise as `training_batches`."""
    batches = torch.split(torch.arange(len(files)), batch_size)
    return reading.read(Parts(files, image_size, None), batches)


class _Reader(Dataset[Batch | DataError]):
    """Decodes a batch at a time. What is wrong with an image is handed over, for it to be raised as it is."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __getitems__(self, indices: Sequence[int]) -> Batch | DataError:
        try:
            images = np.stack([self.parts.image(index) for index in indices])
        except DataError as error:
            return error
        return torch.from_numpy(images), torch.from_numpy(self.parts.files.targets[indices])


def _read(parts: Parts, batches: Sequence[Tensor], workers: int, device: torch.device) -> Batches:
    loader = DataLoader(
        _Reader(parts),
        batch_sampler=[batch.tolist() for batch in batches],
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
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


READERS: Mapping[Decoder, Callable[[Parts, Sequence[Tensor], int, torch.device], Batches]] = {
    "pillow": _read,
    "dali": dali.read,
}
