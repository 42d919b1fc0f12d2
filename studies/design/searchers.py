"""Searchers: pure functions of the space, the history and a seed that choose the next hyperparameters to try."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard

import numpy as np

from studies.design.space import Choice, Float, Int, Space, Untied, points, searched
from trainers.hyperparameters import Value
from trainers.seeds import derive

AX_NARROWEST = 1.5e-5  # width of a range that Ax takes, in decades if logarithmic
AX_LAST_DECADE = 308  # of a bound: Ax takes ten to the power of a logarithm, which must not overflow
AX_DECADES = (
    0.01,
    76,
)  # width of a logarithmic range: Ax optimises in decades, for minutes if one is 1e6 times wider


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished trial as a searcher sees it; `objective` is None where the trial failed.

    `sem` is the objective's standard error if it is the mean of several trainings; None if that is unknown.
    """

    hyperparameters: dict[str, Value]  # empty if choosing them failed
    objective: float | None
    sem: float | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The next trial's hyperparameters, fixed ones included, and what chose them: sobol, model, random or grid."""

    hyperparameters: dict[str, Value]
    source: str


class Suggest(Protocol):
    """Choose the trial after `history`, all earlier trials of one run in order.

    The same arguments give the same suggestion in any process on the same kind of machine. `seed` belongs to the
    run, not to the trial. No global random state is read or changed.
    """

    def __call__(
        self, space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
    ) -> Suggestion: ...


def suggest_random(
    space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
) -> Suggestion:
    """Independent uniform draws."""
    quantiles = np.random.default_rng(derive(seed, "random", len(history))).random(len(space))
    return Suggestion(
        {name: d.at(float(u)) for (name, d), u in zip(space.items(), quantiles, strict=True)}, "random"
    )


def suggest_sobol(
    space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
) -> Suggestion:
    """The next point of a scrambled Sobol sequence, one sequence per run."""  # noqa: D401  (listed beside the searcher)
    from scipy.stats import qmc

    free = searched(space)
    chosen = {name: d.at(0.0) for name, d in space.items()}
    if free:
        sequence = qmc.Sobol(len(free), scramble=True, rng=np.random.default_rng(derive(seed, "sobol")))
        if history:
            sequence.fast_forward(len(history))
        point = sequence.random(1)[0]
        chosen |= {name: d.at(float(u)) for (name, d), u in zip(free.items(), point, strict=True)}
    return Suggestion(chosen, "sobol")


def suggest_grid(
    space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
) -> Suggestion:
    """Every combination of the listed values in turn; the last list's values vary fastest."""
    free = {name: d.values for name, d in space.items() if isinstance(d, Choice)}
    index, point = len(history), {}
    for name, values in reversed(free.items()):
        index, at = divmod(index, len(values))
        point[name] = values[at]
    return Suggestion({name: d.at(0.0) for name, d in space.items()} | point, "grid")


def suggest_botorch(
    space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
) -> Suggestion:
    """Sobol for `initial_trials`, then Bayesian optimisation: BoTorch's Gaussian process and expected improvement.

    Sobol continues while no trial has succeeded, and so nothing can be modelled, and once every point of a finite space
    has been tried. Otherwise no point is tried twice. A non-finite objective counts as the worst finite one. The
    variance of the objectives' noise is pooled from their standard errors, as single ones from two or three trainings
    say little; without standard errors the model infers it.
    """
    free = searched(space)
    told = _told(free, history, maximize, initial_trials)
    if told is None:
        return suggest_sobol(space, history, seed, maximize=maximize, initial_trials=initial_trials)
    with _quiet():
        from studies.design.bayesian import proposals

    succeeded = [(o.hyperparameters, o.objective) for o in told if o.objective is not None]
    tried = _tried(free, history)
    with _quiet(), _one_thread():
        found = proposals(
            free,
            [hyperparameters for hyperparameters, _ in succeeded],
            [objective if maximize else -objective for _, objective in succeeded],
            _variance(told),
            derive(seed, "botorch", len(history)),
        )
        point = next((point for point in found if tuple(point.values()) not in tried), None)
    if point is None:  # in a finite space of which few points are left untried
        return suggest_sobol(space, history, seed, maximize=maximize, initial_trials=initial_trials)
    chosen = {name: d.at(0.0) for name, d in space.items()}
    return Suggestion(chosen | point, "model")


def suggest_ax(
    space: Untied, history: Sequence[Observation], seed: int, *, maximize: bool, initial_trials: int
) -> Suggestion:
    """Sobol for `initial_trials`, then Bayesian optimisation: Ax's default Gaussian process and acquisition.

    Ax's own first trials are not used: every run would begin at the centre of the space, which tells all runs how the
    bounds were chosen. When Sobol continues, what counts as the worst and how noise is treated are as for `botorch`.
    """
    free = searched(space)
    told = _told(free, history, maximize, initial_trials)
    if told is None:
        return suggest_sobol(space, history, seed, maximize=maximize, initial_trials=initial_trials)
    variance = _variance(told)
    error = math.nan if variance is None else math.sqrt(variance)
    with _quiet():
        import torch
        from ax.api.client import Client
        from ax.core.data import Data, DataRow

    with _quiet(), _one_thread(), torch.random.fork_rng(devices=[]):
        client = Client(random_seed=derive(seed, "ax", len(history)) % 2**32)
        client.configure_experiment(parameters=[_ax_parameter(name, d) for name, d in free.items()])
        client.configure_optimization(objective="objective" if maximize else "-objective")
        client.configure_generation_strategy(
            method="fast", initialization_budget=0, initialize_with_center=False, torch_device="cpu"
        )
        rows = []
        for observation in told:
            index = client.attach_trial(
                {name: _to_ax(d, observation.hyperparameters[name]) for name, d in free.items()}
            )
            if observation.objective is None:
                client.mark_trial_failed(index)
                continue
            trial = client._experiment.trials[index]
            rows.append(
                DataRow(
                    index, trial.arm.name, "objective", "objective", observation.objective, error, math.nan
                )
            )
            trial.mark_completed()
        client._experiment.attach_data(Data(rows))  # one by one, sorting takes a third of the time
        torch.manual_seed(derive(seed, "acquisition", len(history)))
        (point,) = client.get_next_trials(max_trials=1).values()
    chosen = {name: d.at(0.0) for name, d in space.items()}
    return Suggestion(chosen | {name: _from_ax(d, point[name]) for name, d in free.items()}, "model")


@dataclass(frozen=True, slots=True)
class Searcher:
    """A way to choose trials. With a `model`, the model chooses after a run's `initial_trials`.

    An `exhaustive` searcher tries every combination, and needs lists to combine.
    """

    suggest: Suggest
    model: bool
    exhaustive: bool = False

    @property
    def summary(self) -> str:
        return (self.suggest.__doc__ or "").splitlines()[0]


SEARCHERS = {
    "botorch": Searcher(suggest_botorch, model=True),
    "ax": Searcher(suggest_ax, model=True),
    "sobol": Searcher(suggest_sobol, model=False),
    "random": Searcher(suggest_random, model=False),
    "grid": Searcher(suggest_grid, model=False, exhaustive=True),
}


def _told(
    free: Space, history: Sequence[Observation], maximize: bool, initial_trials: int
) -> list[Observation] | None:
    """Return the trials with hyperparameters, their objectives made finite, for a model; None if it is Sobol's turn."""
    finite = [o.objective for o in history if o.objective is not None and math.isfinite(o.objective)]
    if len(history) < initial_trials or not finite or len(_tried(free, history)) >= points(free):
        return None
    worst = min(finite) if maximize else max(finite)
    return [
        o if o.objective is None or math.isfinite(o.objective) else replace(o, objective=worst)
        for o in history
        if o.hyperparameters
    ]


def _tried(free: Space, history: Sequence[Observation]) -> set[tuple[Value, ...]]:
    return {tuple(o.hyperparameters[name] for name in free) for o in history if o.hyperparameters}


def _variance(told: Sequence[Observation]) -> float | None:
    """Return the variance of the objectives' noise, pooled from their standard errors; None if none is above 0."""
    known = [o.sem for o in told if o.objective is not None and o.sem is not None and math.isfinite(o.sem)]
    pooled = sum(error**2 for error in known) / len(known) if known else 0.0
    return pooled if pooled > 0 else None


def _ax_parameter(name: str, dimension: Float | Int | Choice) -> object:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(dimension, Choice):
        values = list(range(len(dimension.values)) if _by_rank(dimension) else dimension.values)
        kind = type(values[0]).__name__
        ordered = isinstance(values[0], int | float) and len(values) > 2
        return ChoiceParameterConfig(name=name, values=values, parameter_type=kind, is_ordered=ordered)
    if _by_quantile(dimension):
        return RangeParameterConfig(name=name, bounds=(0.0, 1.0), parameter_type="float")
    return RangeParameterConfig(
        name=name,
        bounds=(dimension.low * _unit(dimension), dimension.high * _unit(dimension)),
        parameter_type="int" if isinstance(dimension, Int) else "float",
        scaling="log" if dimension.log else "linear",
    )


def _by_quantile(dimension: Float | Int) -> TypeGuard[Float]:
    """Return whether Ax is given quantiles, as it would refuse the range or take its values for one (decision 0019)."""
    if not isinstance(dimension, Float):
        return False
    start, end = dimension.low * _unit(dimension), dimension.high * _unit(dimension)
    if dimension.log:
        start, end = math.log10(start), math.log10(end)
        if end > AX_LAST_DECADE or not AX_DECADES[0] < end - start < AX_DECADES[1]:
            return True
    return end - start < AX_NARROWEST or not _told_apart((start, end))


def _by_rank(dimension: Choice) -> bool:
    """Return whether Ax is given ranks, as it would take some values for equal or infinite."""
    return isinstance(dimension.values[0], float) and not _told_apart(dimension.values)


def _told_apart(numbers: Sequence[Value]) -> bool:
    """Return whether the numbers stay different and finite in single precision, as Ax has bounds and choices."""
    with np.errstate(over="ignore"):
        single = np.asarray(numbers, np.float32)
    return bool(np.isfinite(single).all()) and len(np.unique(single)) == len(single)


def _unit(dimension: Float | Int) -> int | float:
    """Return the factor by which numbers are scaled for Ax: a range too narrow for it gets width 1."""
    width = dimension.high - dimension.low
    return 1 / width if width < AX_NARROWEST else 1


def _to_ax(dimension: Float | Int | Choice, value: Value) -> Value:
    if isinstance(dimension, Choice):
        return sorted(dimension.values).index(value) if _by_rank(dimension) else value
    if isinstance(value, str):
        return value
    return dimension.quantile(value) if _by_quantile(dimension) else value * _unit(dimension)


def _from_ax(dimension: Float | Int | Choice, value: Value) -> Value:
    """Convert a value from Ax, which may lie a rounding error outside a bound, as Ax transforms coordinates."""
    if isinstance(dimension, Choice):
        return sorted(dimension.values)[int(value)] if _by_rank(dimension) else value
    if _by_quantile(dimension):
        return dimension.at(min(max(float(value), 0.0), 1.0))
    number = int(value) if isinstance(dimension, Int) else float(value) / _unit(dimension)
    return min(max(number, dimension.low), dimension.high)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: sums, and so suggestions, depend on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Ax and BoTorch, which comment on every step; errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
