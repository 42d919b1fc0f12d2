"""An estimate with its interval."""

import math
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import WithJsonSchema

# may be infinite, if a run has no result or a trial diverged; JSON has no infinity
Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf"]}]})]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval `[low, high]`; `level` is the interval's coverage, nominal or, if known, exact.

    None (null) means no value, or no interval: there are too few runs for one, or an end is undefined.
    """

    value: Number | None
    low: Number | None
    high: Number | None
    level: float | None

    @classmethod
    def of(cls, value: float, low: float = math.nan, high: float = math.nan, level: float = math.nan) -> Self:
        """Make an estimate from numbers; NaN becomes None."""
        return cls(known(value), known(low), known(high), known(level))

    def opposite(self) -> Self:
        """Return the same difference in the opposite direction."""
        value, low, high = (None if x is None else -x for x in (self.value, self.low, self.high))
        return type(self)(value, high, low, self.level)


def known(value: float) -> float | None:
    """Return the number, or None for NaN."""
    return None if math.isnan(value) else float(value)


NONE = Estimate(None, None, None, None)
