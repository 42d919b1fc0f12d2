"""The JSON Schema of study files agrees with `from_json`."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from studies.design.json_schema import PROXY, RECORD, searcher_schema, space_schema, study_schema
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.design.space import to_json
from studies.design.spec import MOST_ARMS, SearcherSpec, from_json
from studies.errors import SpecError
from trainers.optimizers import OPTIMIZERS
from trainers.tasks import REAL_TASKS, Proxy

STUDY = Draft202012Validator(study_schema())
MINIMAL: dict[str, Any] = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}
LISTED = {"methods": [{"name": "gradient-filter", "space": {"alpha": [1e-3, 1e-2], "gamma": 0.1}}]}
odd = st.sampled_from(
    [None, True, False, 0, 1, -1, 2, 2.0, 0.5, 1.5, 10**400, "", "x", [], [1], [0.5, 0.5], {}, {"x": 1}]
)
dimension = odd | st.fixed_dictionaries({}, optional={"low": odd, "high": odd, "log": odd, "x": odd})
space = st.dictionaries(
    st.sampled_from(["alpha", "gamma", "scaling", "learning_rate", "x"]), dimension, max_size=3
)
searcher = (
    st.sampled_from([*SEARCHERS])
    | st.fixed_dictionaries({}, optional={"name": st.sampled_from([*SEARCHERS]), "initial_trials": odd})
    | odd
)
published = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("a") | odd,
        "test": st.just(0.9) | odd,
        "sd": odd,
        "source": st.just("b") | odd,
        "x": odd,
    },
)
arm = odd | st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*METHODS, "x"]) | odd,
        "method": st.sampled_from([*METHODS, "x"]) | odd,
        "space": space | odd,
        "searcher": searcher,
        "task": st.sampled_from(["spoken-digits", "fsdd", "x"]) | odd,
        "published": published | odd,
        "proxy": st.dictionaries(st.sampled_from([*PROXY, "x"]), odd, max_size=2) | odd,
    },
)
arms = st.lists(st.sampled_from([*METHODS]) | arm, max_size=2) | odd
study = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["s", "a-b", "-", "A"]) | odd,
        "task": st.just("spoken-digits") | odd,
        "methods": arms,
        "arms": arms,
        "searcher": searcher,
        "proxy": st.dictionaries(st.sampled_from([*PROXY, "x"]), odd, max_size=2) | odd,
        "record": st.dictionaries(st.sampled_from([*RECORD, "x"]), odd, max_size=2) | odd,
        "start": st.sampled_from(["first", "../x", "A"]) | odd,
        "published": st.lists(published, max_size=2) | odd,
        "runs": odd,
        "trials": odd,
        "seed": odd,
        "resources": st.dictionaries(
            st.sampled_from(["cpus", "gpus", "max_seconds", "max_retries", "decoder", "compile", "x"]), odd
        )
        | odd,
        "x": odd,
    },
)


def accepted(data: dict[str, Any]) -> bool:
    try:
        from_json(data)
    except SpecError:
        return False
    return True


def test_the_schemas_are_schemas() -> None:
    Draft202012Validator.check_schema(study_schema())
    for name in METHODS:
        Draft202012Validator.check_schema(space_schema(name))
    for name in SEARCHERS:
        Draft202012Validator.check_schema(searcher_schema(name))


@given(study)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    data = MINIMAL | changes
    assert STUDY.is_valid(data) or not accepted(data)


@pytest.mark.parametrize(
    "entry",
    [
        0.5,
        1,
        [0.5],
        [0.1, 1],
        {},
        {"low": 0.1},
        {"low": 0.1, "high": 1, "log": False},
        {"to": "learning_rate", "ratio": 1e-4},
    ],
)
def test_each_way_to_give_a_real_hyperparameter_fits(entry: Any) -> None:
    data = MINIMAL | {"methods": [{"name": "latent-sgd", "space": {"gamma": entry, "scaling": True}}]}
    assert STUDY.is_valid(data)
    assert accepted(data)


@pytest.mark.parametrize(
    "entry", [0, 1.5, True, "1", None, [], [0.1, 0.1], [2], {"low": 0}, {"step": 1}, {"log": 1}, [[0.1]]]
)
def test_what_a_real_hyperparameter_cannot_be_does_not_fit(entry: Any) -> None:
    data = MINIMAL | {"methods": [{"name": "latent-sgd", "space": {"gamma": entry}}]}
    assert not STUDY.is_valid(data)
    assert not accepted(data)


def many(n: int) -> list[dict[str, Any]]:
    """Return `n` arms, all different."""
    return [{"name": f"a{i}", "method": "bop", "space": {"gamma": i / 100}} for i in range(1, n + 1)]


def test_the_limits_of_a_study_are_in_the_schema() -> None:
    choices = [i / 1001 for i in range(1, 1002)]
    for fits, data in (
        (True, {"methods": [{"name": "latent-sgd", "space": {"gamma": choices[:1000]}}]}),
        (False, {"methods": [{"name": "latent-sgd", "space": {"gamma": choices}}]}),
        (True, {"methods": list(OPTIMIZERS)}),
        *((n <= MOST_ARMS, {"methods": None, "arms": many(n)}) for n in (1, MOST_ARMS, MOST_ARMS + 1)),
        (False, {"arms": ["bop"]}),  # together with methods
        *((fits, {"resources": {"max_seconds": n}}) for n, fits in ((1, True), (0.9, False), (0, False))),
        *((fits, {"resources": {"gpus": n}}) for n, fits in ((0, True), (0.01, True), (1e-3, False))),
    ):
        whole = {key: value for key, value in (MINIMAL | data).items() if value is not None}
        assert STUDY.is_valid(whole) is accepted(whole) is fits, data


def test_a_proxy_fits() -> None:
    data = MINIMAL | {"proxy": {"epochs": 3, "train_fraction": 0.1, "width": 8, "first_step": 0}}
    assert STUDY.is_valid(data)
    assert accepted(data)
    assert PROXY.keys() == {field.name for field in fields(Proxy)}
    assert accepted(MINIMAL | {"proxy": {"train_fraction": 0.0001}})
    assert STUDY.is_valid(MINIMAL | {"proxy": {"train_fraction": 0.0001}})
    longer = {
        "epochs": 99,
        "batch_size": 20,
        "first_step": 3,
        "first_step_learning_rate": 0.1,
        "precision": "float64",
    }
    of_step = {"first_step_optimizer": "sgd", "first_step_real_learning_rate": 0.1}
    for entry in (longer, longer | {"first_step_weight_decay": 0, "first_step_decay": "linear"} | of_step):
        assert STUDY.is_valid(MINIMAL | {"proxy": entry})
        assert accepted(MINIMAL | {"proxy": entry})
    refused = (
        {"epochs": 0},
        {"epochs": 10001},
        {"batch_size": 1},
        {"first_step": 1, "first_step_learning_rate": 0},
        {"first_step": 1, "first_step_decay": "steep"},
        {"first_step": 1, "first_step_optimizer": "bop"},
        {"first_step": 1, "first_step_real_learning_rate": 0},
        {"validation": "some"},
        {"without": "bn"},
        {"precision": 64},
        {"first_step": -1},
        {"train_fraction": 0},
        {"train_fraction": 1e-320},
        {"width": "8"},
        {"depth": 2},
    )
    for entry in refused:
        assert not STUDY.is_valid(MINIMAL | {"proxy": entry})
        assert not accepted(MINIMAL | {"proxy": entry})


def test_a_record_fits() -> None:
    for entry in ({}, {"flips": True, "every": 10, "weights": 64, "signs": True, "train_metric": True}):
        assert STUDY.is_valid(MINIMAL | {"record": entry})
        assert accepted(MINIMAL | {"record": entry})
    assert STUDY.is_valid(MINIMAL | {"record": dict.fromkeys(("weights", "images", "every"), 1)})
    for entry in ({"every": 0}, {"weights": -1}, {"images": 65}, {"signs": 1}, {"flip": True}, None):
        assert not STUDY.is_valid(MINIMAL | {"record": entry})
        assert not accepted(MINIMAL | {"record": entry})


def test_what_was_published_fits() -> None:
    stated: dict[str, Any] = {"test": 0.9, "source": "Quist 2023, Table 2"}
    row = stated | {"name": "IR-Net (Qin et al., 2020)"}
    for fits, arms, rows in (
        (True, stated, [row, row | {"name": "é", "sd": 0}]),
        (True, None, []),
        (False, row, []),
        (False, stated, [stated]),
        (False, stated | {"test": "0.9"}, []),
        *((False, stated | {"source": text}, []) for text in ("", "=1", "-x", "a|b", "<a>", 1, "a" * 121)),
        *((False, stated, [row | {"name": text}]) for text in ("", "=1", "`a`", None)),
        *((n <= 100, stated, [row | {"name": str(i)} for i in range(n)]) for n in (100, 101)),
    ):
        data = MINIMAL | {"methods": [{"name": "bop", "published": arms}], "published": rows}
        assert STUDY.is_valid(data) is accepted(data) is fits, (arms, rows)


def test_a_start_fits() -> None:
    assert STUDY.is_valid(MINIMAL | {"start": "first-step"})
    for entry in ("../x", "A", "", 1, None, ["first"]):
        assert not STUDY.is_valid(MINIMAL | {"start": entry})


@pytest.mark.parametrize("name", METHODS)
def test_the_defaults_of_a_method_are_its_space(name: str) -> None:
    schema = space_schema(name)
    defaults = {key: entry["default"] for key, entry in schema["properties"].items() if "default" in entry}
    assert defaults == {key: to_json(dimension) for key, dimension in METHODS[name].space.items()}
    assert Draft202012Validator(schema).is_valid(defaults)
    task = MINIMAL["task"] if METHODS[name].optimizer else REAL_TASKS[0]
    study = from_json(MINIMAL | {"task": task, "methods": [{"name": name, "space": defaults}]})
    assert study.arms[0].space == METHODS[name].space


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_a_study_may_add_to_a_space(name: str) -> None:
    assert METHODS[name].extra
    for key, dimension in METHODS[name].known.items():
        if key in METHODS[name].space or key in ("real_beta1", "real_beta2"):  # the task has no Adam
            continue
        entry = {key: to_json(dimension)}
        data = MINIMAL | {"methods": [{"name": name, "space": entry}]}
        assert STUDY.is_valid(data)
        space = from_json(data).arms[0].space
        assert space == {**METHODS[name].space, key: dimension}
        assert from_json(from_json(data).to_json()) == from_json(data)
        assert not STUDY.is_valid(MINIMAL | {"methods": [{"name": name, "space": {key: "much"}}]})


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_searchers_schema_is_of_that_searcher(name: str) -> None:
    validator = Draft202012Validator(searcher_schema(name))
    for entry in (name, {"name": name}, {"name": name, "initial_trials": 3}):
        assert validator.is_valid(entry)
        assert from_json(MINIMAL | LISTED | {"searcher": entry}).searcher.name == name
    assert not validator.is_valid(next(other for other in SEARCHERS if other != name))
    assert not validator.is_valid({"name": name, "initial_trials": 0})
    assert SearcherSpec.model_validate(name).initial_trials == 5
