import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from known_functions import FUNCTIONS, branin, hartmann6, mixed, regrets
from scipy.stats import kstest, sem, t

from studies.design.methods import METHODS
from studies.design.searchers import (
    SEARCHERS,
    Observation,
    Suggestion,
    _from_ax,
    _to_ax,
    suggest_random,
    suggest_sobol,
)
from studies.design.size import MOST_ITEMS
from studies.design.space import Choice, Fixed, Float, Int
from studies.design.spec import from_json
from trainers.seeds import derive

MODELS = [name for name, searcher in SEARCHERS.items() if searcher.model]

MIXED = {
    "a": Float(1e-6, 1.0, log=True),
    "b": Int(1, 100, log=True),
    "c": Choice(("x", "y", "z")),
    "d": Choice((False, True)),
    "e": Fixed(0.25),
    "f": Choice((1, 2, 4)),
}


def ask(searcher, history=(), seed=0, space=MIXED, **keys):
    return SEARCHERS[searcher].suggest(
        space, history, seed, **({"maximize": True, "initial_trials": 3} | keys)
    )


def parse_methods(**overrides):
    data = {
        "name": "s",
        "task": "spoken-digits",
        "methods": [{"name": "gradient-filter", "space": overrides}],
    }
    return from_json(data).arms[0].space


def grow(searcher, trials, objective, seed=0, space=MIXED, begun=(), **keys):
    """Return the trials of a run that starts with `begun`."""
    history = list(begun)
    while len(history) < trials:
        point = ask(searcher, history, seed, space, **keys).hyperparameters
        history.append(Observation(point, objective(point)))
    return history


def best_inside(point):
    """Score a point, highest away from the bounds: at a bound, suggestions are the same however they were found."""
    return -((math.log(next(iter(point.values()))) + 7) ** 2)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_every_suggestion_is_inside_the_space_and_whole(searcher):
    begun = grow("sobol", 4, quality := lambda point: math.log(point["a"]) + point["b"])
    history = grow(searcher, 6, quality, begun=begun)
    for observation in history:
        assert observation.hyperparameters.keys() == MIXED.keys()
        for name, value in observation.hyperparameters.items():
            assert value in MIXED[name], (name, value)


NASTY = {
    "narrow log": Float(0.99999, 0.9999999, log=True),
    "narrow log, larger": Float(100.0, 100.001, log=True),
    "narrow far away": Float(1000.0, 1000.00001),
    "one in single precision": Float(1e16, 1e16 * (1 + 2**-24)),
    "narrow far away, log": Float(1e12, 1e12 + 1, log=True),
    "adjacent": Float(0.1, math.nextafter(0.1, 1)),
    "adjacent log": Float(0.1, math.nextafter(0.1, 1), log=True),
    "denormal": Float(5e-324, 1e-323),
    "denormal log": Float(1e-320, 1e-310, log=True),
    "all there is": Float(5e-324, sys.float_info.max, log=True),
    "wide": Float(1e-5, 1e200),
    "widest": Float(0.0, sys.float_info.max),
    "scaled": Float(1e-10, 1e-6),
    "scaled log": Float(1e-10, 1e-6, log=True),
    "adjacent choices": Choice((0.1, math.nextafter(0.1, 1))),
    "choices far apart": Choice((0.0, 5e-324, 1e308)),
}


def score(point):
    """Score a point, highest at a quantile of 0.3, or at the second choice."""
    return -sum(
        abs(d.quantile(point[name]) - 0.3) if isinstance(d, Float) else point[name] != d.values[1]
        for name, d in NASTY.items()
        if name in point
    )


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_ranges_and_choices_that_ax_would_refuse(searcher):
    history = grow(searcher, 4, score, 3, NASTY)  # the model chooses the last one
    for observation in history:
        assert all(observation.hyperparameters[name] in dimension for name, dimension in NASTY.items())


@pytest.mark.parametrize("name", NASTY)
def test_ax_hears_of_each_bound_and_says_it_back(name):
    dimension = NASTY[name]
    ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
    assert [_from_ax(dimension, _to_ax(dimension, end)) for end in ends] == list(ends)


@pytest.mark.parametrize("name", METHODS)
def test_ax_is_told_the_values_of_what_it_takes(name):
    """If Ax were told other values, studies would have different trials under the same id."""
    for dimension in [*METHODS[name].known.values(), Float(100.0, 100.001), Choice((1e-10, 1e-9))]:
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        assert [_to_ax(dimension, end) for end in ends] == list(ends)
    assert [_to_ax(Float(1e-10, 1e-6), end) for end in (1e-10, 1e-6)] == pytest.approx(
        [1e-4, 1.0001], rel=1e-3
    )


@pytest.mark.parametrize("searcher", MODELS)
def test_the_best_of_a_range_that_ax_would_refuse_is_found(searcher):
    space = {"narrow log": NASTY["narrow log"]}
    history = grow(searcher, 8, score, 0, space, begun=grow("sobol", 5, score, 0, space))
    assert max(observation.objective for observation in history) > -0.05


def bounds():
    nasty = st.sampled_from([5e-324, 1e-310, 1e-200, 1e-5, 1.0, 100.0, 1e16, 1e38, 1e200, sys.float_info.max])
    low = nasty | st.floats(5e-324, sys.float_info.max)
    near = st.tuples(low, st.floats(1e-16, 1e-3)).map(lambda end: (end[0], end[0] * (1 + end[1])))
    pairs = (near | st.tuples(low, low)).filter(lambda ends: ends[0] != ends[1] and max(ends) < math.inf)
    return st.builds(lambda ends, log: Float(*sorted(ends), log), pairs, st.booleans())


@pytest.mark.slow
@pytest.mark.parametrize("searcher", MODELS)
@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])
@given(ranges=st.lists(bounds(), min_size=3, max_size=3), seed=st.integers(0, 2**63 - 1))
@example(ranges=[Float(1e-8, 1e-5), Float(1e-8, 1e-5, log=True), Float(1e-8, 1e8)], seed=0)
@example(
    ranges=[
        Float(5e-324, 1.2112604549216855e-132, log=True),
        Float(5e-324, 1e-310, log=True),
        Float(1e-05, 1.0004202274446497e-05, log=True),
    ],
    seed=143,
)  # took Ax more than five minutes
def test_suggestions_stay_within_any_bounds(searcher, ranges, seed):
    space = {f"x{i}": dimension for i, dimension in enumerate(ranges)}
    history = grow(
        searcher, 3, lambda point: space["x0"].quantile(point["x0"]), seed, space, initial_trials=2
    )
    for observation in history:
        assert all(observation.hyperparameters[name] in dimension for name, dimension in space.items())


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_suggestion_depends_on_its_arguments_alone(searcher):
    history = grow("sobol", 5, best_inside)
    torch.manual_seed(1)
    np.random.seed(1)
    first = ask(searcher, history)
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.get_rng_state()
    assert ask(searcher, history) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert (ask(searcher, history, seed=1) == first) is SEARCHERS[searcher].exhaustive


def _ask_with(threads, *asked):
    torch.set_num_threads(threads)
    return ask(*asked)


@pytest.mark.slow
def test_another_process_with_more_threads_suggests_the_same():
    space = METHODS["latent-sgd"].space
    history = grow("sobol", 6, lambda point: point["gamma"], space=space)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = [pool.submit(_ask_with, 4, searcher, history, 0, space).result() for searcher in MODELS]
    before = torch.get_num_threads()
    try:
        assert there == [_ask_with(1, searcher, history, 0, space) for searcher in MODELS]
    finally:
        torch.set_num_threads(before)
    assert {suggestion.source for suggestion in there} == {"model"}


def test_ax_is_told_what_its_client_would_tell_it():
    from ax.api.client import Client  # takes seconds, which collecting tests must not
    from ax.api.configs import RangeParameterConfig

    _, space, *_ = FUNCTIONS["branin"]
    history = grow("sobol", 8, lambda point: point["x1"] - point["x2"], 0, space)
    client = Client(random_seed=derive(0, "ax", 8) % 2**32)
    bounds = {name: (dimension.low, dimension.high) for name, dimension in space.items()}
    client.configure_experiment(
        [RangeParameterConfig(name=name, bounds=b, parameter_type="float") for name, b in bounds.items()]
    )
    client.configure_optimization(objective="objective")
    client.configure_generation_strategy(
        method="fast", initialization_budget=0, initialize_with_center=False, torch_device="cpu"
    )
    for observation in history:
        index = client.attach_trial(observation.hyperparameters)
        client.complete_trial(index, raw_data={"objective": observation.objective})
    torch.manual_seed(derive(0, "acquisition", 8))
    (point,) = client.get_next_trials(max_trials=1).values()
    assert ask("ax", history, 0, space) == Suggestion(point, "model")


@pytest.mark.parametrize("searcher", MODELS)
def test_a_run_starts_with_sobol_and_not_at_the_centre(searcher):
    history = grow(searcher, 3, lambda point: point["a"])
    assert history == grow("sobol", 3, lambda point: point["a"])
    assert ask(searcher, history[:2]).source == "sobol"
    assert ask(searcher, history).source == "model"
    firsts = [ask(searcher, seed=seed).hyperparameters["a"] for seed in range(200)]
    assert kstest(np.log(firsts), "uniform", args=(math.log(1e-6), -math.log(1e-6))).pvalue > 0.01


@pytest.mark.parametrize("searcher", MODELS)
def test_all_trials_failed_goes_on_with_sobol(searcher):
    history = grow(searcher, 4, lambda point: None)
    assert ask(searcher, history) == ask("sobol", history)


@pytest.mark.slow
@pytest.mark.parametrize("searcher", MODELS)
def test_failures_and_divergence_are_told_to_the_model(searcher):
    history = grow("sobol", 6, best_inside)
    failed = [*history[:-1], Observation(history[-1].hyperparameters, None)]
    diverged = [*history[:-1], Observation(history[-1].hyperparameters, -math.inf)]
    nameless = [*history[:-1], Observation({}, None)]
    suggestions = [ask(searcher, h) for h in (history, failed, diverged, nameless)]
    assert [s.source for s in suggestions] == ["model"] * 4
    points = [s.hyperparameters["a"] for s in suggestions]
    assert len(set(points[:3])) == 3


@pytest.mark.parametrize("searcher", MODELS)
def test_a_model_that_learns_nothing_still_suggests(searcher):
    history = grow("sobol", 7, lambda point: 0.1)
    assert ask(searcher, history).source == "model"


@pytest.mark.parametrize("searcher", MODELS)
def test_one_trial_is_enough_for_a_model(searcher):
    history = grow("sobol", 1, lambda point: point["a"])
    assert ask(searcher, history, initial_trials=1).source == "model"


@pytest.mark.parametrize("searcher", MODELS)
@pytest.mark.parametrize("maximize", [True, False])
def test_a_model_goes_the_right_way(searcher, maximize):
    space = {"x": Float(0.0, 1.0)}
    begun = grow("sobol", 6, lambda point: point["x"], space=space)
    history = grow(searcher, 8, lambda point: point["x"], space=space, begun=begun, maximize=maximize)
    best = (max if maximize else min)(observation.objective for observation in history)
    assert best == pytest.approx(1.0 if maximize else 0.0, abs=0.02)


@pytest.mark.parametrize("searcher", MODELS)
def test_standard_errors_are_told_to_the_model_where_there_are_any(searcher):
    space = METHODS["gradient-filter"].space
    history = grow("sobol", 6, best_inside, space=space)
    told = [replace(observation, sem=3.0) for observation in history]
    halves = [
        replace(observation, sem=sem) for observation, sem in zip(told, [0.0, 18**0.5] * 3, strict=True)
    ]
    one_not = [*told[:-1], replace(told[-1], sem=None)]
    plain, known, pooled, rest, noiseless = (
        ask(searcher, each, space=space)
        for each in (history, told, halves, one_not, [replace(o, sem=0.0) for o in told])
    )
    assert known != plain
    assert pooled.hyperparameters == pytest.approx(known.hyperparameters)
    assert rest == known  # a trial without a standard error says nothing about noise
    assert noiseless == plain


@pytest.mark.parametrize("searcher", MODELS)
def test_a_failed_trial_needs_no_standard_error(searcher):
    space = METHODS["gradient-filter"].space
    history = grow("sobol", 6, best_inside, space=space)
    told = [replace(observation, sem=3.0) for observation in history]
    failed = Observation(ask("sobol", history, space=space).hyperparameters, None)
    plain, known = ask(searcher, [*history, failed], space=space), ask(searcher, [*told, failed], space=space)
    assert known != plain


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_nothing_to_search(searcher):
    assert ask(searcher, [Observation({"e": 0.25}, 1.0)] * 5, space={"e": Fixed(0.25)}).hyperparameters == {
        "e": 0.25
    }


def test_random_is_uniform_in_the_scale():
    draws = [
        suggest_random(MIXED, [None] * i, 0, maximize=True, initial_trials=1).hyperparameters
        for i in range(2000)
    ]
    assert (
        kstest(np.log([d["a"] for d in draws]), "uniform", args=(math.log(1e-6), -math.log(1e-6))).pvalue
        > 0.01
    )
    assert np.mean([d["d"] for d in draws]) == pytest.approx(0.5, abs=0.04)


def test_sobol_points_of_a_run_fill_the_space():
    draws = [
        suggest_sobol(
            METHODS["gradient-filter"].space, [None] * i, 0, maximize=True, initial_trials=1
        ).hyperparameters
        for i in range(64)
    ]
    cells = {(int(math.log10(d["alpha"]) * 8 / 6), int(math.log10(d["gamma"]) * 8 / 3)) for d in draws}
    assert len(cells) == 64


def test_known_functions():
    assert branin({"x1": math.pi, "x2": 2.275}) == pytest.approx(0.397887, abs=1e-6)
    point = dict(
        zip(FUNCTIONS["hartmann6"][1], [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573], strict=True)
    )
    assert hartmann6(point) == pytest.approx(-3.32237, abs=1e-5)
    at = dict(zip(("x1", "x2", "x3", "x4"), [1 - 0.187395, 0.194152, 0.557918, 0.264780], strict=True))
    assert mixed(at | {"dear": False, "mirrored": True}) == pytest.approx(-3.72984, abs=1e-5)
    assert mixed(at | {"dear": True, "mirrored": True}) == pytest.approx(-3.42984, abs=1e-5)
    at["x1"] = 1 - at["x1"]
    assert mixed(at | {"dear": False, "mirrored": False}) == pytest.approx(-3.52984, abs=1e-5)


# mean regret after 25 trials: published for Ax, lowest values of 0.442 and -2.835; for "mixed" an earlier `botorch`'s
KNOWN = {"branin": 0.442 - 0.397887, "hartmann6": 3.32237 - 2.835, "mixed": 0.337}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("function", KNOWN)
def test_the_model_does_as_well_as_published(function):
    """Fail only if a one-sided t interval shows that it does worse: four seeds leave standard errors of 0.01 and 0.3.

    Only `botorch` is tested: the suggestions of `ax` are Ax's own, to the last digit.
    """
    last = np.array([regrets(function, "botorch", seed)[-1] for seed in range(4)])
    assert last.mean() - t(3).ppf(0.95) * sem(last) <= KNOWN[function], last


@pytest.mark.parametrize("searcher", MODELS)
def test_a_suggestion_leaves_torch_as_it_was(searcher):
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    ask(searcher, [Observation({"x": 0.5}, 1.0)], space={"x": Float(0.0, 1.0)}, initial_trials=1)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)


@pytest.mark.parametrize("searcher", MODELS)
@pytest.mark.parametrize("choices", [[1, 0.1, 0.5], [0.1, 1]])
def test_whole_and_real_numbers_may_be_mixed_in_a_list(searcher, choices):
    space = parse_methods(gamma=choices, alpha={"low": 1e-3})
    history = grow("sobol", 4, lambda point: point["gamma"], space=space)
    suggestion = ask(searcher, history, space=space)
    assert suggestion.source == "model"
    assert suggestion.hyperparameters["gamma"] in space["gamma"]


@pytest.mark.parametrize("searcher", MODELS)
def test_a_model_takes_as_many_choices_as_a_study_may_list(searcher):
    space = {"x": Choice(tuple(i / 1001 for i in range(1, MOST_ITEMS + 1)))}
    history = grow(searcher, 4, lambda point: point["x"], space=space)
    assert history[-1].hyperparameters["x"] in space["x"]


@pytest.mark.parametrize("searcher", MODELS)
def test_a_finite_space_that_is_exhausted_goes_on(searcher):
    space = {"a": Choice((False, True)), "b": Int(1, 2), "c": Fixed(0.5)}
    history = grow(searcher, 12, lambda point: float(point["b"]), space=space)
    tried = {(o.hyperparameters["a"], o.hyperparameters["b"]) for o in history}
    assert tried == {(a, b) for a in (False, True) for b in (1, 2)}
    assert ask(searcher, history, space=space).source == "sobol"


@pytest.mark.parametrize("size", [40, 3000])
def test_no_point_of_a_finite_space_is_tried_twice(size):
    space = {"n": Int(1, size), "s": Choice(("x", "y", "z"))}
    history = grow("sobol", 20, lambda point: -abs(point["n"] - 0.3 * size), space=space)
    seen = {tuple(o.hyperparameters.values()) for o in history}
    history = grow("botorch", 30, lambda point: -abs(point["n"] - 0.3 * size), space=space, begun=history)
    assert len({tuple(o.hyperparameters.values()) for o in history}) == len(seen) + 10
