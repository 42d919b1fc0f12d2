"""Search spaces: the hyperparameters of an arm and the values a searcher may give each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from studies.design.whole_numbers import whole
from trainers.hyperparameters import VALID, Value

AT_BOUND = 0.01  # a value so near to an end of its range, on the range's own scale, counts as lying at it


@dataclass(frozen=True, slots=True)
class Float:
    """Real numbers in [low, high], uniform in the value or, with `log`, in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, float | int) and not isinstance(value, bool) and self.low <= value <= self.high
        )

    def at(self, u: float) -> float:
        """Return the value at quantile `u` in [0, 1]; 0 and 1 give exactly the bounds."""
        if u in (0, 1):
            return self.high if u else self.low
        start, end = self._ends
        point = min(start + u * (end - start), end)
        return min(max(math.exp(point) if self._in_logarithms else point, self.low), self.high)

    def quantile(self, value: float) -> float:
        """Return the quantile of a value in the range: the inverse of `at`, up to rounding."""
        start, end = self._ends
        point = math.log(value) if self._in_logarithms else value
        return (point - start) / (end - start)

    @property
    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self._in_logarithms else (self.low, self.high)

    @property
    def _in_logarithms(self) -> bool:
        """Whether quantiles are taken in logarithms: not if the bounds are so close that theirs are equal."""
        return self.log and math.log(self.low) < math.log(self.high)


@dataclass(frozen=True, slots=True)
class Int:
    """Whole numbers in [low, high], uniform in the value or, with `log`, roughly so in its logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def at(self, u: float) -> int:
        """Return the value at quantile `u` in [0, 1]; each whole number owns the half unit on either side of it."""
        low, high = self.low - 0.5, self.high + 0.5
        if self.log:
            value = round(math.exp(math.log(low) + u * (math.log(high) - math.log(low))))
        else:
            value = round(low + u * (high - low))
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values, all equally likely at first."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"a choice needs at least two values, got {list(self.values)}")
        if len({(type(v), v) for v in self.values}) < len(self.values):
            raise ValueError(f"a choice's values must differ, got {list(self.values)}")
        if len({type(v) for v in self.values}) > 1:
            raise ValueError(f"a choice's values must be of one type, got {list(self.values)}")

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(v) and value == v for v in self.values)

    def at(self, u: float) -> Value:
        """Return the value at quantile `u` in [0, 1]."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value: nothing to search, not counted as a dimension."""

    value: Value

    def __contains__(self, value: object) -> bool:
        return type(value) is type(self.value) and value == self.value

    def at(self, u: float) -> Value:
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Tied:
    """A value that follows from another hyperparameter's: nothing to search, not counted as a dimension.

    `number` is the product of the two values, or the ratio of this one to the other.
    """

    to: str
    by: Literal["product", "ratio"]
    number: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.number) and self.number > 0):
            raise ValueError(f"{self.by} must be a finite number above 0, got {self.number!r}")

    def given(self, other: Value) -> float:
        """Return the value that follows from the other value `other`. Raises ZeroDivisionError."""
        return self.number * float(other) if self.by == "ratio" else self.number / float(other)


Dimension = Float | Int | Choice | Fixed | Tied
Space = Mapping[str, Dimension]
Untied = Mapping[str, Float | Int | Choice | Fixed]


def searched(space: Space) -> dict[str, Float | Int | Choice]:
    """Return the dimensions that a searcher chooses: all but the fixed and tied ones, in order."""
    return {name: d for name, d in space.items() if not isinstance(d, Fixed | Tied)}


def whole_point(space: Space, chosen: Mapping[str, Value]) -> dict[str, Value]:
    """Add the fixed and tied values to those `chosen` for the searched dimensions, in the order of the space."""
    known = {**{name: d.value for name, d in space.items() if isinstance(d, Fixed)}, **chosen}
    tied = {name: d.given(known[d.to]) for name, d in space.items() if isinstance(d, Tied)}
    return {name: (known | tied)[name] for name in space}


def untied(space: Space) -> Untied:
    """Return the dimensions that are not tied to another."""
    return {name: d for name, d in space.items() if not isinstance(d, Tied)}


def points(space: Space) -> float:
    """Return the number of different points in the space: 1 if all is fixed, infinity if any dimension is real."""
    total = 1.0
    for dimension in space.values():
        match dimension:
            case Float():
                total = math.inf
            case Int(low, high):
                total *= high - low + 1
            case Choice(values):
                total *= len(values)
    return total


def bound(dimension: Dimension, value: Value) -> Literal["low", "high"] | None:
    """Return the end of its range at which the value lies; None if it lies inside or there is no range."""
    if not isinstance(dimension, Float | Int) or not isinstance(value, int | float):
        return None
    share = Float(dimension.low, dimension.high, dimension.log).quantile(value)
    return "low" if share <= AT_BOUND else "high" if share >= 1 - AT_BOUND else None


def to_json(dimension: Dimension) -> Any:
    """Return the dimension as a study file writes it; `parse` reads it back."""
    match dimension:
        case Float(low, high, log):
            return {"low": float(low), "high": float(high), "log": log}
        case Int(low, high, log):
            return {"low": low, "high": high, "log": log, "integer": True}
        case Choice(values):
            return list(values)
        case Fixed(value):
            return value
        case Tied(to, by, number):
            return {"to": to, by: number}


def parse(name: str, entry: object, default: Dimension) -> Dimension:
    """Read one hyperparameter of a study file.

    `entry` is a value, which fixes it; a list of choices; a mapping with `low`, `high` and `log`, which default to the
    method's own; or a mapping with `to`, another hyperparameter, and `product` or `ratio`, which ties it to that one.
    Raises ValueError with the value and what is allowed.
    """
    dimension = _parse(entry, default)
    valid = VALID[name]
    match dimension:
        case Float(low, high) | Int(low, high):
            values: tuple[Value, ...] = (low, high)
        case Choice(values):
            pass
        case Fixed(value):
            values = (value,)
        case Tied():
            values = ()  # they follow from another's: see `faulty_ties`
    for value in values:
        if value not in valid:
            raise ValueError(f"{value!r} is out of range; {name} must be in {valid}")
    return dimension


def _parse(entry: object, default: Dimension) -> Dimension:
    match entry:
        case bool() | int() | float() | str():
            return Fixed(_number(entry, default))
        case list() if all(isinstance(v, bool | int | float | str) for v in entry):
            values = tuple(_number(value, default) for value in entry)
            return Fixed(values[0]) if len(values) == 1 else Choice(values)
        case dict() if "to" in entry and not isinstance(default, Float):
            raise ValueError(f"{entry!r} is a tie, but only a real number can be tied")
        case dict() if "to" in entry:
            return _parse_tie(entry)
        case dict() if isinstance(default, Float | Int):
            return _parse_range(entry, default)
        case dict():
            raise ValueError(
                f"{entry!r} is a range; give a value or a list of values, such as {to_json(default)}"
            )
        case _:
            raise ValueError(
                f"must be a value, a list of values, or a mapping with low, high and log, got {entry!r}"
            )


def _number(value: Value, default: Dimension) -> Value:
    """Return a whole number as a float if the hyperparameter is real, else as an int: 1 and 1.0 are the same."""
    if not isinstance(default, Float):
        return whole(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _parse_range(entry: dict[object, object], default: Float | Int) -> Float | Int:
    integer = isinstance(default, Int)
    allowed = {"low", "high", "log"} | ({"integer"} if integer else set())
    unknown = [str(key) for key in entry if key not in allowed]
    if unknown:
        raise ValueError(f"unknown key {', '.join(unknown)}; a range has {', '.join(sorted(allowed))}")
    low, high = entry.get("low", default.low), entry.get("high", default.high)
    log = entry.get("log", default.log)
    if integer:
        low, high = whole(low), whole(high)
    for key, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, int if integer else int | float):
            raise ValueError(f"{key} must be a {'whole ' if integer else ''}number, got {bound!r}")
    if not isinstance(log, bool):
        raise ValueError(f"log must be true or false, got {log!r}")
    if isinstance(low, int) and isinstance(high, int) and integer:
        return Int(low, high, log)
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return Float(float(low), float(high), log)


def _parse_tie(entry: dict[object, object]) -> Tied:
    if len(entry) != 2 or not entry.keys() & {"product", "ratio"}:
        raise ValueError(f"a tie must have the key to and one of product and ratio, got {entry!r}")
    by: Literal["product", "ratio"] = "product" if "product" in entry else "ratio"
    number = entry[by]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{by} must be a number, got {number!r}")
    return Tied(str(entry["to"]), by, float(number))


def faulty_ties(space: Space) -> list[tuple[str, str]]:
    """Return the name and the fault of each tied dimension that is invalid.

    A tie must be to a searched or fixed number, and give a valid value for both of its ends or all of its choices.
    """
    faults = []
    for name, tied in space.items():
        if isinstance(tied, Tied) and (fault := _faulty(name, tied, space)):
            faults.append((name, fault))
    return faults


def _faulty(name: str, tied: Tied, space: Space) -> str | None:
    values = {key: numbers(dimension) for key, dimension in space.items()}
    if not values.get(tied.to):
        return f"cannot be tied to {tied.to!r}, only to a number: {', '.join(key for key in values if values[key])}"
    for value in values[tied.to]:
        found = None if value == 0 else tied.given(value)
        if found not in VALID[name]:
            return f"{tied.to} = {value!r} would give {found!r}; {name} must be in {VALID[name]}"
    return None


def numbers(dimension: Dimension) -> tuple[float, ...]:
    """Return the ends of a range, the choices or the fixed value, as far as they are numbers; none if tied."""
    match dimension:
        case Float(low, high) | Int(low, high):
            return low, high
        case Choice(values):
            found = values
        case Fixed(value):
            found = (value,)
        case Tied():
            found = ()
    return tuple(value for value in found if isinstance(value, int | float) and not isinstance(value, bool))


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"bounds must be finite, got low {low!r} and high {high!r}")
    if not low < high:
        raise ValueError(f"low must be less than high, got low {low!r} and high {high!r}")
    if not math.isfinite(high - low):
        raise ValueError(f"high minus low must be finite, got low {low!r} and high {high!r}")
    if log and low <= 0:
        raise ValueError(f"a log range must have low above 0, got {low!r}")
