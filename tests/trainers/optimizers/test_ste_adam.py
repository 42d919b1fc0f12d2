import itertools
import math

import pytest
import torch

from trainers.optimizers import STEAdam
from trainers.schedules import Progress, factor

STEPS = 150


def gradients(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return mean + torch.randn(STEPS, *shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("clipping", "weight_decay"), list(itertools.product([False, True], [0.0, 0.3])))
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_is_torchs_adam_projected(clipping: bool, weight_decay: float, decay: str) -> None:
    """Paren & Poudel 2021, eq 4 with Adam's step; the latent weight is an ordinary torch parameter."""
    shape, learning_rate = (12, 8), 0.03
    xs = gradients(shape)
    theta = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = STEAdam([theta], learning_rate, 0.8, 0.97, weight_decay, clipping, decay=decay)
    latent = torch.nn.Parameter(optimizer.state[theta]["w"].clone())
    adam = torch.optim.Adam(
        [latent], learning_rate, betas=(0.8, 0.97), weight_decay=weight_decay, foreach=False
    )
    flips = clipped = 0
    for t in range(STEPS):
        optimizer.schedule(Progress(t, STEPS, 10))
        adam.param_groups[0]["lr"] = learning_rate * factor(decay, t, STEPS)
        before = latent.detach().sign()
        latent.grad, theta.grad = xs[t].clone(), xs[t].clone()
        adam.step()
        optimizer.step()
        if clipping:
            clipped += int((latent.abs() > 1).sum())
            latent.data.clamp_(-1, 1)
        flips += int((before != latent.sign()).sum())
        torch.testing.assert_close(optimizer.state[theta]["w"], latent.detach(), rtol=1e-9, atol=1e-12)
        assert torch.equal(theta, latent.sign())
    assert flips > 20
    assert clipped > 20 or not clipping


def test_first_step_by_hand() -> None:
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = STEAdam([theta], 0.25, 0.9, 0.999, 0.0, True)
    optimizer.state[theta]["w"].copy_(torch.tensor([0.1, -0.9, 0.5]))
    theta.grad = torch.tensor([4.0, 1e-3, 0.0], dtype=torch.float64)
    optimizer.step()  # Adam's first step is the learning rate, whatever the gradient's size
    assert optimizer.state[theta]["w"].tolist() == pytest.approx([-0.15, -1.0, 0.5], rel=1e-5)
    assert optimizer.state[theta]["w"][1] == -1
    assert theta.tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("shape", "bound"),
    [
        ((40, 20), math.sqrt(6 / 60)),
        ((16, 8, 3, 3), math.sqrt(6 / (24 * 9))),
        ((300,), math.sqrt(6 / 301)),
        ((), 1.0),
    ],
)
def test_latent_weights_start_glorot_uniform(shape: tuple[int, ...], bound: float) -> None:
    theta = torch.zeros(shape, requires_grad=True)
    optimizer = STEAdam([theta], 0.1, 0.9, 0.999, 0.0, True, generator=torch.Generator().manual_seed(0))
    w = optimizer.state[theta]["w"]
    assert w.abs().max() <= bound
    assert torch.equal(theta, w.sign())
    if w.numel() > 200:
        assert w.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    if w.dim() == 2:
        expected = torch.nn.init.xavier_uniform_(torch.empty(shape))
        assert expected.abs().max() == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("shape", [(12, 8), (6, 5, 3, 3)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_is_reactnets_second_step(shape: tuple[int, ...], weight_decay: float) -> None:
    """Compare with autograd through a clamped latent weight, torch's Adam, and sign times the channel's mean |w|."""
    xs, channel = gradients(shape), tuple(range(1, len(shape)))
    theta = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    options = {"scaling": True, "masking": True, "initial_magnitude": 0.5}
    optimizer = STEAdam([theta], 0.05, 0.9, 0.999, weight_decay, False, **options)
    latent = torch.nn.Parameter(optimizer.state[theta]["w"].clone())
    adam = torch.optim.Adam([latent], 0.05, weight_decay=weight_decay, foreach=False)
    past_one = flips = 0
    for x in xs:
        scale = latent.detach().abs().mean(channel, keepdim=True)
        clamped = latent.clamp(-1, 1)
        used = (scale * latent.detach().sign() - clamped).detach() + clamped
        torch.testing.assert_close(theta, used, rtol=1e-12, atol=1e-12)
        adam.zero_grad()
        (used * x).sum().backward()
        past_one += int((latent.grad[latent.abs() > 1] == 0).sum()) if latent.grad is not None else 0
        before, theta.grad = theta.detach().sign(), x.clone()
        adam.step()
        optimizer.step()
        flips += int((theta.sign() != before).sum())
        torch.testing.assert_close(optimizer.state[theta]["w"], latent.detach(), rtol=1e-9, atol=1e-12)
    assert past_one > 20
    assert flips > 20


@pytest.mark.parametrize(("shape", "fans"), [((12, 8), 20), ((6, 5, 3, 3), 99), ((4, 2, 5, 5), 150)])
def test_glorot_rates_are_those_of_nayaks_code(shape: tuple[int, ...], fans: int) -> None:
    """The rate is multiplied by a quarter of 1 / sqrt(1.5 / (in + out)); w starts up to 1 and is clamped to [-1, 1]."""
    theta = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = STEAdam([theta], 0.03, 0.9, 0.999, 0.0, True, initial_magnitude=1.0, glorot_rates=True)
    latent = torch.nn.Parameter(optimizer.state[theta]["w"].clone())
    assert 0.9 < latent.abs().max() <= 1
    adam = torch.optim.Adam([latent], 0.03 / math.sqrt(1.5 / fans) / 4, foreach=False)
    for x in gradients(shape):
        latent.grad, theta.grad = x.clone(), x.clone()
        adam.step()
        optimizer.step()
        latent.data.clamp_(-1, 1)
        torch.testing.assert_close(optimizer.state[theta]["w"], latent.detach(), rtol=1e-9, atol=1e-12)
        assert torch.equal(theta, latent.sign())
