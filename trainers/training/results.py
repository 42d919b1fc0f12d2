"""The results that a training reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np  # takes a sixth of a second, and few commands have series

OF_BYTES = ("signs", "original", "noisy", "recovered")  # series whose rows are bytes


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The rows recorded under a `name`, one at each of `steps`, which are numbers of steps taken until then.

    `values` are numbers (rows,) of float64, or bytes (rows, ...). A byte of "signs" holds eight binary weights: a 1 is
    -1, and the first weight is the highest bit. "original", "noisy" and "recovered" are images (rows, images, channels,
    height, width). "flip_ratio" is the FF ratio. All others are numbers of one weight: "LAYER[INDEX].WHAT".
    """

    name: str
    steps: "np.ndarray[Any, np.dtype[np.int64]]"
    values: "np.ndarray[Any, Any]"

    @classmethod
    def of(cls, name: str, steps: Sequence[int], values: Any) -> "Series":
        """Make a series from a sequence of numbers, or from an array of bytes."""
        import numpy as np

        array = np.asarray(values)
        kind = array.dtype if array.dtype == np.uint8 else np.dtype(np.float64)
        return cls(name, np.asarray(steps, np.int64), array.astype(kind))

    @property
    def of_numbers(self) -> bool:
        """Whether a row is a number, not bytes."""
        return self.name not in OF_BYTES

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return self.name == other.name and all(
            mine.dtype == its.dtype and mine.shape == its.shape and mine.tobytes() == its.tobytes()
            for mine, its in ((self.steps, other.steps), (self.values, other.values))
        )

    def plain(self) -> dict[str, Any]:
        """Return JSON values: numbers, null if not finite; for bytes a row's shape and each row in hexadecimal."""
        named = {"name": self.name, "steps": self.steps.tolist()}
        if self.values.dtype.name != "uint8":
            numbers = [value if math.isfinite(value) else None for value in self.values.tolist()]
            return {**named, "shape": [], "values": numbers}
        rows = [row.tobytes().hex() for row in self.values]
        return {**named, "shape": list(self.values.shape[1:]), "values": rows}


def joined(series: Sequence[Series]) -> tuple[Series, ...]:
    """Join the epochs' series of each name, in order, into one; names are in the order of their first series."""
    import numpy as np

    parts: dict[str, list[Series]] = {}
    for each in series:
        parts.setdefault(each.name, []).append(each)
    return tuple(
        Series(name, *(np.concatenate([getattr(p, of) for p in its]) for of in ("steps", "values")))
        for name, its in parts.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """The result of one epoch of one training.

    `train_loss` is the mean over the epoch's samples; `validation_metric` and `test_metric` are the task's
    metric after the epoch; `flip_ratio` is the mean over the epoch's steps of the share of binary weights whose sign
    changed (Quist 2023, eq 18), in [0, 1], 0 without binary weights. Seconds are wall time after a device sync,
    training and evaluation apart.
    A training has `diverged` if its loss, an output of its network, a number in the network or a buffer of the binary
    weights' optimizer is not finite: its metrics are the worst possible, and no epoch follows.
    `validation_top5` and `test_top5` are there if the task counts top-5 too.

    The other metrics, on training samples and with latent weights, and the `series` of the epoch's steps are there if
    they are recorded (`Record`).
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
    train_metric: float | None = None
    latent_validation_metric: float | None = None
    latent_test_metric: float | None = None
    series: tuple[Series, ...] = ()
