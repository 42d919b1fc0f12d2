"""Names and numbers that must not change, so that stored studies and unfinished trainings can continue."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up import VALUES, bright_and_dark
from small import figures
from twins import alone

import studies
from studies.design.searchers import Observation, Suggestion
from studies.design.spec import from_json, load
from studies.running.schedule import Confirms
from studies.running.trial import assign, assign_confirmation, choose, kept, repeats
from trainers.__main__ import main
from trainers.tasks import TASKS, Proxy
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec

IDS = (
    "figure8-cifar10-birealnet20-proxy-9537ee68",
    "figure8-cifar10-birealnet20-b80a9e32",
    "figure8-imagenet-reactnet-a-proxy-e52a8d21",
    "figure8-imagenet-reactnet-a-f05c1a19",
    "figure8-spoken-digits-f8d989f7",
    "methods-cifar10-birealnet20-f4d4c554",
    "methods-cifar10-bvgg-layer-ad3f8b8d",
    "methods-cifar10-bvgg-6af4e866",
    "methods-cifar10-convnet-26dbaf7b",
    "methods-cifar10-denoise-00914133",
    "methods-cifar10-lenet5-1c13aa6a",
    "methods-cifar10-resnet20-distilled-02434f2e",
    "methods-cifar10-resnet20-5ff44ca7",
    "methods-fsdd-6bb7b45b",
    "methods-imagenet-birealnet18-7d1abfa3",
    "methods-imagenet-reactnet-a-fc630bdb",
    "methods-mnist-fullycon-6157b1c1",
    "methods-mnist-lenet5-62297279",
    "methods-spoken-digits-efa8de94",
    "table2-cifar10-birealnet20-3690308b",
    "table2-two-step-cifar10-birealnet20-44e6015e",
)
STUDY = {
    "name": "s",
    "task": "spoken-digits",
    "methods": ["gradient-filter", "bop"],
    "searcher": "ax",
    "runs": 2,
    "trials": 2,
}
# changes to STUDY, the id of the study, and the numbers in the file names of its methods' checkpoints
KEPT: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "s-e7728a41", "460c2a7ee39ee566", "1c6f38e6be1b0b38"),
    (
        {"proxy": {"epochs": 2, "train_fraction": 0.2, "width": 8}},
        "s-b155b3e1",
        "3a414e8c3cc4e4cd",
        "465256633499fac4",
    ),
    ({"proxy": {"first_step": 3}}, "s-de84f216", "7c1f43f82f7bb035", "045aec14d8e425d5"),
    ({"start": "first"}, "s-aba9d5a3", "76351530a9be6c5d", "1d3ab968c4fadcf8"),
    ({"resources": {"compile": True, "cpus": 2}}, "s-8a50a5e1", "18b42533e8f400bf", "634f69e13187e789"),
    (
        {"resources": {"gpus": 0.5, "compile": True}, "start": "first"},
        "s-9c467234",
        "6cc0d11c89a2c64d",
        "511beab7f2cf178f",
    ),
    (
        {"task": "imagenet-birealnet18", "resources": {"decoder": "dali", "gpus": 1}, "start": "a-b"},
        "s-3c834089",
        "6099c1e6a5c6f8c2",
        "1673dfcf55d759fc",
    ),
]


def test_studies_keep_their_ids() -> None:
    files = sorted((Path(studies.__file__).parent / "specs").rglob("*.yaml"))
    known = {load(file).study_id for file in files}
    assert set(IDS) <= known


@pytest.mark.parametrize(("given", "study", "gradient_filter", "bop"), KEPT)
def test_trainings_are_kept_under_the_names_they_always_had(
    given: dict[str, Any], study: str, gradient_filter: str, bop: str
) -> None:
    spec = from_json(STUDY | given)
    assert spec.study_id == study
    for method, name in (("gradient-filter", gradient_filter), ("bop", bop)):
        assignment = assign(spec, spec.arm(method), 2, (), data_dir=Path("data"), start_sum="0")
        file = kept(assignment, Suggestion(VALUES[method], "sobol")).path
        assert file == Path("data/checkpoints") / f"s-{method}-r02-t01-{name}"


def test_arms_are_paired_and_a_control_costs_no_suggestion() -> None:
    published = {"name": "published", "method": "bop", "space": {"gamma": 1e-4, "tau": 1e-8}}
    drawn = {"name": "drawn", "method": "bop", "searcher": "random"}
    spec = from_json(STUDY | {"methods": ["gradient-filter", "bop", published, drawn], "searcher": "sobol"})
    given = {arm.name: assign(spec, arm, 2, (), data_dir=Path("data")) for arm in spec.arms}
    assert len({(each.training.seed, each.training.split_seed) for each in given.values()}) == 1
    of_bop = [given[name].searcher_seed for name in ("bop", "published", "drawn")]
    assert len(set(of_bop)) == 1 != given["gradient-filter"].searcher_seed
    assert given["drawn"].name == "s-drawn-r02-t01"
    suggestions = {name: choose(each) for name, each in given.items()}
    assert suggestions["published"] == (Suggestion({"gamma": 1e-4, "tau": 1e-8}, "fixed"), 0.0)
    assert suggestions["bop"][0].source == "sobol"
    assert suggestions["drawn"][0].source == "random"


def test_an_arm_trains_what_it_has_of_its_own_with_the_others_seeds(spoken_digits: Path) -> None:
    given = {"method": "bop", "space": VALUES["bop"]}
    narrow = {"name": "narrow", "proxy": {"width": 8, "epochs": 1}, **given}
    keys = {"proxy": {"width": 16, "epochs": 2}, "methods": [{"name": "wide", **given}, narrow], "trials": 1}
    spec = from_json(STUDY | keys)
    trials, _ = alone(spec, {}, spoken_digits)
    assert len({(trial.run, trial.seed) for trial in trials}) == spec.runs == len(trials) / 2
    for trial in trials:
        training = TrainingSpec(
            task=TASKS["spoken-digits"],
            proxy=Proxy(width=8, epochs=1) if trial.arm == "narrow" else Proxy(width=16, epochs=2),
            method="bop",
            hyperparameters=VALUES["bop"],
            seed=trial.seed,
            split_seed=spec.split_seed(trial.run),
        )
        trained = list(train(training, Machine(data_dir=spoken_digits, threads=1)))
        assert figures(trained) == figures(trial.epochs)


def test_an_arm_without_binary_weights_is_a_training_without_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bright_and_dark(TASKS["cifar10-denoise"], monkeypatch)
    real = {"name": "real-valued", "task": "cifar10-real-denoise"}
    small = {"proxy": {"width": 8, "epochs": 2}, "runs": 1, "trials": 1, "record": {"images": 2}}
    spec = from_json(
        STUDY
        | {"task": "cifar10-denoise", "methods": [real, {"name": "bop", "space": VALUES["bop"]}]}
        | small
    )
    (trial, of_bop), _ = alone(spec, {}, tmp_path)
    assert spec.arm("real-valued").is_control
    assert (trial.arm, trial.hyperparameters, trial.source) == ("real-valued", {}, "fixed")
    assert trial.seed == of_bop.seed
    assert [epoch.flip_ratio for epoch in trial.epochs] == [0, 0]
    images = {each.name: each.values for each in trial.series[0]}
    (noisy,) = (each.values for each in of_bop.series[0] if each.name == "noisy")
    assert (images["noisy"] == noisy).all()
    of_seeds = ["--seed", str(trial.seed), "--split-seed", str(spec.split_seed(1)), "--data", str(tmp_path)]
    assert main(["cifar10-real-denoise", "--width", "8", "--epochs", "2", *of_seeds]) == 0
    *epochs, outcome = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    for alike, told in zip(trial.epochs, epochs, strict=True):
        for name in ("train_loss", "validation_metric", "test_metric", "flip_ratio"):
            assert getattr(alike, name) == told[name]
    assert (trial.objective, trial.test_metric) == (outcome["objective"], outcome["test_metric"])


def test_all_that_a_grid_combines_is_trained_with_one_seed_a_run() -> None:
    listed = {"name": "bop", "space": {"gamma": [1e-4, 1e-3], "tau": 1e-8}}
    published = {"name": "published", "method": "bop", "space": {"gamma": 1e-4, "tau": 1e-8}}
    spec = from_json(STUDY | {"methods": [listed, published], "searcher": "grid", "repeats": 2})
    history = (Observation({"gamma": 1e-4, "tau": 1e-8}, 0.5),)
    first, second, control, other = (
        assign(spec, spec.arm(arm), run, history[:tried], data_dir=Path("data")).seeds
        for arm, run, tried in (("bop", 1, 0), ("bop", 1, 1), ("published", 1, 1), ("bop", 2, 0))
    )
    assert first == second == assign(spec, spec.arm("published"), 1, (), data_dir=Path("data")).seeds
    assert len({*first, *control, *other}) == 6


def test_a_trials_trainings_have_seeds_of_their_own_the_first_as_ever() -> None:
    once, thrice = from_json(STUDY), from_json(STUDY | {"repeats": 3})
    assert from_json(STUDY | {"repeats": 1}).study_id == once.study_id != thrice.study_id
    given = {
        (arm, run): assign(thrice, thrice.arm(arm), run, (), data_dir=Path("data"))
        for arm in ("gradient-filter", "bop")
        for run in (1, 2)
    }
    one = given["bop", 2]
    assert one.seeds == given["gradient-filter", 2].seeds
    assert one.seeds[0] == assign(once, once.arm("bop"), 2, (), data_dir=Path("data")).seeds[0]
    assert len({seed for each in given.values() for seed in each.seeds}) == 6
    parts = repeats(one)
    assert [part.seeds for part in parts] == [(seed,) for seed in one.seeds]
    assert len({kept(part, Suggestion(VALUES["bop"], "sobol")).path for part in parts}) == 3
    assert one.max_seconds == 3 * 3600
    fresh = assign_confirmation(
        thrice, thrice.arm("bop"), 2, Confirms(1, 1, VALUES["bop"]), data_dir=Path("data")
    )
    assert (len(fresh.seeds), fresh.max_seconds) == (1, 3600)


def test_confirmations_are_not_recorded() -> None:
    spec = from_json(STUDY | {"record": {"flips": True, "every": 5}, "repeats": 2})
    given = assign(spec, spec.arm("bop"), 1, (), data_dir=Path("data"))
    assert [one.training.record.changes for one in repeats(given)] == [{"flips": True, "every": 5}] * 2
    confirms = Confirms(1, 1, VALUES["bop"])
    fresh, unrecorded = (
        assign_confirmation(study, study.arm("bop"), 1, confirms, data_dir=Path("data"))
        for study in (spec, from_json(STUDY))
    )
    assert fresh.training == unrecorded.training
    assert (
        given.training.seed
        == assign(from_json(STUDY), spec.arm("bop"), 1, (), data_dir=Path("data")).training.seed
    )
