"""Images decoded, cut and resized by NVIDIA's DALI, if it is installed: on a GPU, or in threads of the CPU."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trainers.data.image_folder import jpeg
from trainers.errors import DataError
from trainers.feeding.crops import Parts

AHEAD = 2  # batches that DALI has ready or under way
Sample = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


def read(
    parts: Parts, batches: Sequence[Tensor], threads: int, device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Yield the parts of each batch's samples as bytes (batch, 3, size, size) on `device`, and their targets.

    `threads`, but at least one, read files and decode what the GPU does not, up to three batches ahead. DALI gets JPEGs
    in colour or grey. Pillow decodes other files and JPEGs without a proper end: their pixels and errors do not depend
    on DALI. Raises DataError, which names the file, when a file that is no image is read, up to three batches early.
    Closing the generator ends the threads.

    On a GPU, a batch is decoded there and ready for the next work of the current stream. It has never been run on one.
    """
    threads = max(1, threads)
    samples = _samples(parts, batches, threads)
    largest = max(map(len, batches), default=1)
    pipeline = _pipeline(samples, largest, parts.size, threads, device)
    try:
        for batch in batches:
            stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
            try:
                (images,) = pipeline.run(stream)
            except RuntimeError as error:
                _name_file(parts, batch, threads, device, error)
                raise
            # DALI's images have their channels last
            decoded = from_dlpack(images.as_tensor()).permute(0, 3, 1, 2)
            targets = torch.from_numpy(parts.files.targets[batch.numpy()])
            yield decoded, targets.pin_memory() if stream else targets
    finally:
        del pipeline  # with its last reference its threads end
        samples.close()


def _name_file(parts: Parts, batch: Tensor, threads: int, device: torch.device, error: RuntimeError) -> None:
    """Raise DataError that names the file of the batch for which DALI raised the error, if one is found."""
    if len(batch) == 1:
        parts.image(int(batch))
        file = parts.files.path(int(batch))
        raise DataError(f"{file}: Pillow can decode it, DALI cannot") from error
    for _ in read(parts, torch.split(batch, 1), threads, device):
        pass  # until the file raises


def _pipeline(
    samples: Generator[Any, None, None], batch_size: int, size: int, threads: int, device: torch.device
) -> Any:
    from nvidia.dali import Pipeline, fn, types

    on_gpu = device.type == "cuda"
    pipeline = Pipeline(
        batch_size=batch_size,
        num_threads=threads,
        device_id=device.index if on_gpu else None,
        seed=0,
        prefetch_queue_depth=AHEAD,
    )
    with pipeline:
        contents, start, end = fn.external_source(
            source=samples, num_outputs=3, dtype=[types.UINT8, types.FLOAT, types.FLOAT], ndim=1, batch=True
        )
        decoded = fn.decoders.image(
            contents,
            device="mixed" if on_gpu else "cpu",
            adjust_orientation=False,
            affine=False,  # else parallel trials would share a few cores
            hw_decoder_load=0.0,  # one decoder for all: a GPU's own chip for JPEGs takes a share of each batch
            jpeg_fancy_upsampling=True,  # as on the CPU
        )
        pipeline.set_outputs(fn.resize(decoded, size=(size, size), roi_start=start, roi_end=end))
    pipeline.build()
    return pipeline


def _samples(
    parts: Parts, batches: Sequence[Tensor], threads: int
) -> Generator[tuple[list[Any], ...], None, None]:
    """Yield each batch as DALI takes it, while the next one is read."""
    pool = ThreadPoolExecutor(threads)
    reading = (pool.map(_sample, [parts] * len(batch), batch.tolist()) for batch in batches)
    try:
        for batch, _ in pairwise(chain(reading, [iter(())])):
            yield tuple(map(list, zip(*batch, strict=True)))
    finally:
        pool.shutdown(cancel_futures=True)


def _sample(parts: Parts, index: int) -> Sample:
    """Return a file's contents and its part's upper left and lower right corner, or Pillow's part, uncompressed."""
    size = parts.size
    if found := jpeg(parts.files.path(index)):
        contents, width, height = found
        left, upper, right, lower = parts.box(index, width, height)
    else:
        contents = b"P6 %d %d 255\n" % (size, size) + parts.image(index).transpose(1, 2, 0).tobytes()
        left, upper, right, lower = 0, 0, size, size
    corners = np.array([[upper, left], [lower, right]], np.float32)
    return np.frombuffer(contents, np.uint8), corners[0], corners[1]
