"""What a training reports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """One epoch of one training.

    `train_loss` is the mean over the epoch's samples; `validation_metric` and `test_metric` are the task's
    metric after it; `flip_ratio` is the mean over the epoch's steps of the share of binary weights whose sign
    changed (Quist 2023, eq 18), in [0, 1]. Seconds are wall time after a device sync, training and evaluation apart.
    A training has `diverged` where its loss is not finite, an output of its network, a number in it or one that the
    optimizer of its binary weights keeps: its metrics are the worst there are, no epoch follows.
    Where the task counts top-5 too, its shares are beside the metrics.
    """

    epoch: int
    train_loss: float
    validation_metric: float
    test_metric: float
    flip_ratio: float
    train_seconds: float
    evaluate_seconds: float
    diverged: bool = False
    validation_top5: float | None = None
    test_top5: float | None = None
