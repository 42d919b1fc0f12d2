import math

import pytest

from trainers.schedules import DECAYS, factor


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("exponential", [1, 0.1, 0.01, 0.001]),
        ("step", [1, 1, 0.1, 0.01]),
        ("cosine", [1, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]),
    ],
)
def test_factors_by_hand(decay: str, expected: list[float]) -> None:
    assert [factor(decay, step, 4) for step in range(4)] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("decay", DECAYS)
def test_starts_whole_and_never_rises_or_reaches_zero(decay: str) -> None:
    values = [factor(decay, step, 1000) for step in range(1000)]
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0


def test_an_exponential_decay_falls_to_the_end_it_is_given() -> None:
    assert [factor("exponential", step, 2, end=0.25) for step in range(3)] == [1, 0.5, 0.25]
    assert factor("cosine", 1, 2, end=0.25) == factor("cosine", 1, 2)
