import numpy as np
import pytest
import torch

from trainers.optimizers import Bop, FirstOrderFilter, SecondOrderBop
from trainers.schedules import Progress, factor

STEPS = 200
SHAPE = (9, 7)


def gradients(seed: int = 0) -> torch.Tensor:
    """Return noise about a mean per weight; some weights have no gradient at first, one never."""
    generator = torch.Generator().manual_seed(seed)
    mean = 0.3 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    result = mean + torch.randn(STEPS, *SHAPE, generator=generator, dtype=torch.float64)
    result[:20].flatten(1)[:, ::3] = 0
    result.flatten(1)[:, 0] = 0
    return result


def parameter(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(SHAPE, dtype=dtype, requires_grad=True)


def test_first_steps_by_hand() -> None:
    theta = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = Bop([theta], gamma=0.5, tau=1.0)
    with torch.no_grad():
        theta.copy_(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    for gradient, m, expected in [
        ([2, 2, 1, 0], [1, 1, 0.5, 0], [-1, -1, 1, 1]),  # flips at the threshold, only with the same sign
        ([-3, 0, 4, 0], [-1, 0.5, 2.25, 0], [1, -1, -1, 1]),
        ([-9, -9, 9, 0], [-5, -4.25, 5.625, 0], [1, 1, -1, 1]),
    ]:
        theta.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert optimizer.state[theta]["m"].tolist() == m
        assert theta.tolist() == expected


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize("tau_decay", ["none", "linear"])
@pytest.mark.parametrize("second_order", [False, True])
def test_is_the_rule_weight_by_weight(decay: str, tau_decay: str, second_order: bool) -> None:
    """Nayak 2020, eqs 1 and 2, with sign(w) for sign(m_(t-1)); m / sqrt(v) as in Paren & Poudel 2021, section 3.3."""
    gamma, sigma, tau = 0.1, 0.05, 0.15 if second_order else 0.2
    xs, theta = gradients(), parameter()
    options = {"decay": decay, "tau_decay": tau_decay}
    optimizer = (
        SecondOrderBop([theta], gamma, sigma, tau, **options)  # type: ignore[arg-type]
        if second_order
        else Bop([theta], gamma, tau, **options)  # type: ignore[arg-type]
    )
    weights = theta.detach().numpy().copy()
    m, v, flips = np.zeros(SHAPE), np.zeros(SHAPE), 0
    for t in range(STEPS):
        gamma_t, tau_t = gamma * factor(decay, t, STEPS), tau * factor(tau_decay, t, STEPS)
        for i in np.ndindex(SHAPE):
            g = float(xs[t][i])
            m[i] = (1 - gamma_t) * m[i] + gamma_t * g
            v[i] = (1 - sigma) * v[i] + sigma * g * g
            size = abs(m[i])
            if second_order:
                size = size / np.sqrt(v[i]) if v[i] else 0.0
            if m[i] != 0 and size >= tau_t and np.sign(m[i]) == weights[i]:
                weights[i] = -weights[i]
                flips += 1
        optimizer.schedule(Progress(t, STEPS, 10))
        theta.grad = xs[t]
        optimizer.step()
        np.testing.assert_array_equal(theta.detach().numpy(), weights)
    assert flips > 50


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_without_a_threshold_it_is_the_first_order_filter(dtype: torch.dtype, decay: str) -> None:
    xs = gradients()
    thetas = [parameter(dtype) for _ in range(3)]
    seeds = [torch.Generator().manual_seed(3) for _ in range(3)]
    optimizers = (
        Bop([thetas[0]], 0.1, 0.0, decay=decay, generator=seeds[0]),
        SecondOrderBop([thetas[1]], 0.1, 0.1, 0.0, decay=decay, generator=seeds[1]),
        FirstOrderFilter([thetas[2]], 0.1, decay=decay, generator=seeds[2]),
    )
    start = thetas[0].detach().clone()
    for t in range(STEPS):
        for theta, optimizer in zip(thetas, optimizers, strict=True):
            optimizer.schedule(Progress(t, STEPS, 10))
            theta.grad = xs[t].to(dtype)
            optimizer.step()
        assert torch.equal(thetas[0], thetas[2])
        assert torch.equal(thetas[1], thetas[2])
    assert not torch.equal(start, thetas[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tau", [1e-8, 0.1, 0.25])
def test_a_threshold_just_reached_flips(dtype: torch.dtype, tau: float) -> None:
    wide = torch.promote_types(dtype, torch.float32)
    reached = torch.tensor(tau, dtype=wide)
    short = torch.nextafter(reached, torch.zeros((), dtype=wide))
    theta = torch.zeros(2, dtype=dtype, requires_grad=True)
    optimizer = Bop([theta], gamma=1.0, tau=tau)
    optimizer.state[theta]["m"] = torch.stack([reached, short])
    with torch.no_grad():
        theta.fill_(1)
    optimizer.param_groups[0]["gamma"] = 0.0  # keeps the averages
    theta.grad = torch.zeros_like(theta)
    optimizer.step()
    assert theta.tolist() == [-1, 1]


def test_second_order_does_not_depend_on_the_gradients_scale() -> None:
    xs, thetas = gradients(), [parameter(), parameter()]
    optimizers = [
        SecondOrderBop([theta], 0.1, 0.05, 0.2, generator=torch.Generator().manual_seed(0))
        for theta in thetas
    ]
    for x in xs:
        for theta, optimizer, scale in zip(thetas, optimizers, (1.0, 2.0**-20), strict=True):
            theta.grad = x * scale
            optimizer.step()
    assert torch.equal(*thetas)
