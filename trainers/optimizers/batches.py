"""An update's tensors in batches that stay in the processor's cache from its first operation to its last."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

ELEMENTS = 2**19  # of each tensor: four float32 ones are 8 MB, in cache on most machines; fewer cost calls

Batch = list[tuple[Tensor, ...]]


def cache_batches(rows: Sequence[tuple[Tensor, ...]]) -> Iterator[tuple[list[Tensor], ...]]:
    """Yield columns of `rows` for elementwise updates, on the CPU a cache's worth at a time.

    A row is one parameter and what belongs to it (gradient, buffers), all of one shape. A large row is cut
    along its first dimension, the output channels, so each channel stays whole; small rows are put together.
    All that is yielded are views. On other devices it is one batch: there launches cost more than memory does.
    """
    if not rows:
        return
    if rows[0][0].device.type != "cpu" or sum(row[0].numel() for row in rows) <= ELEMENTS:
        yield _columns(rows)
        return
    batch: Batch = []
    size = 0
    for row in rows:
        for piece in _cut(row):
            if batch and size + piece[0].numel() > ELEMENTS:
                yield _columns(batch)
                batch, size = [], 0
            batch.append(piece)
            size += piece[0].numel()
    yield _columns(batch)


def _cut(row: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    first = row[0]
    if first.numel() <= ELEMENTS:
        return iter([row])
    channels = max(1, ELEMENTS * len(first) // first.numel())
    return zip(*(torch.split(tensor, channels) for tensor in row), strict=True)


def _columns(rows: Sequence[tuple[Tensor, ...]]) -> tuple[list[Tensor], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
