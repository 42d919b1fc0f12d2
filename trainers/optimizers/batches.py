"""Batches of an update's tensors that stay in the processor's cache from its first operation to its last."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

ELEMENTS = 2**19  # of each tensor: four float32 ones are 8 MB, in most caches; fewer need more calls

Batch = list[tuple[Tensor, ...]]


def cache_batches(rows: Sequence[tuple[Tensor, ...]]) -> Iterator[tuple[list[Tensor], ...]]:
    """Yield the columns of `rows` for elementwise updates, on the CPU a cache's worth at a time.

    A row is one parameter with its gradient and buffers, all with the same first dimension. A large row is cut along
    this dimension, the output channels, so each channel stays whole; small rows are put together. All tensors that
    are yielded are views. Other devices get one batch: there kernel launches cost more than memory access.
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
