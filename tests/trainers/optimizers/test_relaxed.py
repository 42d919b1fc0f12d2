"""Mirror descent, ProxQuant and BNEW against Paren & Poudel 2021, their three phases and their limits."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

import studies
from studies.design.spec import load
from trainers.optimizers import OPTIMIZERS, STEAdam
from trainers.optimizers.proximal import prox_bnew, prox_l1, prox_l2
from trainers.schedules import Progress, factor
from trainers.training.stages import stages

SHAPE, STEPS, STEPS_AN_EPOCH = (6, 5), 160, 8
RATE = {
    "mirror-descent": "beta_rate",
    "proxquant-l1": "lambda_rate",
    "proxquant-l2": "lambda_rate",
    "bnew": "lambda_rate",
}
every = pytest.mark.parametrize("name", RATE)


def gradients(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = 0.2 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    return mean + torch.randn(STEPS, *SHAPE, generator=generator, dtype=torch.float64)


def build(name: str, learning_rate: float, rate: float, **options: Any) -> tuple[Any, torch.Tensor]:
    theta = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(5)
    return OPTIMIZERS[name]([theta], learning_rate, rate, generator=generator, **options), theta


def used(name: str, w: float, beta: float) -> float:
    return math.tanh(beta * w) if name == "mirror-descent" else w


def pulled(name: str, w: float, strength: float) -> float:
    """Return `w`, moved by Adam, after the method's own step: Paren & Poudel 2021, eqs 4, 9 and 12, as in its code."""
    s = 1.0 if w >= 0 else -1.0
    match name:
        case "mirror-descent":
            x = w
        case "proxquant-l1":
            x = w + s * strength
        case "proxquant-l2":
            x = (w + strength * s) / (1 + strength)
        case _:
            x = (1 + 2 * strength) * w
    return min(max(x, -1.0), 1.0)


@every
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize("pretraining", [0.0, 0.25])
def test_is_the_papers_training_weight_by_weight(name: str, decay: str, pretraining: float) -> None:
    learning_rate, rate = 0.02, 1.4 if name == "mirror-descent" else 0.03
    optimizer, theta = build(
        name, learning_rate, rate, decay=decay, pretraining=pretraining, fine_tuning=0.25
    )
    xs = gradients()
    weights = optimizer.state[theta]["w"].numpy().copy()
    m, v = np.zeros(SHAPE), np.zeros(SHAPE)
    begin, freeze = int(pretraining * STEPS), int(0.75 * STEPS)
    start = np.sign(weights)
    for t in range(STEPS):
        optimizer.schedule(Progress(t, STEPS, STEPS_AN_EPOCH))
        # what the forward pass of step t sees
        beta = rate ** (max(0, t - begin) / STEPS_AN_EPOCH)
        for i in np.ndindex(SHAPE):
            expected = math.copysign(1, weights[i]) if t >= freeze else used(name, weights[i], beta)
            assert float(theta.detach()[i]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        eta = learning_rate * factor(decay, t, STEPS)
        epochs = (STEPS - begin) // STEPS_AN_EPOCH
        strength = rate * ((t - begin) // STEPS_AN_EPOCH + 1) / epochs if t >= begin else 0.0
        if t < freeze:
            for i in np.ndindex(SHAPE):
                g = float(xs[t][i])
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g * g
                update = (m[i] / (1 - 0.9 ** (t + 1))) / (math.sqrt(v[i] / (1 - 0.999 ** (t + 1))) + 1e-8)
                weights[i] = pulled(name, weights[i] - eta * update, strength)
        theta.grad = xs[t]
        optimizer.step()
    np.testing.assert_allclose(optimizer.state[theta]["w"].numpy(), weights, rtol=1e-9, atol=1e-12)
    assert set(theta.flatten().tolist()) == {-1.0, 1.0}
    assert (np.sign(weights) != start).any()


@pytest.mark.parametrize(
    ("study", "weight", "epochs", "steps", "full"),
    [
        ("table1-cifar10-reactnet20", 1e-4, 1000, 352, 256),
        ("table1-cifar100-reactnet20-distilled", 1e-4, 1000, 352, 256),
        ("table2", 1e-6, 401, 5824, 398),
    ],
)
def test_bnew_takes_as_long_as_the_authors_code(
    study: str, weight: float, epochs: int, steps: int, full: int
) -> None:
    """As the study file says, a weight of 0.1 without a gradient is 1 after epoch 256 on CIFAR and 398 on ImageNet,
    before its signs are frozen, at any learning rate."""
    spec = load(Path(studies.__file__).parent / f"specs/paren2021/{study}.yaml")
    arm = spec.arm("bnew")
    recipe = spec.proxy_of(arm).of(spec.task_of(arm)).recipe
    _, stage = stages(recipe, "bnew", {name: value.at(0.0) for name, value in arm.space.items()})
    theta = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
    optimizer: Any = stage.optimizer([theta], **stage.values | {"learning_rate": 1e-300})
    w = optimizer.state[theta]["w"].fill_(0.1)
    for epoch in range(full):
        optimizer.schedule(stage.progress((stage.last_epoch - recipe.epochs + epoch) * steps, steps, 0.0))
        assert w[0, 0] < 1
        strength = optimizer.param_groups[0]["lambda"]
        assert strength == pytest.approx(weight * (epoch + 1) / epochs, rel=1e-7)
        w.mul_((1 + 2 * strength) ** steps)
    assert w[0, 0] >= 1
    assert not optimizer.param_groups[0]["frozen"]


@every
def test_learning_rates_may_start_anew_with_the_fine_tuning(name: str) -> None:
    """Decay is linear over the 6 of 10 steps before it and would be 0 in it; lambda and beta grow as without it."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    grown: dict[bool, list[float]] = {False: [], True: []}
    for restart in rates:
        optimizer, _ = build(
            name, 0.6, 1.5, decay="linear", fine_tuning=0.4, pretraining=0.0, restart=restart
        )
        (group,) = optimizer.param_groups
        for step in range(10):
            optimizer.schedule(Progress(step, 10, 2))
            rates[restart].append(group["learning_rate"])
            grown[restart].append(group.get("lambda", group.get("beta")))
            assert group["frozen"] == (step >= 6)
    assert rates[False] == pytest.approx([0.6 * (1 - step / 10) for step in range(10)])
    assert rates[True][:6] == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert grown[True] == grown[False]
    old, _ = build(name, 0.6, 1.5)
    del old.param_groups[0]["restart"]  # as in an older checkpoint
    old.schedule(Progress(5, 10, 2))


PENALTIES = {
    prox_l1: lambda x, s: 2 * abs(x - s),  # Bai et al. halve the other term
    prox_l2: lambda x, s: (x - s) ** 2,
}


@pytest.mark.parametrize("prox", PENALTIES)
@pytest.mark.parametrize("strength", [0.01, 0.3, 1.0, 5.0])
def test_proximal_operators_minimise_equation_9_in_the_interval(prox: Any, strength: float) -> None:
    points = [-2.2, -1.05, -1.0, -0.9, -0.3, -1e-3, 1e-3, 0.2, 0.97, 1.0, 1.4]
    w = torch.tensor(points, dtype=torch.float64)
    prox([w], strength)
    for point, found in zip(points, w.tolist(), strict=True):
        s = math.copysign(1, point)  # the nearest quantised value
        least = min(
            minimize_scalar(
                lambda x: strength * PENALTIES[prox](x, s) + (x - point) ** 2,  # noqa: B023
                bounds=bounds, method="bounded", options={"xatol": 1e-10},
            ).fun
            for bounds in ((-1, 0), (0, 1))
        )  # fmt: skip
        value = strength * PENALTIES[prox](found, s) + (found - point) ** 2
        assert value <= least + 1e-9


def test_bnews_step_is_the_minimum_of_equation_11_for_small_lambda() -> None:
    eta, w0, gradient = 0.1, torch.linspace(-0.95, 0.95, 20, dtype=torch.float64), 0.7
    for penalty in (1e-2, 1e-3):
        w = w0 - eta * gradient
        prox_bnew([w], eta * penalty)
        grid = torch.linspace(-1, 1, 200001, dtype=torch.float64)
        for start, found in zip(w0, w, strict=True):
            cost = (grid - start) ** 2 / (2 * eta) + gradient * (grid - start) - penalty * grid**2
            assert abs(float(grid[cost.argmin()] - found)) < 2e-5 + (2 * eta * penalty) ** 2 * 2


@pytest.mark.parametrize("prox", [prox_l1, prox_l2, prox_bnew])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_an_infinite_lambda_only_signs_are_left(prox: Any, dtype: torch.dtype) -> None:
    w = torch.randn(1000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    signs = w.sign()
    prox([w], 1e30)
    assert torch.equal(w, signs)


@pytest.mark.parametrize("name", ["proxquant-l1", "proxquant-l2"])
def test_proxquant_at_an_infinite_lambda_is_adam_from_sign_to_sign(name: str) -> None:
    optimizer, theta = build(name, 0.9, 1e30, pretraining=0.0, decay="none")
    m = v = torch.zeros(SHAPE, dtype=torch.float64)
    weights, flips = None, 0
    for t, x in enumerate(gradients()[:100], start=1):
        optimizer.schedule(Progress(t, 10**6, 1))
        before = optimizer.state[theta]["w"].clone()
        theta.grad = x
        optimizer.step()
        m, v = 0.9 * m + 0.1 * x, 0.999 * v + 0.001 * x**2
        update = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        weights = (before - 0.9 * update).sign()
        assert torch.equal(theta, weights)
        flips += int((before.sign() != weights).sum())
    assert flips > 5


@pytest.mark.parametrize("name", ["bnew", "proxquant-l1", "proxquant-l2"])
def test_at_lambda_zero_it_is_adam_projected(name: str) -> None:
    optimizer, theta = build(name, 0.05, 0.0)
    latent = torch.nn.Parameter(theta.detach().clone())
    adam = torch.optim.Adam([latent], 0.05, foreach=False)
    past_one = 0
    for t, x in enumerate(gradients()[:120]):
        optimizer.schedule(Progress(t, STEPS, STEPS_AN_EPOCH))
        theta.grad, latent.grad = x.clone(), x.clone()
        optimizer.step()
        adam.step()
        past_one += int((latent.abs() > 1).sum())
        latent.data.clamp_(-1, 1)
        torch.testing.assert_close(theta, latent, rtol=1e-9, atol=1e-12)
    assert past_one > 20


def test_mirror_descent_at_a_large_beta_is_the_straight_through_method() -> None:
    optimizer, theta = build("mirror-descent", 0.05, 1e300)
    latent = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
    ste = STEAdam([latent], 0.05, 0.9, 0.999, 0.0, True, generator=torch.Generator().manual_seed(5))
    assert torch.equal(theta.sign(), latent)
    flips = 0
    for t, x in enumerate(gradients()[:120]):
        optimizer.schedule(Progress(t, 10**6, 1))  # beta is 1 only before the first step
        before = latent.detach().clone()
        theta.grad = latent.grad = x
        optimizer.step()
        ste.step()
        assert torch.equal(theta, latent)
        assert torch.equal(optimizer.state[theta]["w"], ste.state[latent]["w"])
        flips += int((before != latent).sum())
    assert optimizer.param_groups[0]["beta"] == pytest.approx(1e30)
    assert flips > 20


def test_mirror_descent_without_clipping_is_the_public_codes() -> None:
    """Adam moves w by the gradient with respect to tanh(beta w), without clamping."""
    optimizer, theta = build("mirror-descent", 0.05, 1.5, clipping=False, decay="none")
    latent = torch.nn.Parameter(optimizer.state[theta]["w"].clone())
    adam = torch.optim.Adam([latent], 0.05, foreach=False)
    for t, x in enumerate(gradients()[:120]):
        optimizer.schedule(Progress(t, STEPS, STEPS_AN_EPOCH))
        torch.testing.assert_close(theta, torch.tanh(latent.detach() * 1.5 ** (t / STEPS_AN_EPOCH)))
        theta.grad, latent.grad = x.clone(), x.clone()
        optimizer.step()
        adam.step()
    torch.testing.assert_close(optimizer.state[theta]["w"], latent.detach(), rtol=1e-9, atol=1e-12)
    assert (latent.abs() > 1).any()


@every
@pytest.mark.parametrize(("total", "frozen"), [(1, 1), (10, 1), (100, 10)])
def test_signs_are_frozen_for_the_last_share_and_at_least_a_step(name: str, total: int, frozen: int) -> None:
    optimizer, theta = build(name, 1e-3, float(name == "mirror-descent"), fine_tuning=0.1)  # nothing grows
    for t in range(total):
        optimizer.schedule(Progress(t, total, 2))
        before = theta.detach().clone()
        assert bool((before.abs() == 1).all()) == (total - t <= frozen)
        theta.grad = torch.ones(SHAPE, dtype=torch.float64)
        optimizer.step()
        assert torch.equal(theta, before) == (total - t <= frozen)


@every
def test_what_is_scored_is_what_the_training_would_end_with(name: str) -> None:
    optimizer, theta = build(name, 0.05, 1.5)
    theta.grad = gradients()[0]
    optimizer.step()
    held = theta.detach().clone()
    with optimizer.binarised():
        scored = theta.detach().clone()
    assert torch.equal(theta, held)
    with pytest.raises(ZeroDivisionError), optimizer.binarised():
        1 / 0  # noqa: B018
    assert torch.equal(theta, held)
    assert not torch.equal(scored, held)
    optimizer.schedule(Progress(99, 100, 10))
    assert torch.equal(theta, scored)
    with optimizer.binarised():
        assert torch.equal(theta, scored)


@every
def test_without_a_schedule_nothing_grows(name: str) -> None:
    optimizer, theta = build(name, 0.05, 1.5)
    for x in gradients():
        theta.grad = x
        optimizer.step()
    group = optimizer.param_groups[0]
    assert group.get("beta", 1.0) == 1.0
    assert group.get("lambda", 0.0) == 0.0
    assert not group["frozen"]
