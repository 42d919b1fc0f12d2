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
    """How images are read: the number of workers, the device that they read for, and the decoder.

    Pillow's workers are processes; with 0, this process reads. Each worker reads two batches ahead into shared memory.
    From there they are copied without waiting if `device` is a GPU. DALI's workers are threads (`dali.read`).
    """

    workers: int = 0
    device: torch.device = CPU
    decoder: Decoder = "pillow"

    def read(self, parts: Parts, batches: Sequence[Tensor]) -> Batches:
        """Yield the parts of the samples in each of `batches`, and their targets."""
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
    """Yield an epoch's batches from `start` on: random parts as bytes (batch_size, 3, image_size, image_size), targets.

    The samples come in a new random order, in whole batches; the samples left over are skipped in that epoch. Order and
    parts depend on `seed`, `epoch` and the sample alone: any `start` and any `reading` give the same, except for how a
    decoder computes pixels. Mirroring and colours are left to the device (`augment`). Raises DataError, which names the
    file. torch's global random state is left as it is. Reading ahead ends with the batches, or when the generator is
    closed.
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
    """Yield the centres of all images in order; the last batch may be smaller. Else as `training_batches`."""
    batches = torch.split(torch.arange(len(files)), batch_size)
    return reading.read(Parts(files, image_size, None), batches)


class _Reader(Dataset[Batch | DataError]):
    """A data set that decodes a batch at a time. It returns an image's DataError, for `_read` to raise unchanged."""

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
