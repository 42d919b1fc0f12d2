import warnings

import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood

from studies.design.bayesian import NOISE, Peaks, fitted, improvement, loss, proposals, scaled
from studies.design.cube import Cube
from studies.design.space import Choice, Float, Int

LINE = {"x": Float(0.0, 1.0)}


@pytest.fixture(autouse=True)
def _quiet():
    """Silence BoTorch's warnings about its data, for example about objectives that are all equal."""
    with warnings.catch_warnings(action="ignore"):
        yield


def data(points, features, seed=0):
    """Return points in the unit cube and standardised noisy values of a wavy function there."""
    generator = np.random.default_rng(seed)
    x = generator.random((points, features))
    y = np.sin(4 * x).sum(1) + 0.1 * generator.standard_normal(points)
    return torch.from_numpy(x), scaled(y, None)[0]


def modelled(x, y, variances):
    model = SingleTaskGP(
        x, y[:, None], None if variances is None else variances[:, None], outcome_transform=None
    )
    return model, ExactMarginalLogLikelihood(model.likelihood, model)


VARIANCES = [None, torch.linspace(0.01, 0.1, 12, dtype=torch.float64)]


@pytest.mark.parametrize("variances", VARIANCES, ids=["inferred", "told"])
@pytest.mark.parametrize("features", [1, 3, 6])
def test_the_loss_is_gpytorchs(features, variances):
    x, y = data(12, features)
    model, mll = modelled(x, y, variances)
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    ours, differences = loss(model, variances), []
    for seed in range(5):
        numbers = np.random.default_rng(seed).uniform(0.05, 2, sum(sizes))
        mean, lengthscales = numbers[0], numbers[1 : features + 1]
        model.mean_module.constant = float(mean)
        model.covar_module.lengthscale = torch.from_numpy(lengthscales)
        if variances is None:
            model.likelihood.noise_covar.noise = float(numbers[-1])
        model.zero_grad()
        theirs = -mll(model(x), model.train_targets)
        theirs.backward()
        slopes = {name: p.grad.flatten() for name, p in model.named_parameters()}
        order = ["mean_module.raw_constant", "covar_module.raw_lengthscale"]
        order += ["likelihood.noise_covar.raw_noise"] if variances is None else []
        value, slope = ours(numbers)
        np.testing.assert_allclose(slope, torch.cat([slopes[name] for name in order]), rtol=1e-6, atol=1e-6)
        differences.append(theirs.item() - value)
    assert np.ptp(differences) < 1e-6


@pytest.mark.parametrize("variances", VARIANCES, ids=["inferred", "told"])
def test_the_fit_is_botorchs(variances):
    x, y = data(12, 2)
    model, mll = modelled(x, y, variances)
    fit_gpytorch_mll(mll)
    there = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = fitted(x, y, variances).posterior(there), model.posterior(there)
    torch.testing.assert_close(ours.mean, theirs.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.variance, theirs.variance, rtol=1e-2, atol=1e-4)


def test_scaled():
    y, variances = scaled(np.array([1.0, 2.0, 3.0, 4.0, -1e6]), 0.01)
    # by hand: the quartiles are 1 and 3, so the fence is at -2
    cut = np.array([1.0, 2.0, 3.0, 4.0, -2.0])
    np.testing.assert_allclose(y, (cut - cut.mean()) / cut.std(ddof=1))
    np.testing.assert_allclose(variances, 0.01 / cut.var(ddof=1))


@pytest.mark.parametrize("objectives", [[0.3], [0.1] * 7, [0.0, 0.0], [1e308, -1e308, 0.0], [1e-300, 2e-300]])
def test_scaled_is_finite(objectives):
    for variance in (None, 1e-300, 0.1, 1e300):
        y, variances = scaled(np.array(objectives), variance)
        assert y.isfinite().all()
        assert y.abs().max() <= 2
        assert variances is None or (NOISE[0] ** 2 <= variances.min() <= variances.max() <= NOISE[1] ** 2)


@pytest.mark.parametrize("space", [LINE, LINE | {"s": Choice((False, True))}, LINE | {"n": Int(1, 500)}])
def test_the_first_proposal_is_where_a_fine_grid_is_highest(space):
    told = [{"x": u, "s": u > 0.5, "n": int(1 + 499 * u)} for u in (0.0, 0.35, 0.8, 1.0)]
    told = [{name: point[name] for name in space} for point in told]
    objectives = [0.1, 0.9, 0.4, 0.0]
    first = next(proposals(space, told, objectives, None, 0))
    cube = Cube(space)
    x = torch.from_numpy(cube.features(cube.coordinates(told)))
    model = fitted(x, *scaled(np.array(objectives), None))
    acquisition = improvement(model, x)
    with torch.no_grad():
        sides = np.meshgrid(*(np.linspace(0, 1, 201) for _ in space))
        grid = cube.spread(np.stack([side.ravel() for side in sides], 1))
        highest = acquisition(torch.from_numpy(cube.features(grid))[:, None]).max()
        found = acquisition(torch.from_numpy(cube.features(cube.coordinates([first])))[:, None])
    assert found >= highest - 1e-3


def test_improvement_is_botorchs_where_there_is_no_noise():
    x, y = data(8, 2)
    model = fitted(x, y, torch.full_like(y, 1e-6))
    there = torch.rand(40, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = LogExpectedImprovement(model, model.posterior(x).mean.max())
        torch.testing.assert_close(improvement(model, x)(there), theirs(there), rtol=2e-2, atol=1e-2)


def test_improvement_is_what_draws_from_the_model_improve_by():
    x, y = data(8, 2)
    model = fitted(x, y, torch.full_like(y, 0.2))
    there = torch.rand(10, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        best = x[model.posterior(x).mean.argmax()]
        joint = model.posterior(torch.cat([there[:, 0], best[None]])).distribution
        normal = torch.distributions.MultivariateNormal(joint.mean, joint.covariance_matrix)
        torch.manual_seed(0)
        draws = normal.sample(torch.Size([200_000]))
        drawn = (draws[:, :-1] - draws[:, -1:]).clamp_min(0).mean(0)
        torch.testing.assert_close(improvement(model, x)(there).exp(), drawn, rtol=0.03, atol=1e-4)


def test_beside_the_best_noisy_point_there_is_little_to_gain():
    x, y = data(8, 2)
    model = fitted(x, y, torch.full_like(y, 0.2))
    with torch.no_grad():
        best = x[model.posterior(x).mean.argmax()]
        height = improvement(model, x)
        beside = height((best + 1e-4)[None, None])
        assert beside < height(torch.rand(20, 1, 2, dtype=torch.float64)).median() - 1
        number = LogExpectedImprovement(model, model.posterior(x).mean.max())
        assert beside < number((best + 1e-4)[None, None]) - 3


def test_every_switch_is_climbed_from():
    """Each combination of two switches has its peak elsewhere; the best is found although the others are broader."""
    space = LINE | {"a": Choice((False, True)), "b": Choice((False, True))}
    cube = Cube(space)

    def acquisition(x):
        place, a, b = x[:, 0].T
        sharp = a * (1 - b)
        return -((0.1 + 10 * sharp) * (place - 0.2 * a - 0.4 * b - 0.2)).square() + 0.01 * sharp

    spread = cube.spread(np.random.default_rng(0).random((64, 3)))
    peaks = Peaks(cube, acquisition)
    best = cube.point(peaks.climbed(peaks.ordered(spread))[0])
    assert best == {"x": pytest.approx(0.4, abs=1e-3), "a": True, "b": False}


def test_a_choice_of_many_among_others_is_found():
    space = LINE | {name: Choice(tuple(range(9))) for name in "abc"}
    target = {"x": 0.3, "a": 7, "b": 2, "c": 5}
    told = [{name: d.at(float(u)) for (name, d), u in zip(space.items(), row, strict=True)}
            for row in np.random.default_rng(0).random((60, 4))]  # fmt: skip

    def height(point):
        return -sum((point[name] - target[name]) ** 2 / (1 if name == "x" else 64) for name in space)

    first = next(proposals(space, told, [height(point) for point in told], None, 0))
    assert height(first) > max(map(height, told))
    assert height(first) > -0.02


def test_points_told_twice_and_noise():
    told = [{"x": u} for u in (0.1, 0.1, 0.1, 0.5, 0.9, 0.9)]
    objectives = [0.0, 1.0, 0.5, 0.6, 0.4, 0.4]
    for variance in (None, 0.0001, 0.25):
        assert 0 <= next(proposals(LINE, told, objectives, variance, 0))["x"] <= 1


def test_what_is_told_of_the_noise_is_believed():
    """Two points that differ by one standard deviation of the noise differ less in the model than without noise."""
    x = torch.tensor([[0.2], [0.25], [0.8]], dtype=torch.float64)
    means = []
    for variance in (1e-6, 1.0):
        model = fitted(x, *scaled(np.array([0.0, 1.0, 0.5]), variance))
        low, high, _ = model.posterior(x).mean.flatten().tolist()
        means.append(high - low)
    assert means[0] > 1.5
    assert means[1] < 0.5
