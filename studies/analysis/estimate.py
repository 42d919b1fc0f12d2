"""An estimate with its interval."""

import math
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import WithJsonSchema

# may be infinite, where a run has no result or a trial diverged; JSON has no infinity
Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf"]}]})]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval `[low, high]` and the coverage the interval is made for, or has where it is exact.

    None (null) is no value, or no interval: there are too few runs for one, or an end is not defined.
    """

    value: Number | None
    low: Number | None
    high: Number | None
    level: float | None

    @classmethod
    def of(cls, value: float, low: float = math.nan, high: float = math.nan, level: float = math.nan) -> Self:
        """NaN is none."""
        return cls(known(value), known(low), known(high), known(level))

    def opposite(self) -> Self:
        """The same difference the other way round."""
        value, low, high = (None if x is None else -x for x in (self.value, self.low, self.high))
        return type(self)(value, high, low, self.level)


def known(value: float) -> float | None:
    """The number, None for NaN."""
    return None if math.isnan(value) else float(value)


NONE = Estimate(None, None, None, None)
