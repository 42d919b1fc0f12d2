"""Trials that follow from lists, and hyperparameters that follow from others."""

from itertools import product
from pathlib import Path

import pytest

from studies.design.searchers import Observation
from studies.design.spec import StudySpec, from_json
from studies.errors import SpecError
from studies.running.trial import assign, choose

LISTED = {"alpha": [1e-4, 1e-3, 1e-2], "gamma": [0.05, 0.1]}
CONTROL = {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}


def study(*arms, **changes):
    return from_json({"name": "s", "task": "spoken-digits", "arms": list(arms), "searcher": "grid"} | changes)


def listed(name="filter", **space):
    return {"name": name, "method": "gradient-filter", "space": LISTED | space}


def latent(**space):
    fixed = {"initial_magnitude": 0.1, "gamma": 0.1, "scaling": True, "clipping": True}
    return {"name": "latent-sgd", "space": fixed | space}


def trials(spec: StudySpec, arm: str, run: int = 1) -> list[dict]:
    """Return the hyperparameters that the trials of a run choose; later ones have better objectives."""
    history: list[Observation] = []
    while len(history) < spec.trials:
        suggestion, _ = choose(assign(spec, spec.arm(arm), run, tuple(history), data_dir=Path("nowhere")))
        history.append(Observation(suggestion.hyperparameters, 0.5 + len(history) / 100))
    return [each.hyperparameters for each in history]


def test_a_run_tries_every_combination_once_in_the_order_of_the_lists():
    spec = study(listed(), CONTROL)
    assert spec.trials == 6
    assert from_json(spec.to_json()) == spec
    wanted = [{"alpha": a, "gamma": g} for a, g in product(LISTED["alpha"], LISTED["gamma"])]
    assert trials(spec, "filter") == trials(spec, "filter", run=2) == wanted
    assert trials(spec, "published") == [CONTROL["space"]] * 6


def test_only_an_arm_of_a_grid_sets_the_trials():
    grid = listed() | {"searcher": "grid"}
    assert study(grid, "gradient-filter", searcher="random").trials == 6
    assert study("gradient-filter", searcher="random").trials == 25


@pytest.mark.parametrize(
    ("arms", "changes", "message"),
    [
        (
            [listed(gamma={"low": 0.1, "high": 0.5})],
            {},
            "arms.0.space.gamma: a grid combines lists of values, got {'low': 0.1, 'high': 0.5, 'log': True}",
        ),
        (
            [listed()],
            {"trials": 25},
            "trials: must be left out, because it follows from the combinations: filter has 6, got 25",
        ),
        (
            [listed(), listed("few", gamma=0.1)],
            {},
            "trials: arms of a grid must have equally many combinations: filter has 6, few has 3",
        ),
        ([listed()], {"trials": None}, "trials: "),
        (
            [latent(learning_rate=[0.1, 1.0], weight_decay={"to": "momentum", "product": 1e-5})],
            {},
            "arms.0.space.weight_decay: cannot be tied to 'momentum', only to a number: learning_rate",
        ),
        (
            [latent(learning_rate=[0.1, 1.0], weight_decay={"to": "scaling", "ratio": 1})],
            {},
            "cannot be tied to 'scaling'",
        ),
        (
            [latent(learning_rate=[0.1, 1.0], weight_decay={"to": "learning_rate", "product": 0})],
            {},
            "product must be a finite number above 0, got 0",
        ),
        (
            [latent(learning_rate=[0.1, 1.0], weight_decay={"to": "learning_rate"})],
            {},
            "a tie must have the key to and one of product and ratio, got {'to': 'learning_rate'}",
        ),
        (
            [listed(alpha={"to": "gamma", "ratio": 20})],
            {},
            "arms.0.space.alpha: gamma = 0.1 would give 2.0; alpha must be in (0, 1]",
        ),
        (
            [latent(weight_decay=1e-4, learning_rate=1.0, clipping={"to": "gamma", "ratio": 1})],
            {},
            "{'to': 'gamma', 'ratio': 1} is a tie, but only a real number can be tied",
        ),
    ],
)
def test_what_is_wrong_with_a_grid_or_a_tie_is_said(arms, changes, message):
    with pytest.raises(SpecError) as told:
        study(*arms, **changes)
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("tie", "expected"),
    [({"product": 1e-5}, [1e-4, 1e-5, 1e-6]), ({"ratio": 1e-3}, [1e-4, 1e-3, 1e-2])],
    ids=["product", "ratio"],
)
def test_a_tied_value_follows_from_the_other(tie, expected):
    """Quist 2023, Figure 4, fixes learning rate times weight decay: only the product of epsilon and lambda matters."""
    spec = study(latent(learning_rate=[0.1, 1.0, 10.0], weight_decay={"to": "learning_rate", **tie}))
    assert spec.trials == 3
    assert from_json(spec.to_json()) == spec
    assert [each["weight_decay"] for each in trials(spec, "latent-sgd")] == pytest.approx(expected)


@pytest.mark.parametrize("searcher", ["botorch", "ax", "sobol", "random"])
def test_any_searcher_may_search_what_another_value_is_tied_to(searcher):
    arm = latent(weight_decay={"to": "learning_rate", "product": 1e-5})
    spec = study(arm, searcher={"name": searcher, "initial_trials": 2}, trials=3)
    found = trials(spec, "latent-sgd")
    assert len({each["learning_rate"] for each in found}) == 3
    for each in found:
        assert list(each) == list(spec.arm("latent-sgd").space)
        assert each["learning_rate"] * each["weight_decay"] == pytest.approx(1e-5)
