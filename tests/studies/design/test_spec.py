import math
import re
import time
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic import study_of

import studies
from studies.design import size
from studies.design.methods import METHODS
from studies.design.published import deciding
from studies.design.searchers import SEARCHERS
from studies.design.space import Fixed, Float, searched, to_json
from studies.design.spec import MOST_ARMS, from_json, load, stored
from studies.errors import SpecError, StudyError
from trainers.optimizers import OPTIMIZERS
from trainers.tasks import TASKS, Proxy

SPECS = sorted((Path(studies.__file__).parent / "specs").rglob("*.yaml"))
SPECS_BY_NAME = {path.stem: path for path in SPECS}
MINIMAL = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}

REAL = {"name": "real", "method": "real-valued", "task": "cifar10-real-denoise"}
DENOISING = {"task": "cifar10-denoise", "methods": [REAL, "bop"]}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_specs_load_and_are_named_after_their_file(path):
    assert load(path).name in (path.stem, f"{path.parent.name}-{path.stem}")


def test_no_two_shipped_specs_share_a_name():
    assert len({load(path).name for path in SPECS}) == len(SPECS)


@pytest.mark.parametrize("task", ["spoken-digits", "cifar10-bvgg"])
def test_the_studies_of_every_method_leave_none_out(task):
    assert [method.name for method in load(SPECS_BY_NAME[f"methods-{task}"]).arms] == list(OPTIMIZERS)


def test_figure8_is_the_papers_protocol():
    spec = load(SPECS_BY_NAME["figure8-spoken-digits"])
    assert (spec.runs, spec.trials, spec.searcher.name) == (20, 25, "botorch")
    assert [(arm.name, arm.method, len(searched(arm.space))) for arm in spec.arms] == [
        ("gradient-filter", "gradient-filter", 2), ("latent-sgd", "latent-sgd", 6),
        ("filter-published", "gradient-filter", 0), ("latent-published", "latent-sgd", 0),
        ("filter-random", "gradient-filter", 2), ("latent-random", "latent-sgd", 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [path for path in SPECS if path.match("paren2021/*") and not path.match("*-proxy.yaml")],
    ids=lambda path: path.stem,
)
def test_signs_stay_as_long_as_in_the_code_of_paren_and_poudel(path):
    """For the last 20 epochs on CIFAR and 100 on ImageNet, after a first step of 200 and 128 epochs, or none."""
    spec = load(path)
    for arm in spec.arms:
        recipe = spec.proxy_of(arm).of(spec.task_of(arm)).recipe
        long = "imagenet" in spec.task
        if share := arm.space.get("fine_tuning"):
            assert share.at(0) * recipe.epochs == pytest.approx(100 if long else 20)
        if arm.is_binary:
            before = recipe.first_step.epochs if recipe.first_step else 0
            assert before in ((128,) if long else (0, 200))


@pytest.mark.parametrize("name", ["table2-two-step", "table2-two-step-cifar10-birealnet20"])
def test_both_steps_of_quists_table_2_are_by_one_sgd(name):
    spec = load(SPECS_BY_NAME[name])
    recipe = spec.task_definition().recipe
    step = recipe.first_step
    own = step.optimizer, step.learning_rate, step.weight_decay, step.decay or recipe.decay
    assert own == (recipe.optimizer, recipe.learning_rate, recipe.weight_decay, "cosine")
    assert own == ("sgd", 0.1, 1e-4, "cosine")
    (latent,) = (arm for arm in spec.arms if arm.method == "latent-sgd")
    assert latent.space["weight_decay"] == Fixed(0)
    assert step.epochs == recipe.epochs == 400


def test_the_order_of_a_space_is_the_methods_however_the_file_has_it():
    extras = {"real_momentum": 0.5, "decay": ["linear", "none"], "real_learning_rate": {"low": 1e-3}}
    spaces = [
        from_json(MINIMAL | {"methods": [{"name": "latent-sgd", "space": space}]}).arms[0].space
        for space in (extras, dict(reversed(extras.items())))
    ]
    assert list(spaces[0]) == list(spaces[1])
    assert spaces[0] == spaces[1]


def test_a_method_entry_narrows_and_fixes(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ntask: spoken-digits\nmethods:\n"
        "  - {name: latent-sgd, space: {learning_rate: {low: 1e-4, high: 1, log: true}, clipping: false}}\n"
    )
    space = load(path).arms[0].space
    assert space["learning_rate"] == Float(1e-4, 1.0, log=True)
    assert space["clipping"] == Fixed(False)
    assert space["gamma"] == METHODS["latent-sgd"].space["gamma"]


@st.composite
def study_files(draw):
    def entry(name):
        overrides = {}
        for key, dimension in METHODS[name].space.items():
            quantiles = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
            values = [dimension.at(u) for u in quantiles]
            kind = draw(st.sampled_from(["default", "fixed", "list", "range"]))
            if kind == "fixed":
                overrides[key] = values[0]
            elif kind == "list" and values[0] != values[1]:
                overrides[key] = values
            elif kind == "range" and isinstance(dimension, Float) and values[0] < values[1]:
                overrides[key] = {"low": values[0], "high": values[1], "log": draw(st.booleans())}
        return {"name": name, "space": overrides} if overrides or draw(st.booleans()) else name

    names = draw(st.lists(st.sampled_from(sorted(OPTIMIZERS)), min_size=1, unique=True))
    return {
        "name": draw(st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")),
        "task": "spoken-digits",
        "methods": [entry(name) for name in names],
        "searcher": draw(
            st.sampled_from(["ax", "sobol", {"name": "random"}, {"name": "ax", "initial_trials": 3}])
        ),
        "runs": draw(st.integers(1, 1000)),
        "trials": draw(st.integers(1, 1000)),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "resources": {"cpus": draw(st.integers(1, 64)), "gpus": draw(st.sampled_from([0, 0.5, 1]))},
    }


def test_a_decoder_is_part_of_a_study_unless_it_is_the_usual_one():
    images = MINIMAL | {"task": "imagenet-birealnet18"}
    usual, dali = (from_json(images | {"resources": {"decoder": name}}) for name in ("pillow", "dali"))
    assert usual.to_json() == from_json(images).to_json()
    assert set(usual.to_json()["resources"]) == {"cpus", "gpus", "max_seconds", "max_retries"}
    assert dali.to_json()["resources"]["decoder"] == "dali"
    assert from_json(dali.to_json()) == dali
    assert dali.digest != usual.digest


def test_compiling_is_part_of_a_study_where_it_is_asked_for():
    usual, compiled = (from_json(MINIMAL | {"resources": {"compile": choice}}) for choice in (False, True))
    assert usual.to_json() == from_json(MINIMAL).to_json()
    assert compiled.to_json()["resources"]["compile"] is True
    assert from_json(compiled.to_json()) == compiled
    assert compiled.digest != usual.digest


STATED = {"test": 0.865, "source": "Quist 2023, Table 2"}


def test_what_was_published_decides_nothing():
    """With and without published results, a study file is the same study, with the same trials."""
    arms = [{"name": "filter", "method": "gradient-filter"}, "latent-sgd"]
    plain = from_json(MINIMAL | {"methods": arms})
    stating = [arms[0] | {"published": STATED | {"sd": 0.003}}, {"name": "latent-sgd", "published": STATED}]
    rows = [{"name": "IR-Net (Qin et al., 2020)", **STATED}, {"name": "Müller & Söhne", **STATED, "test": 1}]
    stated = from_json(MINIMAL | {"methods": stating, "published": rows})
    assert (stated.study_id, stated.digest) == (plain.study_id, plain.digest)
    assert from_json(stated.to_json()) == stated != plain
    assert stated.to_json()["arms"][0]["published"] == STATED | {"sd": 0.003}
    assert stated.to_json()["published"] == [rows[0], rows[1] | {"test": 1.0}]
    assert not any("published" in each for each in (plain.to_json(), *plain.to_json()["arms"]))
    assert deciding(stated.to_json()) == plain.to_json()
    assert from_json(MINIMAL | {"methods": stating, "seed": 1, "published": rows}).digest != stated.digest


def test_two_arms_that_differ_in_what_was_published_alone_ask_for_the_same_trials():
    arms = [
        {"name": name, "method": "bop", "published": STATED | {"test": test}}
        for name, test in (("a", 0), ("b", 1))
    ]
    with pytest.raises(SpecError, match="a and b ask for the same trials"):
        from_json(MINIMAL | {"methods": arms})


def test_a_metric_without_bounds_may_be_any_number():
    row = {"name": "AE", "test": 24.56, "source": "Nayak 2020, Figure 4"}
    assert from_json(MINIMAL | {"task": "cifar10-denoise", "published": [row]}).published[0].test == 24.56


@given(study_files())
def test_a_spec_survives_the_round_trip(data):
    spec = from_json(data)
    again = from_json(spec.to_json())
    assert again == spec
    assert again.digest == spec.digest
    assert again.to_json() == spec.to_json()


def in_reals(value):
    match value:
        case dict():
            return {key: in_reals(item) for key, item in value.items()}
        case list():
            return [in_reals(item) for item in value]
        case int() if not isinstance(value, bool) and value <= 2**53:
            return float(value)
    return value


@given(study_files())
@example(
    MINIMAL
    | {
        "task": "cifar10-birealnet20",
        "methods": [{"name": "iir-filter", "space": {"order": [1, 2]}}],
        "proxy": {"epochs": 5, "width": 16, "first_step": 2},
        "resources": {"cpus": 2, "max_retries": 1, "max_seconds": 60},
    }
)
def test_a_whole_number_may_be_written_as_a_real_one(data):
    """As in JSON Schema: the study is the same."""
    spec = from_json(in_reals(data))
    assert spec.to_json() == from_json(data).to_json()
    assert spec.digest == from_json(data).digest


def test_what_changes_the_trials_changes_the_digest():
    digests = [
        from_json(MINIMAL | change).digest
        for change in (
            {},
            {"seed": 1},
            {"runs": 3},
            {"trials": 3},
            {"searcher": "sobol"},
            {"methods": [{"name": "gradient-filter", "space": {"alpha": 0.1}}]},
            {"proxy": {"epochs": 5}},
            {"proxy": {"epochs": 5, "width": 32}},
            {"start": "first"},
            {"start": "second"},
            {"start": "first", "proxy": {"epochs": 5}},
        )
    ]
    assert len(set(digests)) == len(digests)


def test_a_proxy_is_named_as_one():
    spec = from_json(MINIMAL | {"proxy": {"width": 32, "epochs": 5, "train_fraction": 0.5}})
    assert spec.task == "spoken-digits"
    assert spec.task_label == "proxy of spoken-digits: 5 epochs, 50% of the training samples, width 32"
    assert spec.task_definition() == spec.proxy.of(TASKS["spoken-digits"])
    assert spec.to_json()["proxy"] == {"epochs": 5, "train_fraction": 0.5, "width": 32}
    assert from_json(spec.to_json()) == spec
    assert str(Proxy(epochs=1, image_size=16)) == "1 epoch, images of 16 x 16"
    spec = from_json(MINIMAL | {"proxy": {"first_step": 5}})
    assert spec.task_label == "spoken-digits: 5 epochs with real weights before"  # more, so no proxy
    assert spec.task_definition().recipe.epochs_by("bop") == 21


@pytest.mark.parametrize(
    "proxy",
    [{}, {"first_step": 0}, {"epochs": 16, "width": 128}, {"train_fraction": 1}, {"train_fraction": 1.0}],
)
def test_a_proxy_that_changes_nothing_is_the_task(proxy):
    spec = from_json(MINIMAL | {"proxy": proxy})
    assert spec == from_json(MINIMAL)
    assert spec.task_label == "spoken-digits"
    assert "proxy" not in spec.to_json()


def test_what_trainings_start_from_is_named():
    spec = from_json(MINIMAL | {"start": "bnew-2021"})
    assert spec.task_label == "spoken-digits, from bnew-2021"
    assert spec.to_json()["start"] == "bnew-2021"
    assert from_json(spec.to_json()) == spec
    spec = from_json(MINIMAL | {"start": "1", "proxy": {"epochs": 5}})
    assert spec.task_label == "proxy of spoken-digits: 5 epochs, from 1"
    spec = from_json(MINIMAL | {"start": "1", "proxy": {"first_step": 1}})
    assert spec.task_label == "spoken-digits: 1 epoch with real weights before, from 1"
    assert "start" not in from_json(MINIMAL).to_json()


def test_a_study_without_a_proxy_or_a_start_keeps_its_id():
    assert load(SPECS_BY_NAME["figure8-spoken-digits"]).study_id == "figure8-spoken-digits-f8d989f7"


def test_arms():
    """Several arms may share a method, each with its own space and searcher; `methods` is the same list."""
    listed = [
        "gradient-filter",
        {"method": "bop", "space": {"tau": 1e-6}},
        {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}},
        {"name": "drawn", "method": "gradient-filter", "searcher": "random"},
    ]
    short = {key: value for key, value in MINIMAL.items() if key != "methods"} | {"searcher": "sobol"}
    spec = from_json(short | {"arms": listed})
    assert spec == from_json(short | {"methods": listed}) == from_json(spec.to_json())
    assert [(arm.name, arm.method) for arm in spec.arms] == [
        ("gradient-filter", "gradient-filter"), ("bop", "bop"), ("published", "gradient-filter"),
        ("drawn", "gradient-filter"),
    ]  # fmt: skip
    assert [spec.searcher_of(arm).name for arm in spec.arms] == ["sobol", "sobol", "sobol", "random"]
    assert [arm.is_control for arm in spec.arms] == [False, False, True, False]
    assert spec.arm("bop").space["tau"] == Fixed(1e-6)
    assert spec.planned == 4 * spec.runs * spec.trials


LAYER = {"name": "layer", "method": "bop", "task": "cifar10-bvgg-layer"}
ARMS_ALIAS = {"name": "short", "method": "bop", "proxy": {"epochs": 2}}
VARIED = {
    "name": "s",
    "task": "cifar10-bvgg",
    "proxy": {"epochs": 4, "width": 16, "image_size": 16},
    "arms": ["bop", LAYER, ARMS_ALIAS],
}


def test_an_arm_may_have_a_task_and_a_proxy_of_its_own():
    spec = from_json(VARIED)
    assert from_json(spec.to_json()) == spec
    assert [spec.task_of(arm).name for arm in spec.arms] == ["cifar10-bvgg", LAYER["task"], "cifar10-bvgg"]
    shared = Proxy(epochs=4, width=16, image_size=16)
    assert [spec.proxy_of(arm) for arm in spec.arms] == [shared, shared, replace(shared, epochs=2)]
    assert [sorted(arm) for arm in spec.to_json()["arms"]] == [
        ["method", "name", "space"],
        ["method", "name", "space", "task"],
        ["method", "name", "proxy", "space"],
    ]
    assert spec.task_label == (
        "proxy of cifar10-bvgg: 4 epochs, width 16, images of 16 x 16 (layer: cifar10-bvgg-layer; short: 2 epochs)"
    )
    shorter = from_json(
        VARIED | {"proxy": {}, "arms": ["bop", ARMS_ALIAS, ARMS_ALIAS | {"name": "other", "method": "bnew"}]}
    )
    assert shorter.task_label == "cifar10-bvgg (short, other: 2 epochs)"
    shorter = from_json(VARIED | {"proxy": {}, "arms": [ARMS_ALIAS, LAYER | {"proxy": {"width": 8}}]})
    assert shorter.task_label == (
        "proxy of cifar10-bvgg (short: 2 epochs; layer: cifar10-bvgg-layer, width 8)"
    ), "no arm trains the task as it is"
    whole = {"name": "whole", "method": "bop", "proxy": {"epochs": 250, "width": 16}}
    spec = from_json(VARIED | {"arms": [whole]})
    assert spec.to_json()["arms"][0]["proxy"] == {"epochs": 250}
    assert spec.proxy_of(spec.arms[0]) == Proxy(width=16, image_size=16)

    def digest(**arm):
        return from_json(VARIED | {"arms": [{"name": "b", "method": "bop"} | arm]}).digest

    assert digest() == digest(task="cifar10-bvgg", proxy={"epochs": 4, "width": 16})
    assert len({digest(), digest(task=LAYER["task"]), digest(proxy={"epochs": 2})}) == 3


def test_an_arm_may_go_without_what_the_study_has():
    """Without the study's first step and its settings, or with all parts of the network again."""
    proxy = {"first_step": 2, "first_step_learning_rate": 0.1, "first_step_decay": "cosine"}
    file = {"name": "s", "task": "cifar10-reactnet20", "proxy": proxy | {"without": "scale"}}
    own = {"one-step": {"first_step": 0}, "whole": {"without": "none"}, "bop": {}}
    arms = [{"name": name, "method": "bop", "proxy": changed} for name, changed in own.items()]
    plain = {
        "name": "plain",
        "method": "bop",
        "task": "cifar10-resnet20",
        "proxy": own["one-step"] | own["whole"],
    }
    spec = from_json(file | {"arms": [*arms, plain]})
    assert from_json(spec.to_json()) == spec
    assert [spec.proxy_of(arm) for arm in spec.arms] == [
        Proxy(first_step=0, without="scale"),
        Proxy(**proxy),
        Proxy(**proxy, without="scale"),
        Proxy(),
    ]
    assert spec.arms[2].proxy == Proxy()
    assert "(one-step: in one step; whole: with all its parts; plain: cifar10-resnet20, " in spec.task_label
    with pytest.raises(SpecError, match=r"0\.proxy\.first_step_decay: .* needs a first step"):
        from_json(file | {"arms": [arms[0] | {"proxy": {"first_step": 0, "first_step_decay": "linear"}}]})


def test_an_arm_may_train_in_another_precision():
    """An arm in float32 trains the task itself, and has the same digest as in other studies."""
    file = {"name": "s", "task": "spoken-digits", "proxy": {"precision": "float64"}}
    names = {"double": {}, "single": {"precision": "float32"}}
    spec = from_json(file | {"arms": [{"name": n, "method": "bop", "proxy": p} for n, p in names.items()]})
    assert from_json(spec.to_json()) == spec
    assert [spec.proxy_of(arm) for arm in spec.arms] == [Proxy(precision="float64"), Proxy()]
    assert spec.task_label == "spoken-digits: in float64 (single: in float32)"
    double, single = spec.arms
    assert spec.network_of(double) == spec.network_of(single)
    plain = {"name": "s", "task": "spoken-digits", "methods": ["bop"]}
    assert from_json(plain | {"proxy": names["single"]}).digest == from_json(plain).digest


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"task": "bvgg"}, "arms.1.task: unknown task; known are .*, got 'bvgg'"),
        ({"task": None}, "arms.1.task: unknown task; .*got None"),
        (
            {"task": "cifar100-resnet20"},
            "arms.1.task: must be a task with the study's samples, inputs and metric: cifar10-bvgg, "
            "cifar10-bvgg-layer, got 'cifar100-resnet20'",
        ),
        (
            {"task": "cifar10-lenet5"},
            "arms.1.task: must be a task with the study's samples.* got 'cifar10-lenet5'",
        ),
        (
            {"task": "cifar10-denoise"},
            "arms.1.task: must be a task with the study's samples.* got 'cifar10-denoise'",
        ),
        ({"task": "cifar10-bvgg"}, "arms: bop and b ask for the same trials"),
        ({"proxy": {"epochs": 4}}, "arms: bop and b ask for the same trials"),
        (
            {"proxy": 3},
            "arms.1.proxy: must be a mapping; allowed keys are epochs, width, first_step, batch_size.*, got 3",
        ),
        (
            {"proxy": {"train_fraction": 0.5}},
            "arms.1.proxy.train_fraction: can be set only for the whole study; allowed are epochs, width, first_step",
        ),
        ({"proxy": {"validation": "none"}}, "arms.1.proxy.validation: can be set only for the whole study"),
        (
            {"proxy": {"epochs": None}},
            "arms.1.proxy.epochs: needs a value; leave the key out to keep the study's value$",
        ),
        ({"proxy": {"depth": 1}}, "arms.1.proxy.depth: unknown key; allowed are epochs, width, first_step"),
        (
            {"proxy": {"width": 256}},
            "arms.1.proxy.width: width must be at most cifar10-bvgg's own, 128, got 256",
        ),
        ({"proxy": {"epochs": 0}}, r"arms.1.proxy.epochs: epochs must be in \[1, 10000\], got 0"),
        (
            {"proxy": {"precision": "float16"}},
            "arms.1.proxy.precision: precision must be one of float32, float64, got 'float16'",
        ),
        ({"proxy": {"without": "scale"}}, "arms.1.proxy.without: cifar10-bvgg's network has no scale"),
        (
            {"proxy": {"first_step_decay": "linear"}},
            "arms.1.proxy.first_step_decay: first_step_decay needs a first step",
        ),
        (
            {"space": {"real_momentum": 0.5}},
            "arms.1.space.real_momentum: cifar10-bvgg's optimizer of real-valued parameters has only",
        ),
    ],
)
def test_what_arms_do_not_share_is_refused(arm, message):
    with pytest.raises(SpecError, match=message):
        from_json(VARIED | {"arms": ["bop", {"name": "b", "method": "bop"} | arm]})


def test_what_is_left_out_is_searched_by_botorch():
    spec = from_json({"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]})
    assert (spec.searcher.name, spec.searcher.initial_trials) == ("botorch", 5)
    assert spec.to_json()["searcher"] == {"name": "botorch", "initial_trials": 5}


def test_writing_a_default_out_does_not_change_the_digest():
    alpha = to_json(METHODS["gradient-filter"].space["alpha"])
    written_out = MINIMAL | {"methods": [{"name": "gradient-filter", "space": {"alpha": alpha}}], "runs": 20}
    assert from_json(written_out).digest == from_json(MINIMAL).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "spoken-digit"}, f"task: unknown task; known are {', '.join(TASKS)}, got 'spoken-digit'"),
        ({"methods": ["sgd"]}, "methods.0: unknown method 'sgd'; known are gradient-filter, latent-sgd"),
        ({"methods": ["latent-sgd", "latent-sgd"]}, "methods: latent-sgd is listed more than once"),
        ({"methods": []}, "methods: at least one method is needed; known are gradient-filter, latent-sgd"),
        ({"methods": "latent-sgd"}, "methods: .*, got 'latent-sgd'"),
        ({"stop_when": "bored"}, "stop_when: input should be 'decided', got 'bored'"),
        (
            {"methods": ["bop"], "stop_when": "decided"},
            "stop_when: decides between the first two arms, but the study has only one, got 'decided'",
        ),
        ({"record": []}, "record: must be a mapping; allowed keys are every, flips, weights, .*, got "),
        ({"record": {"flip": True}}, "record.flip: unknown key; allowed are every, flips"),
        ({"record": {"flips": 1}}, "record.flips: flips must be true or false, got 1"),
        ({"record": {"every": 0, "flips": True}}, r"record.every: every must be in \[1, 1000000\], got 0"),
        (
            {"record": {"every": 5}},
            "record.every: every 5 applies to flips, weights and signs, and none of them is set",
        ),
        ({"record": {"weights": 65}}, r"record.weights: weights must be in \[0, 64\], got 65"),
        (
            {"record": {"images": 4}},
            "record.images: images need a task that removes noise; spoken-digits does not",
        ),
        (
            {"methods": ["latent-sgd", "bop"], "record": {"latent_metric": True}},
            "record.latent_metric: latent_metric needs a method with latent weights, which bop does not have",
        ),
        *(
            (DENOISING | changes, message)
            for changes, message in (
                (
                    {"methods": ["bop", "real-valued"]},
                    "methods.1: real-valued is only for tasks without binary weights: cifar10-real-denoise, .*, got "
                    "'cifar10-denoise'",
                ),
                (
                    {"methods": [REAL | {"method": "bop"}]},
                    "methods.0: cifar10-real-denoise has no binary weights: its method must be real-valued, got 'bop'",
                ),
                (
                    {"proxy": {"first_step": 2}},
                    "methods.0.task: does not fit the study's proxy: cifar10-real-denoise has no binary weights: leave "
                    "out first_step, got 2",
                ),
                (
                    {"task": REAL["task"], "methods": ["real-valued"], "proxy": {"first_step": 2}},
                    "proxy.first_step: cifar10-real-denoise has no binary weights: leave out first_step, got 2",
                ),
                (
                    {"start": "first"},
                    "methods.0: cifar10-real-denoise has no binary weights: it cannot start from the study's 'first'",
                ),
                (
                    {"record": {"flips": True}},
                    "record.flips: flips need binary weights; cifar10-real-denoise has none",
                ),
                (
                    {"record": {"latent_metric": True}},
                    "record.latent_metric: latent_metric needs a method with latent weights, which real-valued, bop "
                    "do not have",
                ),
                (
                    {"methods": [REAL | {"space": {"decay": "none"}}]},
                    "methods.0.space.decay: real-valued has no such hyperparameter; it has real_learning_rate",
                ),
            )
        ),
        ({"arms": ["bop"]}, "methods: is another name for arms: give only one of the two"),
        (
            {"methods": [{"name": "a", "method": "bop"}, {"name": "b", "method": "bop"}]},
            "methods: a and b ask for the same trials: one of them is enough",
        ),
        (
            {
                "methods": [
                    "bop",
                    {"name": "b", "method": "bop", "searcher": {"name": "botorch", "initial_trials": 5}},
                ]
            },
            "methods: bop and b ask for the same trials",
        ),
        (
            {"methods": [{"name": "c", "method": "bop", "space": {"gamma": 0.1, "tau": None}}]},
            "methods.0.space.tau: ",
        ),
        ({"methods": [{"name": "A b", "method": "bop"}]}, "methods.0.name: must be 1 to 63 lower-case"),
        ({"methods": [{"method": "bop", "searcher": "axe"}]}, "methods.0.searcher.name: unknown searcher"),
        (
            {"methods": [{"name": "latent-sgd", "spaces": {}}]},
            "methods.0.spaces: unknown key; allowed are name, method, space, searcher",
        ),
        (
            {"methods": [{"name": "latent-sgd", "space": {"alpha": 1.0}}]},
            "methods.0.space.alpha: latent-sgd has no such hyperparameter; it has learning_rate",
        ),
        (
            {"methods": [{"name": "latent-sgd", "space": {"gamma": {"low": 1.0, "high": 0.1}}}]},
            "methods.0.space.gamma: low must be less than high, got low 1.0 and high 0.1",
        ),
        (
            {"methods": [{"name": "latent-sgd", "space": {"gamma": {"low": 0.1, "high": 3.0}}}]},
            r"methods.0.space.gamma: 3.0 is out of range; gamma must be in \(0, 1\]",
        ),
        (
            {"methods": ["latent-sgd", {"name": "bop", "space": {"real_beta1": 0.5}}]},
            "methods.1.space.real_beta1: spoken-digits's optimizer of real-valued parameters has only "
            "real_learning_rate, real_weight_decay, real_momentum",
        ),
        (
            {
                "methods": [
                    {"name": "bop", "space": {"real_learning_rate": {"low": 0, "high": 1, "log": False}}}
                ]
            },
            r"methods.0.space.real_learning_rate: 0.0 is out of range; .* must be in \(0, inf\)",
        ),
        (
            {"methods": ["latent-sgd", {"name": "bop", "space": {"batch_size": [25, 1]}}]},
            r"methods.1.space.batch_size: 1 is out of range; batch_size must be in {2, 3, ..., 65536}",
        ),
        (
            {"proxy": {"batch_size": 25}, "methods": [{"name": "bop", "space": {"batch_size": 50}}]},
            "methods.0.space.batch_size: the proxy already sets batch_size to 25: give only one of the two",
        ),
        (
            {"methods": [{"name": "bop", "space": {"real_lr": 1}}]},
            "methods.0.space.real_lr: bop has no such hyperparameter; it has .*, tau_decay, real_learning_rate",
        ),
        (
            {"searcher": "tpe"},
            f"searcher.name: unknown searcher; known are {', '.join(SEARCHERS)}, got 'tpe'",
        ),
        ({"searcher": {"name": "ax", "initial_trials": 0}}, "searcher.initial_trials: .* 1, got 0"),
        ({"runs": 0}, "runs: .*1, got 0"),
        ({"runs": -3}, "runs: .*1, got -3"),
        ({"runs": "20"}, "runs: .*integer, got '20'"),
        ({"runs": 20.5}, r"runs: .*integer.*, got 20\.5"),
        ({"seed": 2.0**62}, "seed: .*integer"),  # whichever neighbouring number was written
        ({"runs": True}, "runs: .*integer, got True"),
        ({"trials": 10**9}, "trials: .*1000, got 1000000000"),
        ({"repeats": 0}, "repeats: .*1, got 0"),
        ({"repeats": 101}, "repeats: .*100, got 101"),
        ({"repeats": 1.5}, r"repeats: .*integer.*, got 1\.5"),
        ({"seed": -1}, "seed: .*got -1"),
        ({"resources": {"gpus": 1.5}}, "resources.gpus: input should be less than or equal to 1, got 1.5"),
        (
            {"resources": {"gpu": 1}},
            "resources.gpu: unknown key; allowed are cpus, gpus, max_seconds, max_retries, decoder, compile",
        ),
        (
            {"resources": {"decoder": "gif"}},
            "resources.decoder: input should be 'pillow' or 'dali', got 'gif'",
        ),
        (
            {"resources": {"decoder": "dali"}},
            "resources.decoder: spoken-digits has no images on disk for dali to decode",
        ),
        ({"resources": {"compile": 1}}, "resources.compile: input should be a valid boolean, got 1"),
        ({"resources": {"max_seconds": 0}}, "resources.max_seconds: must be at least 1, got 0"),
        ({"resources": {"max_seconds": 1e-300}}, "resources.max_seconds: must be at least 1, got 1e-300"),
        ({"resources": {"max_seconds": math.nan}}, "resources.max_seconds: .*got nan"),
        ({"resources": {"gpus": 1e-300}}, "resources.gpus: must be 0 or at least 0.01, got 1e-300"),
        (
            {"methods": ["bop"] * (MOST_ARMS + 1)},
            f"methods: a study has at most {MOST_ARMS} arms, got {MOST_ARMS + 1}",
        ),
        ({"resources": {"max_seconds": 10**400}}, "resources.max_seconds: "),
        (
            {"methods": [{"name": "latent-sgd", "space": {"gamma": 10**400}}]},
            "methods.0.space.gamma: .*too large",
        ),
        ({"name": "../x"}, "name: must be 1 to 63 lower-case letters, digits and inner hyphens, got '../x'"),
        (
            {"learning_rate": 1},
            "learning_rate: unknown key; allowed are name, task, proxy, start, searcher, arms",
        ),
        *(
            (
                {"start": name},
                f"start: must be 1 to 63 lower-case letters, digits and inner hyphens, got {re.escape(repr(name))}",
            )
            for name in ("../teachers/x", "/x", "x.pt", "First", "a_b", "-a", "", "a" * 64, "a\n")
        ),
        ({"start": 1}, "start: input should be a valid string, got 1"),
        ({"start": None}, "start: needs a name; leave the key out to start from new networks, got None"),
        ({"proxy": {"first_step": -1}}, r"proxy.first_step: first_step must be in \[0, 10000\], got -1"),
        ({"proxy": {"epochs": 0}}, r"proxy.epochs: epochs must be in \[1, 10000\], got 0"),
        ({"proxy": {"epochs": "5"}}, r"proxy.epochs: epochs must be in \[1, 10000\], got '5'"),
        (
            {"proxy": {"first_step_decay": "linear"}},
            "proxy.first_step_decay: first_step_decay needs a first step",
        ),
        ({"proxy": {"validation": "none"}}, "proxy.validation: spoken-digits has no published test samples"),
        ({"proxy": {"train_fraction": True}}, r"proxy.train_fraction: .* must be in \(0, 1\], got True"),
        ({"proxy": {"train_fraction": 10**400}}, r"proxy.train_fraction: .* must be in \(0, 1\], got 1000"),
        *(
            (
                {"proxy": {"train_fraction": share}},
                f"proxy.train_fraction: .* must be at least 0.0001, got {share}$",
            )
            for share in (1e-320, 9.9e-05)
        ),
        (
            {"proxy": {"image_size": 8}},
            "proxy.image_size: spoken-digits has no images: leave out image_size, got 8",
        ),
        (
            {"task": "cifar10-convnet", "proxy": {"image_size": 7}},
            "proxy.image_size: image_size must be at least 8 for cifar10-convnet's network, got 7",
        ),
        (
            {"proxy": {"depth": 3}},
            "proxy.depth: unknown key; allowed are epochs, train_fraction, width, image_size",
        ),
        (
            {"proxy": 10},
            "proxy: must be a mapping; allowed keys are epochs, train_fraction, width, image_size, first_step",
        ),
        (
            {"proxy": {"epochs": None}},
            "proxy.epochs: needs a value; leave the key out to keep the task's value",
        ),
        (
            {"published": [{"name": "DSQ", "test": 84.1, "source": "x"}]},
            "published.0.test: accuracy must be from 0 to 1, got 84.1",
        ),
        (
            {"methods": ["bop", {"name": "bnew", "published": {"test": -0.1, "source": "x"}}]},
            "methods.1.published.test: accuracy must be from 0 to 1, got -0.1",
        ),
        (
            {"methods": [{"name": "bop", "published": {"test": 0.9, "sd": 0.51, "source": "x"}}]},
            "methods.0.published.sd: must be at most 0.5 for accuracy, got 0.51",
        ),
        (
            {"task": "cifar10-denoise", "published": [{"name": "DSQ", "test": 2e6, "source": "x"}]},
            r"published.0.test: PSNR must be from -1e\+06 to 1e\+06, got 2e\+06",
        ),
        (
            {"methods": [{"name": "bop", "published": {"test": 0.9}}]},
            "methods.0.published.source: is required",
        ),
        (
            {"methods": [{"name": "bop", "published": {"test": 0.9, "source": "x", "sem": 1}}]},
            "methods.0.published.sem: unknown key; allowed are test, sd, source$",
        ),
        ({"published": [{"test": 0.9, "source": "x"}]}, "published.0.name: is required"),
        (
            {"published": [{"name": "a", "test": 0.9, "source": "x", "sem": 1}]},
            "published.0.sem: unknown key; allowed are test, sd, source, name$",
        ),
        (
            {"published": [{"name": "a", "test": 0.9, "sd": -0.1, "source": "x"}]},
            "published.0.sd: .*0, got -0.1",
        ),
        ({"published": [{"name": "a", "test": math.nan, "source": "x"}]}, "published.0.test: .*finite.*nan"),
        (
            {"published": [{"name": "a", "test": "0.9", "source": "x"}]},
            "published.0.test: .*number, got '0.9'",
        ),
        ({"published": {"name": "a"}}, "published: "),
        (
            {"published": [{"name": "a", "test": 0.9, "source": "x"}] * 2},
            "published: a is listed more than once; each row needs a name of its own",
        ),
        ({"published": [{"name": "a", "test": 0.9, "source": "x"}] * 101}, "published: .*at most 100 items"),
        *(
            (
                {"published": [{"name": text, "test": 0.9, "source": "x"}]},
                f"published.0.name: must be 1 to 120 characters, .*, got {re.escape(repr(text))}",
            )
            for text in ("", "=1+1", "+1", "@a", " a", "<b>", "a|b", "[a](b)", "a\n", "a\n|", "_a_")
        ),
    ],
)
def test_a_fault_names_the_key_the_value_and_what_is_allowed(change, message):
    with pytest.raises(StudyError, match=message) as caught:
        from_json(MINIMAL | change, source="file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert "\n" not in str(caught.value)


def test_every_fault_is_told_at_once():
    with pytest.raises(StudyError) as caught:
        from_json(
            {
                "name": "s",
                "methods": ["sgd", {"name": "latent-sgd", "space": {"x": 1, "gamma": 0}}],
                "runs": 0,
                "proxy": {"width": 0, "x": 1},
            }
        )
    assert len(str(caught.value).splitlines()) == 7


def space(**overrides):
    return {"methods": [{"name": "latent-sgd", "space": overrides}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            space(learning_rate=list(range(1, 1002))),
            "methods.0.space.learning_rate: lists 1,001 values, and at most 1,000 are allowed; give a range",
        ),
        ({"methods": ["bop"] * 150_000}, "methods: lists 150,000 values, and at most 1,000 are allowed"),
        ({f"k{i}": 1 for i in range(100_000)}, "has 100,003 keys, and at most 100 are allowed"),
        (space(**{f"k{i}": 1 for i in range(101)}), "methods.0.space: has 101 keys"),
        ({"x": [[[0] * 100] * 100] * 100}, "holds more than 10,000 values"),
        ({"k" * 101: 1}, "has a key of more than 100 characters"),
        ({"seed": 10**5000}, "seed: is a number with more than 400 digits"),
        ({"x": reduce(lambda inner, _: [inner], range(10_000), 0)}, r"x[.0]*: is nested deeper than 50"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_looked_at(change, message):
    before = time.process_time()
    with pytest.raises(SpecError, match=f"^study: {message}") as refusal:
        from_json(MINIMAL | change)
    assert time.process_time() - before < 0.5  # the second case took 170 s
    assert len(refusal.value.faults) == 1


def test_what_is_stored_of_a_study_is_within_the_limits_too():
    many = [i / 1001 for i in range(1, 1001)]
    full = [
        {"name": "latent-sgd", "space": dict.fromkeys(("gamma", "initial_magnitude", "weight_decay"), many)},
        {"name": "ste-adam", "space": dict.fromkeys(("beta1", "beta2", "weight_decay"), many)},
        {"name": "bop-second-order", "space": dict.fromkeys(("gamma", "sigma", "tau"), many)},
    ]
    spec = from_json(MINIMAL | {"methods": full})
    assert from_json(spec.to_json()) == spec
    more = [*full, {"name": "bop", "space": {"gamma": many[:970]}}]  # 9,996 values, before defaults are added
    assert size.fault(MINIMAL | {"methods": more}) is None
    with pytest.raises(SpecError, match="holds more than 10,000 values"):
        from_json(MINIMAL | {"methods": more})


def test_a_study_that_was_accepted_once_can_be_read():
    data = from_json(MINIMAL).to_json()
    data["resources"] |= {"max_seconds": 0.5, "gpus": 1e-3}
    data["arms"] = [{"name": "bop", "space": {"gamma": [i / 2000 for i in range(1, 2000)]}}]
    data["proxy"] = {"train_fraction": 1e-320}
    with pytest.raises(SpecError):
        from_json(data)
    spec = stored(replace(study_of(), spec=data))
    assert spec.to_json()["proxy"] == {"train_fraction": 1e-320}
    assert spec.to_json()["resources"]["max_seconds"] == 0.5
    assert len(spec.arms[0].space["gamma"].values) == 1999


@pytest.mark.parametrize("content", ["- a\n- b", "", "study"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(StudyError, match="a study must be a mapping"):
        load(tmp_path / "s.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"none\.yaml: cannot be read: .*No such file"):
        load(tmp_path / "none.yaml")


def test_json_is_read_too(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}')
    assert load(path) == from_json(MINIMAL)


def test_a_final_training_has_nothing_to_choose():
    """With all published training images and only test scored: one value per hyperparameter, one trial per run."""
    final = {"name": "t", "task": "cifar10-birealnet20", "proxy": {"validation": "none"}, "runs": 5}
    fixed = [{"name": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}]
    spec = from_json(final | {"methods": fixed, "trials": 1})
    assert spec.task_label == "cifar10-birealnet20: all training images, scored on test alone"
    with pytest.raises(SpecError) as caught:
        from_json(final | {"methods": ["gradient-filter"]})
    assert {key for key, _ in caught.value.faults} == {
        "methods.0.space.alpha",
        "methods.0.space.gamma",
        "trials",
    }
    assert "hyperparameters cannot be chosen" in str(caught.value)
    assert "chosen by its test metric: set trials to 1" in str(caught.value)


def test_what_is_recorded_is_of_a_study_as_soon_as_it_is_not_nothing():
    plain = from_json(MINIMAL)
    assert from_json(MINIMAL | {"record": {}}).study_id == plain.study_id
    assert from_json(MINIMAL | {"record": {"flips": False, "every": 1.0}}).study_id == plain.study_id
    recorded = from_json(MINIMAL | {"record": {"flips": True, "every": 10, "train_metric": False}})
    assert recorded.to_json()["record"] == {"every": 10, "flips": True}
    assert recorded.study_id != plain.study_id
    assert from_json(recorded.to_json()) == recorded
    latent = MINIMAL | {"methods": ["latent-sgd", "bnew"], "record": {"latent_metric": True}}
    assert from_json(latent).record.latent_metric
    denoise = MINIMAL | {"task": "cifar10-denoise", "methods": ["bop"], "record": {"images": 4}}
    assert from_json(denoise).record.images == 4


def test_a_method_of_another_kind_hides_no_other_arms_fault() -> None:
    arms = ["real-valued", {"name": "bop", "space": {"real_momentum": 0.5}}]
    with pytest.raises(
        StudyError, match=r"methods\.0: real-valued is only for tasks(.|\n)*methods\.1\.space\.real_momentum"
    ):
        from_json(MINIMAL | {"task": "cifar10-denoise", "methods": arms})


def test_what_is_recorded_is_asked_of_the_tasks_that_are_trained() -> None:
    bop = {"name": "bop", "task": "cifar10-denoise"}
    study = from_json({"name": "s", "task": REAL["task"], "methods": [bop], "record": {"flips": True}})
    assert study.record.flips
