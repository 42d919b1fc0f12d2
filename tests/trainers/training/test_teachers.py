"""Teachers are trained, saved, read back and learned from."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import Stop, Stopping, train_with
from pictures import data_folder

from trainers.data import DATASETS, Samples, Splits
from trainers.data.splits import channel_statistics
from trainers.errors import CheckpointError, DataError
from trainers.files import checksum
from trainers.models import MODELS
from trainers.tasks import REAL_TASKS, TASKS, TEACHERS, Proxy, Task
from trainers.training import teachers
from trainers.training.checkpoints import Checkpoint
from trainers.training.losses import LOSSES
from trainers.training.results import EpochResult

FILTER = {"alpha": 1e-2, "gamma": 0.1}
IMAGENET = (3, 224, 224)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("teachers"), classes=6, train=13, val=2)


def train(name: str, data_dir: Path, **changes: Any) -> list[EpochResult]:
    task: Task = {**TASKS, **TEACHERS}[name]
    task = replace(task, recipe=replace(task.recipe, batch_size=8))
    proxy = Proxy(epochs=changes.pop("epochs", 1), width=2, image_size=32)
    method = changes.pop("method", None if name in TEACHERS else "gradient-filter")
    options = {"seed": 0, "split_seed": 0, "data_dir": data_dir, "proxy": proxy} | changes
    return list(train_with(task, method, FILTER if method else {}, **options))


def test_a_teacher_is_trained_and_learned_from(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights" / "teacher.pt"
    lessons = train("imagenet-resnet34", pictures, epochs=3, save=file)
    assert [r.flip_ratio for r in lessons] == [0, 0, 0]
    assert lessons[-1].train_loss < lessons[0].train_loss
    teacher = teachers.load("imagenet-resnet34", file, (3, 32, 32), 6)
    assert len(teacher.conv1.weight) == 2
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.training

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append((outputs, targets))
        return distribution(outputs, targets)

    distribution = LOSSES["distribution"]
    monkeypatch.setitem(LOSSES, "distribution", watched)
    (result,) = train("imagenet-reactnet-a", pictures, teacher=file)
    assert result.train_loss > 0
    assert all(targets.shape == (8, 6) and not targets.requires_grad for _, targets in seen)
    for top5, top1 in (
        (result.validation_top5, result.validation_metric),
        (result.test_top5, result.test_metric),
    ):
        assert top5 is not None
        assert top1 <= top5 <= 1
    expected = float(sum(distribution(outputs.detach(), targets) for outputs, targets in seen) / len(seen))
    assert result.train_loss == pytest.approx(expected, rel=1e-5)


def test_the_data_folders_teacher_is_taken_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randint(
        0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    samples = Samples(images, torch.arange(16) % 10)
    mean, std = channel_statistics(images)
    splits = Splits(samples, samples, samples, 10, mean, std)
    monkeypatch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], load=lambda root, seed: splits))
    with pytest.raises(
        DataError,
        match=r"teachers/cifar10-real-resnet20\.pt: missing; put a state dict of resnet20 there, "
        r"or train one: python -m trainers cifar10-real-resnet20$",
    ):
        train("cifar10-resnet20-distilled", tmp_path)
    with pytest.raises(DataError, match=r"teachers/cifar10-real-resnet20\.pt: missing; put a state dict"):
        teachers.check_file(TASKS["cifar10-resnet20-distilled"], tmp_path)
    teachers.check_file(TASKS["cifar10-resnet20"], tmp_path)
    file = teachers.path(tmp_path, "cifar10-real-resnet20")
    train("cifar10-real-resnet20", tmp_path, save=file)
    teachers.check_file(TASKS["cifar10-resnet20-distilled"], tmp_path)
    one = train("cifar10-resnet20-distilled", tmp_path)
    assert one[0].validation_top5 is None
    train("cifar10-real-resnet20", tmp_path, save=tmp_path / "other.pt", seed=1)
    other = train("cifar10-resnet20-distilled", tmp_path, teacher=tmp_path / "other.pt")
    assert one[0].train_loss != other[0].train_loss
    assert checksum(file) != checksum(tmp_path / "other.pt")
    assert checksum(tmp_path / "none.pt") is None


def test_learning_goes_on_in_the_middle_of_an_epoch(pictures: Path, tmp_path: Path) -> None:
    def learn(**changes: Any) -> list[EpochResult]:
        results = train("imagenet-birealnet18", pictures, epochs=2, teacher=weights, **changes)
        return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]

    weights = tmp_path / "teacher.pt"
    teachers.save(MODELS["resnet34"]((3, 32, 32), 6, width=2), weights)
    whole, kept = learn(), tmp_path / "checkpoint"
    with pytest.raises(Stop):  # 9 in the first epoch, 4 in the second
        learn(checkpoint=Stopping(kept, 14))
    assert learn(checkpoint=Checkpoint(kept)) == whole
    teachers.save(MODELS["resnet34"]((3, 32, 32), 6, width=2), weights)
    with pytest.raises(CheckpointError, match="belongs to another training, with teacher"):
        learn(checkpoint=Checkpoint(kept))


def test_published_weights_of_resnet34_are_taken(tmp_path: Path) -> None:
    """They are a plain dictionary, in older files without normalisation's count of batches."""
    network = MODELS["resnet34"](IMAGENET, 1000, width=16)
    weights = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(weights, tmp_path / "resnet34-333f7ec4.pth")
    before = torch.get_rng_state()
    teacher = teachers.load("imagenet-resnet34", tmp_path / "resnet34-333f7ec4.pth", IMAGENET, 1000)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in weights.items())


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.pt"
    torch.save(MODELS["resnet34"](IMAGENET, 10, width=2).state_dict(), file)
    said = r"t\.pt: not the weights of resnet34 for 6 classes: .*size mismatch for fc.*; put a state dict of"
    with pytest.raises(DataError, match=said):
        teachers.load("imagenet-resnet34", file, IMAGENET, 6)
    with pytest.raises(DataError, match=r"not the weights of resnet20 for 10 classes: .*Missing key"):
        teachers.load("cifar10-real-resnet20", file, (3, 32, 32), 10)
    for content in (b"", b"<html>", file.read_bytes()[:-1000]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="not the weights of resnet34"):
            teachers.load("imagenet-resnet34", file, IMAGENET, 10)


WRAPPED: dict[str, Any] = {
    "a checkpoint": lambda weights: {"state_dict": weights, "epoch": 90, "optimizer": {"lr": 0.1}},
    "DataParallel's": lambda weights: {f"module.{name}": weight for name, weight in weights.items()},
    "both": lambda weights: {"model": {f"module._orig_mod.{k}": weight for k, weight in weights.items()}},
    "of 16 bits": lambda weights: {k: w.half() if w.is_floating_point() else w for k, w in weights.items()},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_weights_are_found_in_what_trainings_wrap_them_in(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "t.pt"
    weights = MODELS["resnet20"]((3, 32, 32), 10, width=4).state_dict()
    torch.save(WRAPPED[kind](weights), file)
    teacher = teachers.load("cifar10-real-resnet20", file, (3, 32, 32), 10)
    for name, weight in teacher.state_dict().items():
        assert weight.dtype == weights[name].dtype
        torch.testing.assert_close(weight, weights[name], atol=1e-3, rtol=1e-3)
    assert teacher(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_weights_that_no_one_can_learn_from_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.pt"
    weights = MODELS["resnet20"]((3, 32, 32), 10, width=4).state_dict()
    first, last = next(iter(weights)), list(weights)[-1]
    refused: list[tuple[Any, str]] = [
        (
            weights | {last: torch.full_like(weights[last], torch.nan)},
            f"{last} holds numbers that are not finite",
        ),
        (
            weights | {first: torch.full_like(weights[first], -torch.inf)},
            f"{first} holds numbers that are not",
        ),
        (
            weights | {first: torch.zeros(10**6, 1)},
            "size mismatch",
        ),  # a network of that width takes terabytes
        (weights | {first: torch.tensor(1.0)}, "0-d tensor"),
        ({"epoch": 3}, "it holds no state dict: 'epoch' is not a tensor"),
        ([weights], "it holds no state dict"),
        ({"state_dict": {}}, "it holds no state dict"),
    ]
    for contents, reason in refused:
        torch.save(contents, file)
        with pytest.raises(
            DataError, match=rf"t\.pt: not the weights of resnet20 for 10 classes: .*{reason}"
        ):
            teachers.load("cifar10-real-resnet20", file, (3, 32, 32), 10)
    file.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"t\.pt: not the weights of resnet20 for 10 classes: it is empty; put a"
    ):
        teachers.load("cifar10-real-resnet20", file, (3, 32, 32), 10)


def test_a_teacher_is_looked_at_before_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(torch.zeros(128, 3, 32, 32, dtype=torch.uint8), torch.arange(128) % 10)
    splits = Splits(samples, samples, samples, 10, *channel_statistics(samples.inputs))
    monkeypatch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], load=lambda root, seed: splits))
    task, file = TASKS["cifar10-resnet20-distilled"], teachers.path(tmp_path, "cifar10-real-resnet20")
    network = MODELS["resnet20"]((3, 32, 32), 10, width=4)
    teachers.save(network, file)
    teachers.check_weights(task, Proxy(epochs=1), tmp_path)
    torch.nn.init.constant_(next(network.parameters()), torch.nan)
    teachers.save(network, file)
    with pytest.raises(
        DataError, match=r"cifar10-real-resnet20\.pt: .* holds numbers that are not finite; put a"
    ):
        teachers.check_weights(task, Proxy(epochs=1), tmp_path)


def test_a_teacher_without_an_answer_is_no_divergence(pictures: Path, tmp_path: Path) -> None:
    """Its weights are finite, what they make of an image is not: no method is to be blamed."""
    file = tmp_path / "t.pt"
    network = MODELS["resnet34"]((3, 32, 32), 6, width=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1e38)
    teachers.save(network, file)
    with pytest.raises(DataError, match=r"t\.pt: the teacher's outputs are not finite"):
        train("imagenet-reactnet-a", pictures, teacher=file)


def test_what_does_not_go_together_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="imagenet-birealnet18 needs a method for its binary weights, got None"
    ):
        train("imagenet-birealnet18", pictures, method=None)
    with pytest.raises(ValueError, match="imagenet-resnet34 has no binary weights, got gradient-filter"):
        train("imagenet-resnet34", pictures, method="gradient-filter")
    with pytest.raises(ValueError, match=r"spoken-digits does not learn from a teacher, got t\.pt"):
        teachers.file_of(TASKS["spoken-digits"], tmp_path, Path("t.pt"))


def test_weights_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/t\.pt: cannot be written"):
        teachers.save(torch.nn.Linear(1, 1), tmp_path / "file" / "t.pt")


@pytest.mark.parametrize("name", TEACHERS)
def test_every_teacher_is_some_tasks(name: str) -> None:
    teacher = TEACHERS[name]
    pupils = [task for task in TASKS.values() if task.recipe.teacher == name]
    assert pupils
    for pupil in pupils:
        assert (pupil.dataset, pupil.image_size) == (teacher.dataset, teacher.image_size)
        assert pupil.recipe.loss == "distribution"
        assert pupil.recipe.pixels == teacher.recipe.pixels  # they see the same inputs
    assert name not in TASKS or (name in REAL_TASKS and TASKS[name] is teacher)


def test_a_file_is_summed_once_while_it_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "teacher.pt"
    assert checksum(file) is None
    file.write_bytes(b"one")
    first = checksum(file)
    assert first == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", None)
        assert checksum(file) == first
    file.write_bytes(b"two")
    os.utime(file, ns=(0, 1))
    assert checksum(file) == hashlib.sha256(b"two").hexdigest()
    file.unlink()
    assert checksum(file) is None
