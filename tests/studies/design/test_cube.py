import numpy as np
import pytest

from studies.design.cube import Cube
from studies.design.methods import METHODS
from studies.design.space import Choice, Float, Int, searched

SPACE = {
    "rate": Float(1e-4, 1.0, log=True),
    "rule": Choice(("none", "linear", "cosine")),
    "switch": Choice((True, False)),
    "size": Choice((64, 16, 32)),
    "layers": Int(2, 5),
    "epochs": Int(1, 1000, log=True),
}


def test_features_are_quantiles_ranks_and_columns():
    cube = Cube(SPACE)
    point = {"rate": 1e-2, "rule": "linear", "switch": True, "size": 32, "layers": 3, "epochs": 10}
    coordinates = cube.coordinates([point])
    assert coordinates.tolist() == [pytest.approx([0.5, 1, 0, 2, 1, 1 / 3])]
    assert cube.features(coordinates).tolist() == [pytest.approx([0.5, 0, 1, 0, 1, 0.5, 1 / 3, 1 / 3])]
    assert (cube.ranges, cube.range_features, cube.few) == ([0, 5], [0, 7], [1, 2, 3, 4])
    assert cube.combinations == 3 * 2 * 3 * 4
    assert cube.point(coordinates[0]) == point | {"rate": pytest.approx(1e-2)}


@pytest.mark.parametrize(
    "space", [SPACE, *(searched(method.space) for method in METHODS.values() if method.space)]
)
def test_points_of_the_cube_are_points_of_the_space(space):
    cube = Cube(space)
    quantiles = np.vstack([np.random.default_rng(0).random((50, len(space))), np.eye(len(space))])
    spread = cube.spread(quantiles)
    features = cube.features(spread)
    assert features.min() >= 0
    assert features.max() <= 1
    for coordinates in spread:
        point = cube.point(coordinates)
        assert all(point[name] in dimension for name, dimension in space.items())
        again = cube.point(cube.coordinates([point])[0])
        for name, value in point.items():
            assert again[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_every_whole_number_comes_back():
    for dimension in (Int(1, 1000, log=True), Int(-500, 500), Int(0, 5), Int(2**40, 2**40 + 100)):
        cube = Cube({"n": dimension})
        for value in range(dimension.low, dimension.high + 1):
            assert cube.point(cube.coordinates([{"n": value}])[0]) == {"n": value}


def test_a_small_space_is_spread_out_whole():
    cube = Cube({"a": Choice(("x", "y", "z")), "b": Int(1, 4), "c": Choice((False, True))})
    found = [tuple(cube.point(row).values()) for row in cube.spread(np.zeros((5, 3)))]
    assert len(found) == len(set(found)) == 3 * 4 * 2


def test_neighbours_differ_in_one_value_of_few():
    cube = Cube(SPACE)
    here = cube.spread(np.full((1, len(SPACE)), 0.4))[0]
    near = cube.neighbours(here)
    assert len(near) == 3 + 2 + 3 + 4
    assert ((near != here).sum(1) <= 1).all()
    assert len(np.unique(near, axis=0)) == len(near) - 3  # the point itself, once per dimension
