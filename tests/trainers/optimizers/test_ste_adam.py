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
    """Paren & Poudel 2021, eq 4 with Adam's step; the latent weight is an ordinary parameter of torch."""
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
