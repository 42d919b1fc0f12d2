"""Studies that a driver refuses to go on with."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_up import train_with
from writers import spec, trial

from service.cluster.driver import drive
from service.database.owner import Owner
from service.database.store import Store
from service.records import PAUSED
from studies.errors import SpecError, StudyError
from studies.records import StudyState
from studies.running import ready
from studies.running.provenance import provenance
from studies.running.reuse import address, conditions
from studies.running.trial import assign
from trainers.tasks import TASKS, Proxy
from trainers.training import teachers
from trainers.training.checkpoints import Checkpoint
from trainers.training.start import start_file


def test_trials_of_two_teachers_are_not_mixed(store: Store, tmp_path: Path) -> None:
    weights = teachers.path(tmp_path, "cifar10-real-resnet20")
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    sent = spec(task="cifar10-resnet20-distilled")
    study = store.create_study(sent, provenance(sent, tmp_path))
    assert study.provenance["teacher"] == {
        "file": "cifar10-real-resnet20.pt",
        "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
    }
    lease = store.claim(study.id, Owner.current(), 60)
    store.record(lease, trial(study.id))
    store.finish(lease, PAUSED)
    weights.write_bytes(b"another")
    with pytest.raises(
        StudyError, match=r"learned from another teacher .* back \(cifar10-real-resnet20\.pt, sha256 7692c3ad"
    ):
        drive(store, store.study(study.id), tmp_path, lambda trial: None)
    assert store.study(study.id).state is StudyState.FAILED


def test_trials_on_two_sets_of_data_are_not_mixed(store: Store, spoken_digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "spoken-digits" / "digits.npz"
    shutil.copytree(spoken_digits / "spoken-digits", file.parent)
    study = store.create_study(spec(), provenance(spec(), tmp_path))
    assert study.provenance["data"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    lease = store.claim(study.id, Owner.current(), 60)
    store.record(lease, trial(study.id))
    store.finish(lease, PAUSED)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(
        StudyError, match=r"trained on other data .* put the earlier data back \(spoken-digits, sha256 "
    ):
        drive(store, store.study(study.id), tmp_path, lambda trial: None)
    assert store.study(study.id).state is StudyState.FAILED


def test_that_trials_of_another_machine_are_not_taken_over_is_noted(
    store: Store, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = provenance(spec(), spoken_digits)
    there["hardware"]["instructions"] = "none"
    other = store.claim(store.create_study(spec("elsewhere"), there).id, Owner.current(), 60)
    first = assign(spec(), spec().arms[0], 1, (), data_dir=spoken_digits)
    store.record(other, trial(other.study, address=address(first, conditions(spec(), there))))
    study, told = store.create_study(spec(), {}), list[str]()
    monkeypatch.setattr(ready, "faults", lambda *_, **__: [("task", "not now")])  # nothing is trained
    with pytest.raises(SpecError, match="not now"):
        drive(store, study, spoken_digits, lambda trial: None, note=told.append)
    (note,) = told
    others = "because its trials had other conditions: instructions none, here "
    assert note.startswith(f"nothing is taken over from {other.study}, {others}")


def trained(data_dir: Path, **proxy: int) -> Path:
    """Train briefly and return the checkpoint, which is where studies find the start `first`."""
    file = start_file(data_dir, "first")
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    options: Mapping[str, Any] = {"seed": 0, "split_seed": 0, "data_dir": data_dir}
    values, kept = {"alpha": 1e-3, "gamma": 0.1}, Checkpoint(file)
    task = TASKS["spoken-digits"]
    list(train_with(task, "gradient-filter", values, proxy=Proxy(**proxy), checkpoint=kept, **options))
    return file


def test_trials_that_start_from_two_networks_are_not_mixed(
    store: Store, spoken_digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    file = trained(tmp_path, epochs=1)
    first = hashlib.sha256(file.read_bytes()).hexdigest()
    sent = spec(start="first")
    study = store.create_study(sent, provenance(sent, tmp_path))
    assert study.provenance["start"] == {"file": "first.pt", "sha256": first}
    lease = store.claim(study.id, Owner.current(), 60)
    store.record(lease, trial(study.id))
    store.finish(lease, PAUSED)
    message = rf"started from another network .* put the earlier one back \(first\.pt, sha256 {first}\)"
    trained(tmp_path, epochs=2)
    with pytest.raises(StudyError, match=message):
        drive(store, store.study(study.id), tmp_path, lambda trial: None)
    file.unlink()
    with pytest.raises(StudyError, match=message):
        drive(store, store.study(study.id), tmp_path, lambda trial: None)
    assert store.study(study.id).state is StudyState.FAILED
    assert "start" not in provenance(spec(), tmp_path)


def test_what_a_study_cannot_start_from_fails_it_before_its_first_trial(
    store: Store, spoken_digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    study = store.create_study(spec(start="first"), {})
    file = start_file(tmp_path, "first")
    for reason in (f"{file}: missing; train a network, ", f"{file}: belongs to another network"):
        with pytest.raises(SpecError, match=f"^a-study: start: {reason}"):
            drive(store, store.study(study.id), tmp_path, lambda trial: None)
        failed = store.study(study.id)
        assert (failed.state, failed.trials) == (StudyState.FAILED, 0)
        assert reason in (failed.error or "")
        trained(tmp_path, epochs=1, width=32)


def test_a_share_that_is_too_small_fails_the_study_before_its_first_trial(
    store: Store, spoken_digits: Path
) -> None:
    study = store.create_study(spec(proxy={"train_fraction": 0.01}), {})
    message = "a-study: proxy.train_fraction: train_fraction must be at least 0.0451, .* got 0.01"
    with pytest.raises(SpecError, match=message):
        drive(store, study, spoken_digits, lambda trial: None)
    failed = store.study(study.id)
    assert (failed.state, failed.trials) == (StudyState.FAILED, 0)
    assert "train_fraction must be at least 0.0451" in (failed.error or "")
