import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from trainers.data import DATASETS
from trainers.layers.binary import StraightThrough, partition
from trainers.models import MODELS
from trainers.optimizers import GradientFilter, LatentSGD
from trainers.schedules import factor

STEPS = 150
PLAIN = {"initial_magnitude": 0.0, "scaling": False, "clipping": False}


class Reference(nn.Module):
    """Bi-Real Net's layer as in its authors' code: a latent parameter, the rest by autograd."""

    def __init__(self, w: torch.Tensor, scaling: bool, clipping: bool) -> None:
        super().__init__()
        self.w, self.scaling, self.clipping = nn.Parameter(w.clone()), scaling, clipping

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.w.abs().mean(1, keepdim=True).detach() if self.scaling else 1.0
        binary = scale * torch.sign(self.w)
        passed = self.w.clamp(-1, 1) if self.clipping else self.w
        return nn.functional.linear(StraightThrough.apply(x), binary.detach() - passed.detach() + passed)


@pytest.mark.parametrize(("scaling", "clipping"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_is_the_latent_weight_network_under_autograd(scaling: bool, clipping: bool, decay: str) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(STEPS, 16, 12, generator=generator, dtype=torch.float64)
    teacher = torch.randn(6, 12, generator=generator, dtype=torch.float64).sign()
    targets = torch.randn(STEPS, 16, 6, generator=generator, dtype=torch.float64) + inputs.sign() @ teacher.T
    learning_rate, gamma, weight_decay = 0.08, 0.2, 0.01
    theta = torch.zeros(6, 12, dtype=torch.float64, requires_grad=True)
    optimizer = LatentSGD(
        [theta], learning_rate, 1.5, gamma, weight_decay, scaling, clipping, generator=generator
    )
    reference = Reference(optimizer.state[theta]["w"], scaling, clipping)
    momentum = torch.zeros_like(reference.w)
    flipped, clipped = 0, 0
    for i in range(STEPS):
        epsilon = learning_rate * factor(decay, i, STEPS)
        loss = (reference(inputs[i]) - targets[i]).square().mean() * 6
        reference.zero_grad()
        loss.backward()
        assert reference.w.grad is not None
        before = reference.w.detach().sign()
        clipped += int((reference.w.abs() > 1).sum())
        with torch.no_grad():
            momentum = (1 - gamma) * momentum + gamma * reference.w.grad
            reference.w -= epsilon * (momentum + weight_decay * reference.w)
        flipped += int((before != reference.w.sign()).sum())

        optimizer.param_groups[0]["learning_rate"] = epsilon
        theta.grad = None
        output = nn.functional.linear(StraightThrough.apply(inputs[i]), theta)
        ((output - targets[i]).square().mean() * 6).backward()
        optimizer.step()
        torch.testing.assert_close(optimizer.state[theta]["w"], reference.w.detach(), rtol=1e-9, atol=1e-12)
        scale = reference.w.detach().abs().mean(1, keepdim=True) if scaling else 1.0
        torch.testing.assert_close(theta.detach(), scale * reference.w.detach().sign(), rtol=1e-9, atol=1e-12)
    assert flipped > 20
    assert clipped > 20  # clipping has an effect


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize(("learning_rate", "weight_decay"), [(1.0, 0.01), (1e-3, 10.0), (0.5, 0.015625)])
def test_is_the_gradient_filter_with_alpha_epsilon_lambda(
    learning_rate: float, weight_decay: float, decay: str
) -> None:
    """Quist 2023, eqs 3-13 and figure 7: without scaling and clipping, start at zero, alpha = epsilon lambda."""
    shape, gamma, steps = (40, 25), 0.1, 200
    generator = torch.Generator().manual_seed(5)
    mean = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    latent, filtered = (torch.zeros(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    sgd = LatentSGD(
        [latent], learning_rate, gamma=gamma, weight_decay=weight_decay, generator=seeded(2), **PLAIN
    )
    ema = GradientFilter([filtered], alpha=learning_rate * weight_decay, gamma=gamma, generator=seeded(2))
    assert torch.equal(latent, filtered)
    start, flips = latent.detach().clone(), 0
    for i in range(steps):
        epsilon = learning_rate * factor(decay, i, steps)
        sgd.param_groups[0]["learning_rate"] = epsilon
        ema.param_groups[0]["alpha"] = epsilon * weight_decay
        before = latent.detach().clone()
        latent.grad = filtered.grad = mean + torch.randn(shape, generator=generator, dtype=torch.float64)
        sgd.step()
        ema.step()
        assert torch.equal(latent, filtered), i
        flips += int((before != latent).sum())
    assert flips > 500
    assert not torch.equal(start, latent)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("magnitude", [0.0, 0.3])
def test_starts_uniform(magnitude: float) -> None:
    theta, other = torch.zeros(200, 100, requires_grad=True), torch.zeros(9, requires_grad=True)
    optimizer = LatentSGD([theta, other], 0.1, magnitude, 0.1, 0.0, False, False, generator=seeded(0))
    w = optimizer.state[theta]["w"]
    assert w.abs().max() <= magnitude
    assert set(theta.unique().tolist()) == {-1.0, 1.0}
    assert abs(theta.detach().mean()) < 0.04
    if magnitude:
        assert torch.equal(theta, w.sign())
        assert abs(w.std() - magnitude / math.sqrt(3)) < 0.01 * magnitude  # uniform in [-s, s]
    twins = torch.zeros(200, 100, requires_grad=True), torch.zeros(9, requires_grad=True)
    GradientFilter(twins, alpha=0.1, gamma=0.1, generator=seeded(0))
    assert torch.equal(theta, twins[0])  # a seed gives the same signs to both optimizers
    assert torch.equal(other, twins[1])


def test_a_seed_draws_the_same_for_every_type() -> None:
    drawn = []
    for kind in (torch.float32, torch.float64):
        theta = torch.zeros(30, 20, dtype=kind, requires_grad=True)
        optimizer = LatentSGD([theta], 0.1, 0.3, 0.1, 0.0, True, False, generator=seeded(0))
        drawn.append(optimizer.state[theta]["w"])
        assert drawn[-1].dtype == kind
    assert torch.equal(drawn[0].double(), drawn[1])


def test_scaled_zeros_keep_their_sign() -> None:
    theta = torch.zeros(4, 50, requires_grad=True)
    optimizer = LatentSGD([theta], 0.5, 0.0, 1.0, 0.0, True, False, generator=seeded(0))
    assert theta.abs().max() == 0  # mean magnitude 0
    signs = theta.signbit()
    assert signs.any()
    assert not signs.all()
    theta.grad = torch.zeros_like(theta)
    theta.grad[0, 0] = -2.0
    optimizer.step()
    assert theta[0, 0] == 1 / 50  # w = 1, its channel's mean |w|
    assert torch.equal(theta.signbit()[1:], signs[1:])
    assert theta[0, 1:].abs().unique().tolist() == pytest.approx([1 / 50])
    assert torch.equal(theta.signbit()[0, 1:], signs[0, 1:])


def test_clipping_stops_gradients_past_one_only() -> None:
    theta = torch.zeros(1, 3, requires_grad=True)
    optimizer = LatentSGD([theta], 0.5, 0.0, 1.0, 0.0, False, True)
    optimizer.state[theta]["w"].copy_(torch.tensor([[1.0, 1.5, -1.5]]))
    theta.grad = torch.full((1, 3), -1.0)
    optimizer.step()
    assert optimizer.state[theta]["w"].tolist() == [[1.5, 1.5, -1.5]]
    assert theta.tolist() == [[1, 1, -1]]


def run_network(
    optimizer: type[GradientFilter] | type[LatentSGD],
    data: tuple[torch.Tensor, torch.Tensor],
    **values: object,
) -> Mapping[str, torch.Tensor]:
    """Train the task's network in float64 for 60 steps, all decays cosine, and return its state."""
    inputs, targets = data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS["audio-mlp"](tuple(inputs.shape[1:]), 10, width=32).double()
    binary, real = partition(model)
    ours = optimizer(binary, **values, generator=seeded(7))  # type: ignore[arg-type]
    sgd = torch.optim.SGD(real, lr=0.1, momentum=0.9)
    start, steps = ours.param_groups[0][ours.decayed], 60
    for i in range(steps):
        ours.param_groups[0][ours.decayed] = start * factor("cosine", i, steps)
        sgd.param_groups[0]["lr"] = 0.1 * factor("cosine", i, steps)
        batch = torch.arange(i * 50, i * 50 + 50) % len(inputs)
        model.zero_grad()
        cross_entropy(model(inputs[batch]), targets[batch]).backward()
        ours.step()
        sgd.step()
    return model.state_dict()


def test_both_train_the_spoken_digits_network_to_the_same_weights(spoken_digits: Path) -> None:
    train = DATASETS["spoken-digits"].load(spoken_digits, 0).train
    data = train.inputs.double(), train.targets
    # lambda is a power of two: one cascade is a multiple of the other, exact to the last bit
    latent = run_network(LatentSGD, data, learning_rate=0.5, weight_decay=0.03125, gamma=0.1, **PLAIN)
    filtered = run_network(GradientFilter, data, alpha=0.5 * 0.03125, gamma=0.1)
    initial = run_network(GradientFilter, data, alpha=1e-300, gamma=1e-300)
    assert latent.keys() == filtered.keys()
    for name, value in latent.items():
        np.testing.assert_array_equal(value.numpy(), filtered[name].numpy(), err_msg=name)
    assert any(not torch.equal(value, initial[name]) for name, value in latent.items())
