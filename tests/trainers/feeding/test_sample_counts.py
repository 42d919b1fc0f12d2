"""Shares of the training samples that are too small are found before anything trains."""

from dataclasses import replace
from pathlib import Path

import pytest
from pictures import data_folder

from trainers.errors import UnusableError
from trainers.feeding import sample_counts
from trainers.feeding.feed import feed
from trainers.tasks import TASKS, Proxy
from trainers.training_spec import Machine, TrainingSpec

SPEECH = TASKS["spoken-digits"]


@pytest.mark.parametrize(
    ("classes", "batch_size", "least"),
    [
        ([200] * 10, 100, 0.0475),  # 9.5 rounds to 10: halves round to even
        ([1000, 10], 5, 0.0501),  # half a sample rounds to none
        ([7, 7], 14, 0.9286),  # 6.5 rounds to 6: halves round to even
        ([10, 10], 21, 1),
    ],
)
def test_the_least_share(classes: list[int], batch_size: int, least: float) -> None:
    found = sample_counts.least(classes, batch_size)
    assert found == pytest.approx(least, abs=1e-9)
    assert sample_counts.enough(classes, found, batch_size) or found == 1
    assert not sample_counts.enough(classes, found - 1e-4, batch_size)


@pytest.mark.parametrize("share", [1e-6, 0.002, 0.0449])
def test_what_is_refused_is_what_no_training_can_be_fed_with(share: float, spoken_digits: Path) -> None:
    with pytest.raises(ValueError, match="training sample") as refused:
        sample_counts.check_enough(SPEECH, share, spoken_digits)
    assert str(refused.value) == (
        "train_fraction must be at least 0.0451, to leave a sample of every class and a batch of 50 of spoken-digits's "
        f"1000 training samples, got {share:g}"
    )
    with pytest.raises(ValueError, match="training sample"):
        fed(share, spoken_digits)


@pytest.mark.parametrize("share", [0.0451, 0.05, 1.0])
def test_what_is_not_refused_is_fed(share: float, spoken_digits: Path) -> None:
    sample_counts.check_enough(SPEECH, share, spoken_digits)
    fed(share, spoken_digits)


def fed(share: float, folder: Path) -> None:
    feed(TrainingSpec(task=SPEECH, proxy=Proxy(train_fraction=share)), Machine(data_dir=folder))


def test_images_in_files_are_counted_too(tmp_path: Path) -> None:
    folder = data_folder(tmp_path, classes=2, train=40, val=2)
    task = TASKS["imagenet-reactnet-a"]
    small = replace(task, recipe=replace(task.recipe, batch_size=20))
    sample_counts.check_enough(small, 0.5, folder)
    told = (
        "^imagenet has 76 training samples here, which do not fill a batch of 510, "
        "imagenet-reactnet-a's batch size; fetch"
    )
    with pytest.raises(UnusableError, match=told):
        sample_counts.check_enough(task, 1, folder)
    with pytest.raises(UnusableError, match="76 training samples do not fill a batch of 510"):
        feed(TrainingSpec(task=task), Machine(data_dir=folder))
    with pytest.raises(ValueError, match=r"must be at least 0\.25.* 76 training samples, got 0\.2"):
        sample_counts.check_enough(small, 0.2, folder)
