"""The faults that keep a study from running, all reported at once."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_up import VALUES

from studies.design.spec import StudySpec, from_json
from studies.running import ready
from trainers.tasks import TASKS, Proxy
from trainers.training.checkpoints import Checkpoint
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec

SMALL = [{"CPU": 2.0, "GPU": 0.0, "memory": 4e9}]


def spec(**keys: Any) -> StudySpec:
    return from_json({"name": "s", "task": "spoken-digits", "methods": ["bop"], **keys})


@pytest.fixture
def data_dir(spoken_digits: Path, tmp_path: Path) -> Path:
    """Make a data folder of the test's own with spoken digits in it."""
    shutil.copytree(spoken_digits / "spoken-digits", tmp_path / "spoken-digits")
    return tmp_path


def test_a_study_with_all_that_it_needs_has_no_faults(data_dir: Path) -> None:
    for options in ({}, {"deep": False}, {"elsewhere": True}):
        assert ready.faults(spec(), data_dir, SMALL, **options) == []


@pytest.mark.parametrize("deep", [True, False])
def test_all_that_is_missing_is_told_at_once_and_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    resources = {"decoder": "dali", "cpus": 4}
    asked = spec(task="imagenet-reactnet-a", start="first", resources=resources)
    (data, teacher, start, decoder, cpus) = ready.faults(asked, tmp_path, SMALL, deep=deep)
    assert data == ("task", f"{tmp_path}/imagenet/index.npz: missing; run: tunebench data fetch imagenet")
    assert teacher[0] == "task"
    assert teacher[1].startswith(f"{tmp_path}/teachers/imagenet-resnet34.pt: missing; put a state dict of ")
    assert start[0] == "start"
    assert start[1].startswith(f"{tmp_path}/starts/first.pt: missing; train a network, ")
    assert decoder[0] == "resources.decoder"
    assert decoder[1].startswith("NVIDIA DALI is not installed here: ")
    assert cpus[0] == "resources.cpus"
    assert ready.faults(asked, tmp_path, None, deep=deep) == [data, teacher, start, decoder]
    assert ready.faults(asked, tmp_path, None, deep=deep, elsewhere=True) == [start]
    assert ready.faults(asked, None, SMALL, deep=deep) == [cpus]


def test_all_that_is_wrong_with_the_files_is_told_at_once(data_dir: Path) -> None:
    start = data_dir / "starts" / "first.pt"
    start.parent.mkdir()
    start.write_bytes(b"damaged")
    asked = spec(start="first", resources={"cpus": 4})
    found = ready.faults(asked, data_dir, SMALL)
    assert [field for field, _ in found] == ["start", "resources.cpus"]
    assert found[0][1].startswith(f"{start}: ")
    assert ready.faults(asked, data_dir, SMALL, deep=False) == found[1:]  # the file exists


def test_nothing_else_is_asked_of_data_that_are_too_few_or_damaged(data_dir: Path) -> None:
    digits = data_dir / "spoken-digits" / "digits.npz"
    whole = digits.read_bytes()
    few = spec(start="first", proxy={"train_fraction": 0.01})
    (data_dir / "starts").mkdir()
    (data_dir / "starts" / "first.pt").touch()
    digits.write_bytes(whole[:-100])
    ((field, message),) = ready.faults(few, data_dir, SMALL)
    assert (field, message.startswith(f"{digits}: damaged")) == ("task", True)
    digits.write_bytes(whole)
    ((field, message),) = ready.faults(few, data_dir, SMALL)
    assert (field, message[:39]) == ("proxy.train_fraction", "train_fraction must be at least 0.0451,")
    batches = {"name": "bop", "space": {"batch_size": [50, 1001]}}
    ((field, message),) = ready.faults(spec(methods=[batches]), data_dir, SMALL)
    assert (field, message[:69]) == (
        "arms.0.space.batch_size",
        "spoken-digits has 1000 training samples here, which do not fill a bat",
    )


def test_a_study_that_may_record_too_much_is_refused(data_dir: Path) -> None:
    """The smallest batch size that is tried counts, as it gives the most steps."""

    def found(size: object, **record: Any) -> list[tuple[str, str]]:
        arms = ["gradient-filter", {"name": "bop", "space": {"batch_size": size}}]
        return ready.faults(spec(methods=arms, record={"signs": True, **record}), data_dir, None)

    told = (
        "arms.1.space.batch_size",
        "with batches of 2, the signs of 24,832 weights at 8,000 steps are 24,832,000 bytes, but a training may "
        "record 16,777,216: record every 2 steps",
    )
    assert found({"low": 2, "high": 1000}) == found([500, 2]) == found(2) == [told]
    assert found({"low": 4, "high": 1000}) == found([500, 2], every=2) == []
    long = spec(proxy={"epochs": 10_000}, record={"flips": True, "weights": 64})
    ((field, message),) = ready.faults(long, data_dir, None)
    assert (field, message[:38]) == ("record.every", "257 numbers at 200,000 steps are 51,40")


WITHOUT_TORCH = """
import sys
from pathlib import Path
from studies.design.spec import from_json
from studies.running import ready

file = {"name": "s", "task": "spoken-digits", "methods": ["bop"], "start": "x", "resources": {"gpus": 1}}
machines = [{"CPU": 1, "GPU": 1, "memory": 4e9}]
found = ready.faults(from_json(file), Path(sys.argv[1]), machines, deep=False)
assert [field for field, _ in found] == ["start"]
assert "torch" not in sys.modules
"""


def test_what_is_asked_of_a_service_needs_no_torch(data_dir: Path) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, data_dir], check=True)


def test_what_arms_have_of_their_own_is_asked_for_too(data_dir: Path) -> None:
    distilled = {"name": "d", "method": "bop", "task": "cifar10-reactnet20-distilled"}
    asked = spec(task="cifar10-reactnet20", methods=["bop", distilled])
    found = [fault for _, fault in ready.faults(asked, data_dir, None, deep=False)]
    assert ["cifar10-real-preactivation20.pt: missing" in fault for fault in found] == [False, True]
    start = data_dir / "starts" / "first.pt"
    start.parent.mkdir()
    training = TrainingSpec(
        task=TASKS["spoken-digits"],
        proxy=Proxy(width=8, epochs=1),
        method="bop",
        hyperparameters=VALUES["bop"],
    )
    list(train(training, Machine(data_dir=data_dir), checkpoint=Checkpoint(start)))
    wide = {"name": "wide", "method": "bop", "proxy": {"width": 16}}
    none_fits = spec(proxy={"width": 8}, start="none", methods=["bop", wide])
    told = ("start", "the arms' networks have widths 8, 16: no start fits them all")
    assert ready.faults(none_fits, data_dir, None, deep=False) == [told]
    fits = spec(proxy={"width": 8}, start="first")
    assert ready.faults(fits, data_dir, None) == []
    (fault,) = ready.faults(spec(proxy={"width": 8}, start="first", methods=["bop", wide]), data_dir, None)
    assert fault[0] == "start"
    assert "belongs to another network" in fault[1]


def test_what_has_changed_since_the_trials_is_told_at_once() -> None:
    def provenance(digit: str) -> dict[str, Any]:
        file = {"file": "x.pt", "sha256": 64 * digit}
        return {"teacher": file, "start": file, "data": {"set": "cifar10", "sha256": 64 * digit}}

    assert ready.changed(provenance("1"), provenance("1")) == []
    found = ready.changed(provenance("1"), provenance("2"))
    assert [field for field, _ in found] == ["task", "start", "task"]
    assert all(64 * "1" in message and "back" in message for _, message in found)
    unknown = provenance("1") | {"data": {"set": "cifar10", "sha256": None}}
    assert ready.changed(unknown, provenance("1")) == []
