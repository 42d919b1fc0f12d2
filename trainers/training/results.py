"""What a training reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np  # a sixth of a second for every command, of which few have series

OF_BYTES = ("signs", "original", "noisy", "recovered")  # series whose rows are no numbers


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What was recorded under a `name` at `steps`, each the number of steps taken until then: a row a step.

    Rows are numbers, `values` (rows,) of float64, or bytes (rows, ...): of "signs" eight binary weights in each, a 1
    for -1 and the first weight its highest bit; of "original", "noisy" and "recovered" images (rows, images, channels,
    height, width). "flip_ratio" is the FF ratio, all others are of a weight, "LAYER[INDEX].WHAT".
    """

    name: str
    steps: "np.ndarray[Any, np.dtype[np.int64]]"
    values: "np.ndarray[Any, Any]"

    @classmethod
    def of(cls, name: str, steps: Sequence[int], values: Any) -> "Series":
        """From numbers in sequences, or an array of bytes."""
        import numpy as np

        array = np.asarray(values)
        kind = array.dtype if array.dtype == np.uint8 else np.dtype(np.float64)
        return cls(name, np.asarray(steps, np.int64), array.astype(kind))

    @property
    def of_numbers(self) -> bool:
        """Whether a row is a number, and not bytes."""
        return self.name not in OF_BYTES

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return self.name == other.name and all(
            mine.dtype == its.dtype and mine.shape == its.shape and mine.tobytes() == its.tobytes()
            for mine, its in ((self.steps, other.steps), (self.values, other.values))
        )

    def plain(self) -> dict[str, Any]:
        """As JSON values: numbers, null where not finite, and of bytes a row's shape and each row in hexadecimal."""
        named = {"name": self.name, "steps": self.steps.tolist()}
        if self.values.dtype.name != "uint8":
            numbers = [value if math.isfinite(value) else None for value in self.values.tolist()]
            return {**named, "shape": [], "values": numbers}
        rows = [row.tobytes().hex() for row in self.values]
        return {**named, "shape": list(self.values.shape[1:]), "values": rows}

    __hash__ = None  # type: ignore[assignment]


def joined(series: Sequence[Series]) -> tuple[Series, ...]:
    """Those of one name, of one epoch after the other, as one; names in the order of their first."""
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
    """One epoch of one training.

    `train_loss` is the mean over the epoch's samples; `validation_metric` and `test_metric` are the task's
    metric after it; `flip_ratio` is the mean over the epoch's steps of the share of binary weights whose sign
    changed (Quist 2023, eq 18), in [0, 1], 0 where there are none. Seconds are wall time after a device sync, training
    and evaluation apart.
    A training has `diverged` where its loss is not finite, an output of its network, a number in it or one that the
    optimizer of its binary weights keeps: its metrics are the worst there are, no epoch follows.
    Where the task counts top-5 too, its shares are beside the metrics.

    Where it is recorded (`Record`) there are the metric on training samples, those with latent weights, and the
    `series` of the epoch's steps.
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
