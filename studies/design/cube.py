"""A search space as a cube of numbers, for a Gaussian process."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from studies.design.space import Choice, Float, Int, points
from trainers.hyperparameters import Value

FEW = 32  # up to so many whole numbers are tried one by one, more of them as a range
MOST = 1024  # up to so many points are all tried

Numbers = NDArray[np.float64]


class Cube:
    """The searched dimensions of a space, with its points as coordinates and as features.

    A coordinate is a quantile in [0, 1] in a dimension that is a range, and the value's position in a dimension of few
    values. Distances are taken in features, each in [0, 1]: quantiles of ranges and of few whole numbers, scaled ranks
    of listed values, and one column per value, 1 for the value chosen, in a list of more than two words.
    """

    def __init__(self, space: Mapping[str, Float | Int | Choice]) -> None:
        self._space = space
        self._tables = [_table(dimension) for dimension in space.values()]
        self.few = [column for column, table in enumerate(self._tables) if table is not None]
        self.ranges = [column for column, table in enumerate(self._tables) if table is None]

    @cached_property
    def range_features(self) -> list[int]:
        """The columns of the features that are quantiles of ranges, in order."""
        widths = [1 if table is None else table.shape[1] for table in self._tables]
        return [sum(widths[:column]) for column in self.ranges]

    @property
    def combinations(self) -> int:
        """The number of combinations of values in the dimensions of few values."""
        return math.prod(len(table) for table in self._tables if table is not None)

    def coordinates(self, chosen: Sequence[Mapping[str, Value]]) -> Numbers:
        """Return the coordinates of points of the space: (points, dimensions)."""
        rows = [[_coordinate(d, point[name]) for name, d in self._space.items()] for point in chosen]
        return np.array(rows, np.float64).reshape(len(chosen), len(self._space))

    def point(self, coordinates: Numbers) -> dict[str, Value]:
        """Return the point of the space at, or nearest to, coordinates (dimensions,)."""
        return {
            name: _value(dimension, float(coordinate))
            for (name, dimension), coordinate in zip(self._space.items(), coordinates, strict=True)
        }

    def features(self, coordinates: Numbers) -> Numbers:
        """Convert coordinates (points, dimensions) to features (points, features)."""
        parts = [
            coordinates[:, [column]] if table is None else table[coordinates[:, column].astype(int)]
            for column, table in enumerate(self._tables)
        ]
        return np.hstack(parts)

    def spread(self, quantiles: Numbers) -> Numbers:
        """Return the coordinates of points at `quantiles` (points, dimensions), or of all points of a small space."""
        if not self.ranges and points(self._space) <= MOST:
            sizes = [len(table) for table in self._tables if table is not None]
            return np.indices(sizes).reshape(len(sizes), -1).T.astype(np.float64)
        coordinates = quantiles.copy()
        for column, table in enumerate(self._tables):
            if table is not None:
                coordinates[:, column] = np.minimum(coordinates[:, column] * len(table), len(table) - 1) // 1
        return coordinates

    def neighbours(self, coordinates: Numbers) -> Numbers:
        """Return the point (dimensions,) with one dimension of few values at a time set to each of its values."""
        found = []
        for column in self.few:
            table = self._tables[column]
            assert table is not None
            rows = np.repeat(coordinates[None], len(table), 0)
            rows[:, column] = np.arange(len(table))
            found.append(rows)
        return np.concatenate(found)


def _table(dimension: Float | Int | Choice) -> Numbers | None:
    """Return the features (values, columns) of a dimension of few values; None for a range."""
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
