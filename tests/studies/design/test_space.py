import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from studies.design.methods import METHODS
from studies.design.space import Choice, Fixed, Float, Int, bound, parse, points, searched, to_json
from trainers.hyperparameters import VALID


@pytest.mark.parametrize(
    ("dimension", "u", "value"),
    [
        (Float(-1.0, 3.0), 0.25, 0.0),
        (Float(1e-4, 1.0, log=True), 0.5, 1e-2),
        (Int(1, 3), 0.0, 1),
        (Int(1, 3), 0.5, 2),
        (Int(1, 3), 1.0, 3),
        (Choice(("a", "b", "c")), 0.34, "b"),
        (Choice((False, True)), 1.0, True),
        (Fixed(0.1), 0.7, 0.1),
    ],
)
def test_value_at_a_quantile(dimension, u, value):
    assert dimension.at(u) == pytest.approx(value)


@given(
    st.sampled_from(
        [Float(1e-6, 1.0, log=True), Float(-2.0, 5.0), Int(1, 100, log=True), Int(0, 3), Choice((1, 2, 4))]
    ),
    st.floats(0, 1),
)
def test_every_quantile_is_inside(dimension, u):
    assert dimension.at(u) in dimension


@given(
    st.floats(5e-324, sys.float_info.max),
    st.floats(5e-324, sys.float_info.max),
    st.booleans(),
    st.floats(0, 1),
)
@example(0.1, math.nextafter(0.1, 1), True, 0.5)
@example(5e-324, sys.float_info.max, True, 1 - 2**-53)
def test_any_range_runs_from_bound_to_bound_and_back(a, b, log, u):
    if a == b:
        return
    dimension = Float(*sorted((a, b)), log)
    assert (dimension.at(0.0), dimension.at(1.0)) == (dimension.low, dimension.high)
    assert (dimension.quantile(dimension.low), dimension.quantile(dimension.high)) == (0.0, 1.0)
    value = dimension.at(u)
    assert value in dimension
    assert 0 <= dimension.quantile(value) <= 1


@pytest.mark.parametrize("dimension", [Float(1e-6, 1.0, log=True), Float(2.0, 5.0), Float(1e-5, 1e200)])
def test_a_quantile_is_the_value_the_other_way_round(dimension):
    assert [dimension.quantile(dimension.at(u)) for u in (0.1, 0.5, 0.7)] == pytest.approx([0.1, 0.5, 0.7])


def test_whole_numbers_are_equally_likely():
    counts = [0, 0, 0]
    for i in range(3000):
        counts[Int(1, 3).at((i + 0.5) / 3000) - 1] += 1
    assert counts == [1000, 1000, 1000]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Float(1.0, 0.5), "low must be less than high, got low 1.0 and high 0.5"),
        (lambda: Float(0.0, 0.5, log=True), "log range must have low above 0, got 0.0"),
        (lambda: Float(0.0, math.inf), "finite"),
        (lambda: Float(math.nan, 1.0), "finite"),
        (lambda: Float(-1e308, 1e308), "high minus low must be finite"),
        (lambda: Int(3, 3), "low must be less than high"),
        (lambda: Choice((1,)), "at least two"),
        (lambda: Choice((1, 1)), "differ"),
        (lambda: Choice((1, "a")), "one type"),
    ],
)
def test_impossible_dimensions_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("learning_rate", {"low": 1e-3}, Float(1e-3, 10.0, log=True)),
        ("learning_rate", {"low": 0.5, "high": 1, "log": False}, Float(0.5, 1.0)),
        ("learning_rate", 1, Fixed(1.0)),
        ("learning_rate", [0.1, 0.2], Choice((0.1, 0.2))),
        ("learning_rate", [1, 0.2], Choice((1.0, 0.2))),
        ("learning_rate", [0.1], Fixed(0.1)),
        ("clipping", False, Fixed(False)),
    ],
)
def test_an_entry_narrows_the_default(name, entry, expected):
    default = METHODS["latent-sgd"].space[name]
    assert parse(name, entry, default) == expected
    assert parse(name, to_json(expected), default) == expected


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("learning_rate", {"low": 2.0, "high": 1.0}, "low must be less than high, got low 2.0 and high 1.0"),
        ("learning_rate", {"lo": 2.0}, "unknown key lo; a range has high, log, low"),
        ("learning_rate", {"low": True}, "low must be a number, got True"),
        ("learning_rate", {"log": "yes"}, "log must be true or false, got 'yes'"),
        ("learning_rate", -1.0, r"-1.0 is out of range; learning_rate must be in \(0, inf\)"),
        (
            "learning_rate",
            None,
            "must be a value, a list of values, or a mapping with low, high and log, got None",
        ),
        ("gamma", {"high": 2.0}, r"2.0 is out of range; gamma must be in \(0, 1\]"),
        ("scaling", "maybe", r"'maybe' is out of range; scaling must be in \{false, true\}"),
        ("scaling", 1, "1 is out of range"),
        ("scaling", {"low": 0}, "is a range; give a value or a list of values, such as"),
    ],
)
def test_a_bad_entry_is_refused_with_its_value(name, entry, message):
    with pytest.raises(ValueError, match=message):
        parse(name, entry, METHODS["latent-sgd"].space[name])


def test_default_spaces_are_valid_and_counted():
    assert {name: len(searched(method.space)) for name, method in METHODS.items()} == {
        "gradient-filter": 2,
        "latent-sgd": 6,
        "gradient-filter-first-order": 1,
        "iir-filter": 2,
        "latent-sgd-magnitude-independent": 4,
        "ste-adam": 5,
        "bop": 2,
        "bop-second-order": 3,
        "mirror-descent": 2,
        "proxquant-l1": 2,
        "proxquant-l2": 2,
        "bnew": 2,
        "real-valued": 0,
    }
    for method in METHODS.values():
        for name, dimension in method.known.items():
            assert all(dimension.at(u) in VALID[name] for u in (0.0, 0.5, 1.0))


def test_points_of_a_space():
    assert points({}) == points({"a": Fixed(1.0)}) == 1
    assert points({"a": Choice((1, 2, 4)), "b": Int(3, 7), "c": Fixed(True)}) == 15
    assert points({"a": Choice((1, 2, 4)), "b": Float(0.0, 1.0)}) == math.inf


@pytest.mark.parametrize(
    ("dimension", "value", "end"),
    [
        (Float(1e-6, 1.0, log=True), 1e-6, "low"),
        (Float(1e-6, 1.0, log=True), 1.14e-6, "low"),  # within 1 % of six decades
        (Float(1e-6, 1.0, log=True), 1.2e-6, None),
        (Float(1e-6, 1.0, log=True), 0.9, "high"),
        (Float(0.0, 1.0), 0.9, None),
        (Float(0.0, 1e308), 1e308, "high"),
        (Float(0.0, 1e308), 1e307, None),
        (Float(5e-324, 1e-323), 5e-324, "low"),
        (Float(0.1, math.nextafter(0.1, 1), log=True), 0.1, "low"),
        (Int(1, 4), 1, "low"),
        (Int(1, 4), 3, None),
        (Int(1, 4), 4, "high"),
        (Choice((1, 2)), 1, None),
        (Fixed(0.5), 0.5, None),
    ],
)
def test_what_lies_at_an_end_of_its_range(dimension, value, end):
    assert bound(dimension, value) == end
