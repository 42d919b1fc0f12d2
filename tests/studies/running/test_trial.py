"""What must stay as it is for stored studies and trainings under way to be gone on with."""

from pathlib import Path
from typing import Any

import pytest
from made_up import VALUES

import studies
from studies.design.searchers import Suggestion
from studies.design.spec import from_json, load
from studies.running.trial import assign, kept

IDS = (
    "figure8-cifar10-birealnet20-proxy-ed586d3d",
    "figure8-cifar10-birealnet20-e70acf92",
    "figure8-imagenet-reactnet-a-proxy-0a48cdb0",
    "figure8-imagenet-reactnet-a-9dd6d081",
    "figure8-spoken-digits-593d756e",
    "methods-cifar10-birealnet20-5e8e9a3d",
    "methods-cifar10-bvgg-layer-637776a7",
    "methods-cifar10-bvgg-98508eb2",
    "methods-cifar10-convnet-99a85b14",
    "methods-cifar10-denoise-0af4bc63",
    "methods-cifar10-lenet5-d9260a2b",
    "methods-cifar10-resnet20-distilled-fa525137",
    "methods-cifar10-resnet20-4cdfa70e",
    "methods-fsdd-b78c7864",
    "methods-imagenet-birealnet18-28332055",
    "methods-imagenet-reactnet-a-6c407db8",
    "methods-mnist-fullycon-c633ceed",
    "methods-mnist-lenet5-7299e605",
    "methods-spoken-digits-f30fc23a",
    "table2-cifar10-birealnet20-1c5d2006",
    "table2-two-step-cifar10-birealnet20-2259252c",
)
STUDY = {
    "name": "s",
    "task": "spoken-digits",
    "methods": ["gradient-filter", "bop"],
    "runs": 2,
    "trials": 2,
}
# what a study has beside that, its id, and what trainings of its methods are kept under
KEPT: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "s-2125d681", "460c2a7ee39ee566", "1c6f38e6be1b0b38"),
    (
        {"proxy": {"epochs": 2, "train_fraction": 0.2, "width": 8}},
        "s-d64fee03",
        "3a414e8c3cc4e4cd",
        "465256633499fac4",
    ),
    ({"proxy": {"first_step": 3}}, "s-16da55d6", "7c1f43f82f7bb035", "045aec14d8e425d5"),
    ({"start": "first"}, "s-b12adf35", "76351530a9be6c5d", "1d3ab968c4fadcf8"),
    ({"resources": {"compile": True, "cpus": 2}}, "s-9f1d5d6a", "69ee4a705b07916d", "1befd7d47d77e218"),
    (
        {"resources": {"gpus": 0.5, "compile": True}, "start": "first"},
        "s-a127e67c",
        "086f2e9707f01d4c",
        "5e263f4ae4c86eef",
    ),
    (
        {"task": "imagenet-birealnet18", "resources": {"decoder": "dali", "gpus": 1}, "start": "a-b"},
        "s-e27f6544",
        "6099c1e6a5c6f8c2",
        "1673dfcf55d759fc",
    ),
]


def test_studies_keep_their_ids() -> None:
    files = sorted((Path(studies.__file__).parent / "specs").glob("*.yaml"))
    known = {load(file).study_id for file in files}
    assert set(IDS) <= known


@pytest.mark.parametrize(("given", "study", "gradient_filter", "bop"), KEPT)
def test_trainings_are_kept_under_the_names_they_always_had(
    given: dict[str, Any], study: str, gradient_filter: str, bop: str
) -> None:
    spec = from_json(STUDY | given)
    assert spec.study_id == study
    for method, name in (("gradient-filter", gradient_filter), ("bop", bop)):
        assignment = assign(spec, method, 2, (), data_dir=Path("data"), start_sum="0")
        file = kept(assignment, Suggestion(VALUES[method], "sobol")).path
        assert file == Path("data/checkpoints") / f"s-{method}-r02-t01-{name}"
