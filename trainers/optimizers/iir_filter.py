"""Any linear filter of the gradient: binary weights are minus the sign of its output (Quist 2023, eq 14)."""

import cmath
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.optimizers.filtering import Filtering
from trainers.optimizers.scalars import within
from trainers.optimizers.signs import write_signs
from trainers.schedules import Progress


class Filter(NamedTuple):
    """A filter b(z) / a(z) as polynomials in (z - 1) / speed, highest power first, a's first coefficient 1.

    The filters of interest are slow: their poles are close to z = 1, and rounded coefficients in z would lose this
    distance (in float32, at order 4 and a cut-off of 0.002 or less, the filter would not be stable).
    """

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    speed: float


@lru_cache(maxsize=256)
def butterworth(cutoff: float, order: int) -> Filter:
    """Return the low-pass filter of `scipy.signal.butter(order, cutoff)`; at a cut-off of 0 it holds its output."""
    speed = math.tan(math.pi * cutoff / 2)
    denominator = [1.0 + 0j]
    for k in range(order):
        direction = cmath.exp(1j * math.pi * (2 * k + order + 1) / (2 * order))
        pole = 2 * direction / (1 - speed * direction)  # (z - 1) / speed of the bilinear transform's pole
        denominator = [
            high - pole * low for high, low in zip([*denominator, 0], [0, *denominator], strict=True)
        ]
    real = tuple(c.real for c in denominator)
    # (z + 1)^order, scaled to pass a constant unchanged
    numerator = (real[-1] * math.comb(order, k) * (speed / 2) ** (order - k) for k in range(order + 1))
    return Filter(tuple(numerator), real, speed)


@lru_cache(maxsize=256)
def difference_equation(b: tuple[float, ...], a: tuple[float, ...]) -> Filter:
    """Return the filter of Quist 2023, eq 14. Raises ValueError if its coefficients are unusable or it is unstable."""
    if not all(map(math.isfinite, (*b, *a))) or not a or not b or a[0] == 0:
        raise ValueError(f"a filter needs finite coefficients and a[0] other than 0, got b = {b}, a = {a}")
    radius = max(map(abs, np.roots(a).tolist()), default=0.0)
    if radius >= 1:
        raise ValueError(
            f"the filter with a = {a} is not stable: it has a pole at radius {radius:g}, not below 1"
        )
    order = max(len(b), len(a), 2) - 1
    numerator, denominator = (
        _shift([c / a[0] for c in (*cs, *[0.0] * (order + 1 - len(cs)))]) for cs in (b, a)
    )
    return Filter(numerator, denominator, speed=1.0)


def _shift(coefficients: Sequence[float]) -> tuple[float, ...]:
    """Rewrite a polynomial in z, highest power first, as one in z - 1."""
    order = len(coefficients) - 1
    return tuple(
        math.fsum(c * math.comb(order - i, power) for i, c in enumerate(coefficients) if power <= order - i)
        for power in range(order, -1, -1)
    )


def iir_step(
    thetas: list[Tensor], gradients: list[Tensor], states: list[list[Tensor]], filter: Filter
) -> None:
    """Take one step in place: y <- the filter's output for the gradient, theta <- -sign(y); where y = 0, theta stays.

    The transposed direct form with sums instead of delays: y = n0 x + s1, s_k <- s_k + speed (n_k x - d_k y + s_(k+1)).
    `states` holds a list for every s_k. All lists have the same length, and tensors at the same index the same shape.
    """
    (first, *numerator), (_, *denominator), speed = filter
    ys = torch._foreach_add(states[0], gradients, alpha=within(first, gradients))
    for k, (s, n, d) in enumerate(zip(states, numerator, denominator, strict=True), start=1):
        torch._foreach_add_(s, gradients, alpha=within(speed * n, gradients))
        torch._foreach_add_(s, ys, alpha=within(-speed * d, gradients))
        if k < len(states):
            torch._foreach_add_(s, states[k], alpha=within(speed, gradients))
    write_signs(thetas, list(ys), direction=-1)


@lru_cache(maxsize=256)
def noise_gain(filter: Filter) -> float:
    """Return the output's standard deviation for independent inputs of standard deviation 1.

    The states s of `iir_step` change by speed (M s + B x). Their covariance P is the solution of
    M P + P M' + speed M P M' + speed B B' = 0, which is well posed however slow the filter is.
    """
    (first, *numerator), (_, *denominator), speed = filter
    order = len(denominator)
    m = np.eye(order, k=1)
    m[:, 0] -= denominator
    b = np.array(numerator) - np.array(denominator) * first
    one = np.eye(order)
    equations = np.kron(m, one) + np.kron(one, m) + speed * np.kron(m, m)
    covariance = np.linalg.solve(equations, -speed * np.outer(b, b).ravel())
    return math.sqrt(first**2 + covariance[0])


class IIRFilter(Filtering):
    """Optimizer of binary weights by the sign of the gradient after a linear filter; the first signs are random.

    The filter is a Butterworth low-pass of `order` 1 to 4. Half the power passes at its `cutoff` in (0, 1), a share of
    half the sampling rate: the smaller, the longer the memory. Its states are scaled so that it slows down to a stop as
    a schedule takes the cut-off down to 0. With cut-off and order None, it is any stable filter, given by the
    `coefficients` (b, a) of Quist 2023, eq 14.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("cutoff", "order")
    may_be_none: ClassVar[tuple[str, ...]] = ("cutoff", "order")
    decayed: ClassVar[str] = "cutoff"

    def __init__(
        self,
        params: Iterable[Any],
        cutoff: float | None = None,
        order: int | None = None,
        *,
        coefficients: tuple[Sequence[float], Sequence[float]] | None = None,
        decay: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        self.beginning = {"coefficients": coefficients}
        super().__init__(params, cutoff, order, decay=decay, generator=generator)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        cutoff, order, coefficients = (
            param_group.get(name, self.defaults[name]) for name in ("cutoff", "order", "coefficients")
        )
        given = [value is not None for value in (cutoff, order)]
        if given != [coefficients is None] * 2:
            raise ValueError(
                f"a filter needs either cutoff and order or coefficients, got {cutoff}, {order}, {coefficients}"
            )
        if coefficients is not None:
            if len(coefficients) != 2:
                raise ValueError(f"coefficients must be two lists, b and a, got {coefficients}")
            b, a = (tuple(map(float, cs)) for cs in coefficients)
            difference_equation(b, a)
            param_group["coefficients"] = b, a
        super().add_param_group(param_group)

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        if group["cutoff"] is not None:
            super().move(group, progress)

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return tuple(f"s{k}" for k in range(1, len(self.filter(group).denominator)))

    def steady(self, group: dict[str, Any]) -> tuple[float, ...]:
        (first, *numerator), (_, *denominator), _ = self.filter(group)
        if numerator[-1] == 0:
            return (0.0,) * len(numerator)  # such a filter blocks constants
        gradient = denominator[-1] / numerator[-1]  # the constant one for an output of 1
        rest = (d - n * gradient for n, d in zip(numerator[:-1], denominator[:-1], strict=True))
        return 1 - first * gradient, *rest

    def noise_gain(self, group: dict[str, Any]) -> float:
        return noise_gain(self.filter(group))

    def filter(self, group: dict[str, Any]) -> Filter:
        if group["coefficients"] is not None:
            return difference_equation(*group["coefficients"])
        return butterworth(group["cutoff"], group["order"])

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        iir_step(thetas, gradients, buffers, self.filter(group))
