import numpy as np
import pytest
import torch
from scipy.signal import butter, freqz, lfilter

from trainers.optimizers import GradientFilter, IIRFilter
from trainers.optimizers.iir_filter import butterworth, difference_equation
from trainers.schedules import Progress

STEPS = 300
CASCADE = [0.02 * 0.1, 0, 0], [1, (0.02 - 1) + (0.1 - 1), (0.02 - 1) * (0.1 - 1)]  # Quist 2023, eq 16


def gradients(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return noise about a mean per weight; some weights have no gradient at first."""
    generator = torch.Generator().manual_seed(seed)
    mean = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    result = mean + torch.randn(STEPS, *shape, generator=generator, dtype=torch.float64)
    result[:20, ::3] = 0
    return result


def signs(xs: torch.Tensor, filtered: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the signs of Quist 2023, eq 13 with its rule for 0, step by step."""
    theta, result = start.copy(), []
    for y in filtered:
        theta = np.where(y > 0, -1.0, np.where(y < 0, 1.0, theta))
        result.append(theta)
    return np.array(result)


def parameter(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(60, dtype=dtype, requires_grad=True)


def run(optimizer: IIRFilter | GradientFilter, theta: torch.Tensor, xs: torch.Tensor) -> np.ndarray:
    result = []
    for x in xs:
        theta.grad = x.to(theta.dtype)
        optimizer.step()
        result.append(theta.detach().numpy().copy())
    return np.array(result)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("cutoff", [1e-3, 0.03, 0.4, 0.9])
def test_is_scipys_butterworth_filter(cutoff: float, order: int) -> None:
    xs, theta = gradients((60,)), parameter()
    optimizer = IIRFilter([theta], cutoff, order)
    start = theta.detach().numpy().copy()
    filtered = lfilter(*butter(order, cutoff), xs.numpy(), axis=0)
    np.testing.assert_array_equal(run(optimizer, theta, xs), signs(xs, filtered, start))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("cutoff", [1e-6, 1e-3, 0.1, 0.9])
def test_half_the_power_passes_at_the_cutoff(cutoff: float, order: int) -> None:
    numerator, denominator, speed = butterworth(cutoff, order)
    z = np.exp(1j * np.pi * cutoff)
    response = np.polyval(numerator, (z - 1) / speed) / np.polyval(denominator, (z - 1) / speed)
    assert abs(response) ** 2 == pytest.approx(0.5, rel=1e-8)
    assert numerator[-1] / denominator[-1] == pytest.approx(1, rel=1e-12)  # a constant passes unchanged


@pytest.mark.parametrize(
    ("b", "a"),
    [
        CASCADE,
        ([0.2, 0.1, 0.05, 0.01], [1.0, -0.4]),  # looks further back at inputs than at outputs
        ([0.5], [2.0, -1.0, 0.3, 0.1]),
        ([0.25, 0.25, 0.25, 0.25], [1.0]),  # a moving average: nothing recursive
        ([1.0], [1.0]),
        ([0.0, 1.0], [1.0, 0.5]),
    ],
)
def test_is_equation_14(b: list[float], a: list[float]) -> None:
    xs, theta = gradients((60,)), parameter()
    optimizer = IIRFilter([theta], coefficients=(b, a))
    start = theta.detach().numpy().copy()
    ys: list[np.ndarray] = []
    for i in range(STEPS):
        y = sum(b[p] * xs[i - p].numpy() for p in range(len(b)) if p <= i)
        y = y - sum(a[q] * ys[i - q] for q in range(1, len(a)) if q <= i)
        ys.append(y / a[0])
    assert np.abs(np.array(ys)[25:]).min() > 1e-9  # no sign depends on rounding
    np.testing.assert_array_equal(run(optimizer, theta, xs)[25:], signs(xs, np.array(ys), start)[25:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_with_the_cascades_coefficients_it_is_the_gradient_filter(dtype: torch.dtype) -> None:
    xs, first, second = gradients((60,)), parameter(dtype), parameter(dtype)
    iir = IIRFilter([first], coefficients=CASCADE, generator=torch.Generator().manual_seed(0))
    ema = GradientFilter([second], alpha=0.02, gamma=0.1, generator=torch.Generator().manual_seed(0))
    flips = np.abs(np.diff(run(iir, first, xs), axis=0)).sum() / 2
    np.testing.assert_array_equal(first.detach(), run(ema, second, xs)[-1])
    assert flips > 100


def test_slow_filters_do_not_drown_in_float32() -> None:
    """The plain difference equation's coefficients would round to an unstable filter here."""
    cutoff, order = 3e-5, 4
    a = butter(order, cutoff)[1].astype(np.float32)
    assert abs(np.roots(a.astype(np.float64))).max() > 1
    xs, single, double = gradients((60,)), parameter(torch.float32), parameter()
    ours = [IIRFilter([theta], cutoff, order) for theta in (single, double)]
    for optimizer, theta in zip(ours, (single, double), strict=True):
        run(optimizer, theta, xs)
    one, other = (o.state[t]["s1"].double() for o, t in zip(ours, (single, double), strict=True))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_the_filter_slows_down_with_its_cutoff_and_holds_at_zero() -> None:
    xs, theta = gradients((60,)), parameter()
    optimizer = IIRFilter([theta], 0.05, 3, decay="cosine")
    for i, x in enumerate(xs):
        optimizer.schedule(Progress(i, STEPS, 10))
        theta.grad = x
        before = optimizer.state[theta]["s1"].clone() if i else 0
        optimizer.step()
    last = optimizer.state[theta]["s1"]
    assert (last - before).abs().max() < 1e-4 * last.abs().mean()
    optimizer.param_groups[0]["cutoff"] = 0.0
    held = last.clone(), theta.detach().clone()
    run(optimizer, theta, xs[:5])
    assert torch.equal(optimizer.state[theta]["s1"], held[0])
    assert torch.equal(theta, held[1])


def test_response_is_scipys() -> None:
    numerator, denominator, speed = difference_equation(*map(tuple, butter(2, 0.2)))
    frequencies, expected = freqz(*butter(2, 0.2), worN=50)
    x = (np.exp(1j * frequencies) - 1) / speed
    np.testing.assert_allclose(
        np.polyval(numerator, x) / np.polyval(denominator, x), expected, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    ("b", "a", "message"),
    [
        ([1.0], [1.0, -1.0], "not stable: it has a pole at radius 1, not below 1"),
        ([1.0], [1.0, -2.5, 1.0], "not stable: it has a pole at radius 2, not below 1"),
        ([1.0], [0.0, 1.0], "finite coefficients and a\\[0\\] other than 0"),
        ([float("nan")], [1.0], "finite coefficients"),
        ([1.0], [], "finite coefficients"),
    ],
)
def test_what_is_no_stable_filter_is_refused(b: list[float], a: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IIRFilter([parameter()], coefficients=(b, a))


def test_coefficients_are_two_lists() -> None:
    with pytest.raises(ValueError, match=r"coefficients must be two lists, b and a, got \(\[1\.0\],\)"):
        IIRFilter([parameter()], coefficients=([1.0],))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [{}, {"cutoff": 0.1}, {"order": 2}, {"cutoff": 0.1, "order": 2, "coefficients": CASCADE}]
)
def test_a_filter_is_given_in_one_way(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a filter needs either cutoff and order or coefficients"):
        IIRFilter([parameter()], **values)  # type: ignore[arg-type]


def test_coefficients_are_kept_with_the_state() -> None:
    theta, twin = parameter(), parameter()
    optimizer = IIRFilter([theta], coefficients=CASCADE)
    other = IIRFilter([twin], 0.1, 2)
    run(optimizer, theta, gradients((60,))[:5])
    other.load_state_dict(optimizer.state_dict())
    with torch.no_grad():
        twin.copy_(theta)
    np.testing.assert_array_equal(
        run(optimizer, theta, gradients((60,), seed=1)), run(other, twin, gradients((60,), seed=1))
    )
