"""Batches are the same from memory and from disk, whatever reads them."""

import math
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pictures import data_folder

from trainers.data.image_folder import centre_crop, files
from trainers.errors import DataError
from trainers.feeding.feed import Feed, InMemoryFeed, Streamed, feed
from trainers.tasks import TASKS, Proxy, Task
from trainers.training_spec import Machine, TrainingSpec

WHOLE = Proxy()
CPU = torch.device("cpu")
SPEECH = TASKS["spoken-digits"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("feed"))


@pytest.fixture
def images() -> Task:
    """A task with batches of 10 images of 24 x 24; 38 training images per class remain."""
    task = TASKS["imagenet-birealnet18"]
    return replace(task, image_size=24, recipe=replace(task.recipe, batch_size=10))


def fed(task: Task, data_dir: Path, proxy: Proxy = WHOLE, **changes: Any) -> Feed:
    on = {"workers": changes.pop("workers", None), "decoder": changes.pop("decoder", "pillow")}
    return feed(TrainingSpec(task=task, proxy=proxy, **changes), Machine(data_dir=data_dir, **on))


def epoch(source: Feed, number: int, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = zip(*source.training(number, start), strict=True)
    return torch.stack(inputs), torch.stack(targets)


def same(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_is_held_and_what_is_read(spoken_digits: Path, pictures: Path, images: Task) -> None:
    assert isinstance(fed(SPEECH, spoken_digits), InMemoryFeed)
    source = fed(images, pictures)
    assert isinstance(source, Streamed)
    assert (source.input_shape, source.classes, source.steps_an_epoch) == ((3, 24, 24), 2, 7)
    assert source.mean is not None
    assert (source.mean / 255).tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize("name", ["spoken-digits", "images"])
def test_an_epoch_goes_on_from_its_middle(
    name: str, spoken_digits: Path, pictures: Path, images: Task
) -> None:
    task, folder = (images, pictures) if name == "images" else (SPEECH, spoken_digits)
    source = fed(task, folder)
    first, second = epoch(source, 1), epoch(source, 2)
    assert len(first[0]) == source.steps_an_epoch
    assert not same(first, second)
    later = fed(task, folder)
    assert same(epoch(later, 2, start=4), (second[0][4:], second[1][4:]))
    assert same(epoch(later, 2), second)
    assert not same(epoch(fed(task, folder, seed=1), 1), first)
    assert not same(epoch(fed(task, folder, split_seed=1), 1), first)


def test_all_of_a_part_is_scored_once_in_order(pictures: Path, images: Task) -> None:
    splits = files(pictures, 0)
    source = fed(images, pictures)
    for part in ("validation", "test"):
        expected = getattr(splits, part)
        inputs, targets = (torch.cat(x) for x in zip(*source.scored(part), strict=True))
        assert targets.tolist() == expected.targets.tolist()
        assert inputs[-1].tolist() == centre_crop(expected.path(len(expected) - 1), 24).tolist()


def test_what_is_held_is_scored_in_order_and_as_much_at_once_as_is_fast(
    spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fed(SPEECH, spoken_digits)
    numbers = math.prod(source.input_shape)
    (whole,) = source.scored("test")
    monkeypatch.setattr("trainers.feeding.feed.SCORED_AT_ONCE_ON_CPU", 300 * numbers + 1)
    parts = list(source.scored("test"))
    assert [len(part.targets) for part in parts] == [300, 300, 300, 100]
    inputs, targets = (torch.cat(x) for x in zip(*parts, strict=True))
    assert same((inputs, targets), whole)
    monkeypatch.setattr("trainers.feeding.feed.SCORED_AT_ONCE_ON_CPU", numbers - 1)
    assert {len(part.targets) for part in source.scored("test")} == {1}


def test_fewer_workers_than_none_are_refused(spoken_digits: Path) -> None:
    with pytest.raises(ValueError, match="workers must be at least 0, got -3"):
        fed(SPEECH, spoken_digits, workers=-3)


def test_what_cannot_decode_is_refused(
    spoken_digits: Path, pictures: Path, images: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="unknown decoder 'gif'; known are pillow, dali"):
        fed(images, pictures, decoder="gif")
    with pytest.raises(ValueError, match="spoken-digits has no images on disk for dali to decode"):
        fed(SPEECH, spoken_digits, decoder="dali")
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(ValueError, match=r"DALI is not installed here: pip install 'tunebench\[dali\]'"):
        fed(images, pictures, decoder="dali")
    assert fed(images, pictures).decoder is None
    assert fed(SPEECH, spoken_digits).decoder is None


def test_workers_read_the_same_and_end_with_what_they_read_for(pictures: Path, images: Task) -> None:
    def children() -> list[psutil.Process]:
        return [p for p in psutil.Process().children() if p not in before]

    before = psutil.Process().children()
    expected = epoch(fed(images, pictures), 1)
    source = fed(images, pictures, workers=2)
    assert same(epoch(source, 1), expected)
    assert children() == []
    with closing(source.training(1)) as batches:
        assert torch.equal(next(batches).inputs, expected[0][0])
        workers = children()
        assert len(workers) >= 2
    assert not any(worker.is_running() for worker in workers)


def test_a_damaged_image_ends_the_workers(tmp_path: Path, images: Task) -> None:
    folder = data_folder(tmp_path, train=26)
    files(folder, 0).train.path(3).write_bytes(b"\xff\xd8 no more")
    before = psutil.Process().children()
    with pytest.raises(DataError, match=r"JPEG: is not a complete image"):
        epoch(fed(images, folder, workers=1), 1)
    assert psutil.Process().children() == before


def test_too_few_images_are_refused(tmp_path: Path, images: Task) -> None:
    with pytest.raises(DataError, match="too few images to hold out any for validation; 13 of a class"):
        fed(images, data_folder(tmp_path, train=12))


def test_without_validation_all_but_test_is_trained_on(pictures: Path, images: Task) -> None:
    splits, source = files(pictures, 0), fed(images, pictures, Proxy(validation="none", batch_size=16))
    assert source.samples == len(splits.train) + len(splits.validation) == 80
    assert source.steps_an_epoch == 5
    assert epoch(source, 1)[1].flatten().bincount().tolist() == [40, 40]
    tested = [torch.cat([batch.inputs for batch in source.scored(p)]) for p in ("validation", "test")]
    assert torch.equal(*tested)
    assert len(tested[0]) == len(splits.test)


def test_a_proxy_reads_a_share_of_every_class(pictures: Path, images: Task) -> None:
    source = fed(images, pictures, Proxy(train_fraction=0.5))
    assert source.steps_an_epoch == 3  # 38 of 76
    targets = epoch(source, 1)[1]
    assert set(targets.flatten().tolist()) == {0, 1}
    assert same(epoch(fed(images, pictures, Proxy(train_fraction=0.5)), 1), epoch(source, 1))
    with pytest.raises(ValueError, match=r"train_fraction 0\.01 leaves classes without a training sample"):
        fed(images, pictures, Proxy(train_fraction=0.01))
    with pytest.raises(ValueError, match="16 training samples do not fill a batch of 30"):
        fed(
            replace(images, recipe=replace(images.recipe, batch_size=30)),
            pictures,
            Proxy(train_fraction=0.2),
        )
