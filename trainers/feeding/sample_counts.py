"""Checks that a task's training samples, or a share of them, are enough to train on."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trainers.data import DATASETS
from trainers.data.splits import share_of
from trainers.errors import UnusableError
from trainers.tasks import Task

PARTS = 10_000  # the resolution of a share


def check_enough(task: Task, train_fraction: float, data_dir: Path) -> None:
    """Raise ValueError if this share leaves a class empty or no batch full, UnusableError if all samples fill no batch.

    Reads the data set, but no images in files of their own; raises DataError.
    """
    classes, batch_size = _samples(task.dataset, data_dir), task.recipe.batch_size
    if sum(classes) < batch_size:
        raise UnusableError(
            f"{task.dataset} has {sum(classes)} training samples here, which do not fill a batch of {batch_size}, "
            f"{task.name}'s batch size; fetch more samples, or choose smaller batches or another task"
        )
    if not enough(classes, train_fraction, batch_size):
        raise ValueError(
            f"train_fraction must be at least {least(classes, batch_size):g}, to leave a sample of every class and a "
            f"batch of {batch_size} of {task.dataset}'s {sum(classes)} training samples, got {train_fraction:g}"
        )


def enough(classes: Sequence[int], share: float, batch_size: int) -> bool:
    """Return whether `share` of `classes`' counts of samples leaves one of every class and fills a batch."""
    kept = [share_of(samples, share) for samples in classes]
    return min(kept) > 0 and sum(kept) >= batch_size


def least(classes: Sequence[int], batch_size: int) -> float:
    """Return the smallest share that is enough, in ten-thousandths; 1 if none is."""
    return bisect_left(range(PARTS), True, key=lambda n: enough(classes, n / PARTS, batch_size)) / PARTS


@cache  # a study is checked when it is created and when it is driven
def _samples(dataset: str, data_dir: Path) -> tuple[int, ...]:
    """Return the number of training samples of each class, the same for every seed of the split."""
    data = DATASETS[dataset]
    train = (data.files or data.splits)(data_dir, 0).train
    return tuple(Counter(train.targets.tolist()).values())
