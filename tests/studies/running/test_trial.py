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
    "figure8-cifar10-birealnet20-proxy-5a2d4d12",
    "figure8-cifar10-birealnet20-1ec6261d",
    "figure8-imagenet-reactnet-a-proxy-0d90053d",
    "figure8-imagenet-reactnet-a-8b1aaf5b",
    "figure8-spoken-digits-0f211127",
    "methods-cifar10-birealnet20-6ea70d76",
    "methods-cifar10-bvgg-layer-6eef594b",
    "methods-cifar10-bvgg-f5fbe748",
    "methods-cifar10-convnet-841c3fa7",
    "methods-cifar10-denoise-363a49f0",
    "methods-cifar10-lenet5-9cb4dec4",
    "methods-cifar10-resnet20-distilled-bbbefabe",
    "methods-cifar10-resnet20-1aad3e7e",
    "methods-fsdd-9a93e383",
    "methods-imagenet-birealnet18-4816eef6",
    "methods-imagenet-reactnet-a-987a37c4",
    "methods-mnist-fullycon-8249030c",
    "methods-mnist-lenet5-acce5992",
    "methods-spoken-digits-02b781f6",
    "table2-cifar10-birealnet20-eee8cd9d",
    "table2-two-step-cifar10-birealnet20-734953c6",
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
    ({}, "s-22c4dfde", "460c2a7ee39ee566", "1c6f38e6be1b0b38"),
    (
        {"proxy": {"epochs": 2, "train_fraction": 0.2, "width": 8}},
        "s-5f5362d3",
        "3a414e8c3cc4e4cd",
        "465256633499fac4",
    ),
    ({"proxy": {"first_step": 3}}, "s-6de7161e", "7c1f43f82f7bb035", "045aec14d8e425d5"),
    ({"start": "first"}, "s-e15e8d0c", "76351530a9be6c5d", "1d3ab968c4fadcf8"),
    ({"resources": {"compile": True, "cpus": 2}}, "s-b2de67c2", "69ee4a705b07916d", "1befd7d47d77e218"),
    (
        {"resources": {"gpus": 0.5, "compile": True}, "start": "first"},
        "s-0c2f0378",
        "086f2e9707f01d4c",
        "5e263f4ae4c86eef",
    ),
    (
        {"task": "imagenet-birealnet18", "resources": {"decoder": "dali", "gpus": 1}, "start": "a-b"},
        "s-d20fdb92",
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
