"""A search space as a cube of numbers, which a Gaussian process can be told."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from studies.design.space import Choice, Float, Int, points
from trainers.hyperparameters import Value

FEW = 32  # whole numbers are looked at one by one, more of them as a range
MOST = 1024  # points are looked at one by one

Numbers = NDArray[np.float64]


class Cube:
    """The searched dimensions of a space, whose points are told as coordinates and as features.

    A coordinate is the quantile, in [0, 1], of a number in a range, and the position of a value among few. Features
    are what distances are taken in, each in [0, 1]: quantiles, ranks of few numbers, and of values without an order
    one column each, 1 for the value that it is.
    """

    def __init__(self, space: Mapping[str, Float | Int | Choice]) -> None:
        self._space = space
        self._tables = [_table(dimension) for dimension in space.values()]
        self.few = [column for column, table in enumerate(self._tables) if table is not None]
        self.ranges = [column for column, table in enumerate(self._tables) if table is None]

    @cached_property
    def range_features(self) -> list[int]:
        """The features that are quantiles of ranges, in order."""
        widths = [1 if table is None else table.shape[1] for table in self._tables]
        return [sum(widths[:column]) for column in self.ranges]

    @property
    def combinations(self) -> int:
        """How many there are of the values of which there are few."""
        return math.prod(len(table) for table in self._tables if table is not None)

    def coordinates(self, chosen: Sequence[Mapping[str, Value]]) -> Numbers:
        """The coordinates of points of the space: (points, dimensions)."""
        rows = [[_coordinate(d, point[name]) for name, d in self._space.items()] for point in chosen]
        return np.array(rows, np.float64).reshape(len(chosen), len(self._space))

    def point(self, coordinates: Numbers) -> dict[str, Value]:
        """The point of the space at coordinates (dimensions,), or the nearest one."""
        return {
            name: _value(dimension, float(coordinate))
            for (name, dimension), coordinate in zip(self._space.items(), coordinates, strict=True)
        }

    def features(self, coordinates: Numbers) -> Numbers:
        """(points, dimensions) to (points, features)."""
        parts = [
            coordinates[:, [column]] if table is None else table[coordinates[:, column].astype(int)]
            for column, table in enumerate(self._tables)
        ]
        return np.hstack(parts)

    def spread(self, quantiles: Numbers) -> Numbers:
        """Coordinates of points that lie as `quantiles` (points, dimensions) do; of all points where they are few."""
        if not self.ranges and points(self._space) <= MOST:
            sizes = [len(table) for table in self._tables if table is not None]
            return np.indices(sizes).reshape(len(sizes), -1).T.astype(np.float64)
        coordinates = quantiles.copy()
        for column, table in enumerate(self._tables):
            if table is not None:
                coordinates[:, column] = np.minimum(coordinates[:, column] * len(table), len(table) - 1) // 1
        return coordinates

    def neighbours(self, coordinates: Numbers) -> Numbers:
        """The points that differ from one (dimensions,) in one of the values of which there are few."""
        found = []
        for column in self.few:
            table = self._tables[column]
            assert table is not None
            rows = np.repeat(coordinates[None], len(table), 0)
            rows[:, column] = np.arange(len(table))
            found.append(rows)
        return np.concatenate(found)


def _table(dimension: Float | Int | Choice) -> Numbers | None:
    """Features (values, columns) of a dimension of few values; None of a range."""
    match dimension:
        case Choice(values) if isinstance(values[0], str) and len(values) > 2:
            return np.eye(len(values))
        case Choice(values):
            ranks = np.argsort(np.argsort(np.array(values)))
            return ranks[:, None] / (len(values) - 1)
        case Int(low, high) if high - low < FEW:
            return np.array([[_in_range(dimension).quantile(value)] for value in range(low, high + 1)])
    return None


def _coordinate(dimension: Float | Int | Choice, value: Value) -> float:
    match dimension:
        case Choice(values):
            return values.index(value)
        case Int(low, high) if high - low < FEW:
            return int(value) - low
    return min(max(_in_range(dimension).quantile(float(value)), 0.0), 1.0)


def _value(dimension: Float | Int | Choice, coordinate: float) -> Value:
    match dimension:
        case Choice(values):
            return values[int(coordinate)]
        case Int(low, high) if high - low < FEW:
            return low + int(coordinate)
        case Int(low, high):
            return min(max(round(_in_range(dimension).at(coordinate)), low), high)
    return dimension.at(coordinate)


def _in_range(dimension: Float | Int) -> Float:
    return Float(dimension.low, dimension.high, dimension.log) if isinstance(dimension, Int) else dimension
