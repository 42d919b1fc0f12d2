"""Bayesian optimisation with BoTorch: a Gaussian process of the objective, and the points where it promises most.

The model is BoTorch's `SingleTaskGP` with its priors (Hvarfner et al. 2024); the acquisition function is the logarithm
of the expected improvement (Ament et al. 2023).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from botorch.acquisition.analytic import _log_ei_helper
from botorch.generation.gen import gen_candidates_scipy
from botorch.models import SingleTaskGP
from scipy.optimize import minimize
from scipy.stats import qmc
from torch import Tensor

from studies.design.cube import Cube, Numbers
from studies.design.space import Choice, Float, Int
from trainers.hyperparameters import Value

RAW = 512  # points with which the search for the best one begins
STARTS = 16  # of these points, those that it climbs from
STARTS_EACH = 4  # starts at most with the same values in all dimensions of few values
APART = 0.1  # least distance of two such starts, in diagonals of the other dimensions' cube
ROUNDS = (
    2  # of changing one value of the dimensions of few values, if these have more combinations than starts
)
NOISE = (
    0.01,
    100.0,
)  # range of its standard deviation, in the objectives' own; BoTorch infers none below the first
LEAST_VARIANCE = 1e-12  # of a difference
FLAT = 1e-8  # standard deviation of objectives, relative to the largest, below which they count as equal


Acquisition = Callable[[Tensor], Tensor]


def proposals(
    space: Mapping[str, Float | Int | Choice],
    told: Sequence[Mapping[str, Value]],
    objectives: Sequence[float],
    variance: float | None,
    seed: int,
) -> Iterator[dict[str, Value]]:
    """Propose points of the space, the most promising first, given the points `told` and their `objectives`.

    Objectives are maximised. `variance` is the variance of their noise; None to infer it. A point that was told may be
    proposed again.
    """
    cube = Cube(space)
    x = torch.from_numpy(cube.features(cube.coordinates(told)))
    model = fitted(x, *scaled(np.array(objectives), variance))
    peaks = Peaks(cube, improvement(model, x))
    sobol = qmc.Sobol(len(space), scramble=True, rng=np.random.default_rng(seed))
    raw = peaks.ordered(cube.spread(sobol.random(RAW)))
    best = peaks.climbed(raw)
    for _ in range(ROUNDS if cube.combinations > STARTS else 0):
        best = peaks.climbed(peaks.ordered(np.concatenate([best[:1], cube.neighbours(best[0])])))
    return map(cube.point, chain(best, raw))


def scaled(objectives: Numbers, variance: float | None) -> tuple[Tensor, Tensor | None]:
    """Scale objectives (points,) to mean 0 and variance 1, those below Tukey's fence put on it; and noise variances."""
    unit = float(np.abs(objectives).max()) or 1.0
    y = objectives / unit
    low, high = np.percentile(y, 25, method="lower"), np.percentile(y, 75, method="higher")
    y = np.maximum(y, low - 1.5 * (high - low))
    deviation = float(y.std(ddof=1)) if len(y) > 1 else 0.0
    deviation = deviation if deviation > FLAT else 1.0
    values = torch.from_numpy((y - y.mean()) / deviation)
    if variance is None:
        return values, None
    noise = min(max(variance**0.5 / unit / deviation, NOISE[0]), NOISE[1])
    return values, torch.full_like(values, noise**2)


def fitted(x: Tensor, y: Tensor, variances: Tensor | None) -> SingleTaskGP:
    """Fit the most probable Gaussian process of `y` (points,) at `x` (points, features), as BoTorch would."""
    noise = None if variances is None else variances[:, None]
    model = SingleTaskGP(x, y[:, None], noise, outcome_transform=None)
    kernel, features = model.covar_module, x.shape[1]
    start = [0.0, *kernel.lengthscale.flatten().tolist()]
    bounds = [(None, None)] + features * [(float(kernel.raw_lengthscale_constraint.lower_bound), None)]
    if variances is None:
        inferred = model.likelihood.noise_covar
        start.append(inferred.noise.item())
        bounds.append((float(inferred.raw_noise_constraint.lower_bound), None))
    found = minimize(loss(model, variances), start, jac=True, method="L-BFGS-B", bounds=bounds).x
    model.mean_module.constant = float(found[0])
    kernel.lengthscale = torch.from_numpy(found[1 : features + 1])
    if variances is None:
        inferred.noise = float(found[-1])
    return model.eval()


def loss(model: SingleTaskGP, variances: Tensor | None) -> Callable[[Numbers], tuple[float, Numbers]]:
    """Return a function of the model's numbers: minus its log posterior density per point, and the gradient.

    The numbers are the constant mean, the features' lengthscales and, if `variances` is None, the noise's variance.
    gpytorch's `ExactMarginalLogLikelihood` is the same up to a constant, and many times slower.
    """
    (x,), y = model.train_inputs, model.train_targets
    squares, points, features = (x[:, None] - x).square(), len(x), x.shape[1]
    priors = features * [model.covar_module.lengthscale_prior]
    if variances is None:
        priors.append(model.likelihood.noise_covar.noise_prior)
    loc, scale = torch.tensor([[float(p.loc), float(p.scale)] for p in priors], dtype=torch.float64).T

    def value(numbers: Numbers) -> tuple[float, Numbers]:
        mean, *_ = theta = torch.from_numpy(numbers)
        lengthscales, logs = theta[1 : features + 1], theta[1:].log()
        signal = torch.exp(-0.5 * (squares @ lengthscales.pow(-2)))
        noise = theta[-1].expand(points) if variances is None else variances
        root = torch.linalg.cholesky(signal + noise.diag())
        inverse = torch.cholesky_inverse(root)
        weights = inverse @ (y - mean)
        slope = torch.empty_like(theta)
        slope[0] = -weights.sum()
        by_covariance = 0.5 * (inverse - weights.outer(weights))
        by_squares = (by_covariance * signal).flatten() @ squares.flatten(0, 1)
        slope[1 : features + 1] = by_squares * lengthscales.pow(-3)
        if variances is None:
            slope[-1] = by_covariance.trace()
        slope[1:] += ((logs - loc) / scale**2 + 1) / theta[1:]
        total = 0.5 * (y - mean) @ weights + root.diagonal().log().sum()
        total += (0.5 * ((logs - loc) / scale) ** 2 + logs).sum()
        return total.item() / points, slope.numpy() / points

    return value


def improvement(model: SingleTaskGP, tried: Tensor) -> Acquisition:
    """Return the log expected improvement of points (points, 1, features) over the best of the points `tried`.

    The best is the point with the highest posterior mean. With noise its true value is unknown too, so the improvement
    is a difference of two normal variables, the more correlated the nearer their points. Against a fixed best value,
    points beside the best one would look promising for ever, as nothing else is as high and as uncertain.
    """
    with torch.no_grad():
        best = tried[model.posterior(tried).mean.argmax()]

    def height(points: Tensor) -> Tensor:
        both = model.posterior(torch.cat([points, best.expand_as(points)], -2)).distribution
        mean, covariance = both.mean, both.covariance_matrix
        variance = covariance[:, 0, 0] + covariance[:, 1, 1] - 2 * covariance[:, 0, 1]
        deviation = variance.clamp_min(LEAST_VARIANCE).sqrt()
        logarithm: Tensor = _log_ei_helper((mean[:, 0] - mean[:, 1]) / deviation) + deviation.log()
        return logarithm

    return height


class Peaks:
    """A search for the highest points of an acquisition function in a cube."""

    def __init__(self, cube: Cube, acquisition: Acquisition) -> None:
        self._cube, self._acquisition = cube, acquisition

    def ordered(self, coordinates: Numbers) -> Numbers:
        """Sort points (points, dimensions), the highest first."""
        with torch.no_grad():
            heights = self._acquisition(torch.from_numpy(self._cube.features(coordinates))[:, None])
        return coordinates[np.argsort(-heights.numpy(), kind="stable")]

    def climbed(self, ordered: Numbers) -> Numbers:
        """Return the peaks above the highest points, found by moving only coordinates of ranges; the highest first."""
        starts = ordered[self._starts(ordered)]
        if not self._cube.ranges:
            return starts
        features = torch.from_numpy(self._cube.features(starts))
        moved, width = self._cube.range_features, features.shape[1]
        fixed = {column: features[:, column] for column in range(width) if column not in moved}
        with warnings.catch_warnings(
            record=True
        ):  # hides, past any filter, that searches end early: their points are good
            ends, _ = gen_candidates_scipy(
                features[:, None],
                self._acquisition,
                torch.zeros(width),
                torch.ones(width),
                fixed_features=fixed or None,
            )
        starts[:, self._cube.ranges] = ends[:, 0, moved].numpy()
        return self.ordered(self._cube.coordinates([self._cube.point(end) for end in starts]))

    def _starts(self, ordered: Numbers) -> list[int]:
        """Return the positions of the highest points that lie far enough apart."""
        few, ranges = ordered[:, self._cube.few], ordered[:, self._cube.ranges]
        apart = APART * np.sqrt(len(self._cube.ranges))
        free, found = np.ones(len(ordered), bool), list[int]()
        while free.any() and len(found) < STARTS:
            found.append(int(free.argmax()))
            same = (few == few[found[-1]]).all(1)
            near = np.linalg.norm(ranges - ranges[found[-1]], axis=1) < apart
            free &= ~(same & (near | (same[found].sum() >= STARTS_EACH)))
            free[found[-1]] = False
        return found
