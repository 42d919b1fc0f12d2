"""A teacher that the data folder lacks is scaled down as the study is, trained once and found again."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import scaled_teachers
from scaled_teachers import data_with_teachers

from studies.design.spec import StudySpec, from_json
from trainers.data import DATASETS
from trainers.data.arrays import write_arrays
from trainers.data.cifar import ARRAYS
from trainers.tasks import TASKS
from trainers.training import teachers

NAME = "cifar10-real-preactivation20"
DISTILLED = "cifar10-reactnet20-distilled"


def spec(proxy: dict[str, object], **of_second: object) -> StudySpec:
    arms = [
        {"name": "alone", "method": "bop", "space": {"gamma": 0.01, "tau": 1e-8}},
        {"name": "other", "method": "bop", "space": {"gamma": 0.1, "tau": 1e-8}, **of_second},
    ]
    return from_json({"name": "s", "task": "cifar10-reactnet20", "proxy": proxy, "arms": arms})


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data folder with 400 images of noise to train on, and 50 to test on."""
    rng = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for samples in (400, 50):
        arrays += [rng.integers(0, 256, (samples, 3, 32, 32), np.uint8), np.arange(samples) % 10]
    file = DATASETS["cifar10"].path(tmp_path / "data")
    file.parent.mkdir(parents=True)
    write_arrays(file, dict(zip((*ARRAYS, "published"), (*arrays, np.array(False)), strict=True)))
    return tmp_path / "data"


def test_a_study_that_needs_no_teacher_has_the_data_folder(data_dir: Path, tmp_path: Path) -> None:
    assert data_with_teachers(data_dir, tmp_path / "out", spec({"epochs": 1})) == data_dir
    file = teachers.path(data_dir, NAME)
    file.parent.mkdir()
    file.write_bytes(b"another's")
    assert data_with_teachers(data_dir, tmp_path / "out", spec({"epochs": 1}, task=DISTILLED)) == data_dir
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_teacher_is_made_once_and_found_again(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaled_teachers, "TEACHER_EPOCHS", 1)
    proxy = {"epochs": 4, "first_step": 2, "train_fraction": 0.5, "width": 8, "image_size": 16}
    study = spec(proxy, task=DISTILLED)
    folder = data_with_teachers(data_dir, tmp_path / "out", study)
    assert folder == tmp_path / "out/data" / f"{NAME}-epochs-1-train_fraction-0.5-width-8-image_size-16"
    file = teachers.path(folder, NAME)
    teachers.check_weights(TASKS[DISTILLED], study.proxy, folder)
    assert len(next(iter(teachers.load(NAME, file, (3, 16, 16), 10).parameters()))) == 8
    assert not (data_dir / "teachers").exists()
    made = file.stat().st_mtime_ns

    def again(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(subprocess, "run", again)
    assert data_with_teachers(data_dir, tmp_path / "out", study) == folder
    assert file.stat().st_mtime_ns == made
    with pytest.raises(AssertionError):  # other samples, another teacher
        data_with_teachers(data_dir, tmp_path / "out", spec(proxy | {"train_fraction": 1}, task=DISTILLED))
