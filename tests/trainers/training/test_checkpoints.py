import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.errors import CheckpointError
from trainers.training import checkpoints
from trainers.training.checkpoints import Checkpoint, read

TRAINING: dict[str, Any] = {"task": "chess", "seed": 1, "recipe": {"epochs": 3, "betas": (0.9, 0.99)}}
STATE: dict[str, Any] = {
    "tensor": torch.arange(1000.0),
    "results": [{"train_loss": float("inf"), "epoch": 1}],
    "step": 7,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint = Checkpoint(tmp_path / "kept")
    assert checkpoint.open(TRAINING) is None
    checkpoint.write(STATE)
    return checkpoint.path


def test_what_is_written_is_read(path: Path) -> None:
    state = Checkpoint(path).open(TRAINING)
    assert state is not None
    assert torch.equal(state["tensor"], STATE["tensor"])
    assert (state["results"], state["step"]) == (STATE["results"], 7)
    assert read(path)["training"] == {**TRAINING, "torch": torch.__version__}
    assert read(path, mapped=True)["state"]["step"] == 7
    assert list(path.parent.iterdir()) == [path]


def test_how_long_the_kept_training_has_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(path)
    checkpoint.open(TRAINING)
    results = [
        {"train_seconds": 2.0, "evaluate_seconds": 0.5},
        {"train_seconds": 3.0, "evaluate_seconds": 0.25},
    ]
    checkpoint.write({"results": results, "train_seconds": 1.0})
    assert checkpoint.seconds() == 6.75
    assert Checkpoint(path.with_name("none")).seconds() == 0
    monkeypatch.setattr(torch, "__version__", "9.0")
    assert checkpoint.seconds() == 0  # it starts again
    path.write_bytes(path.read_bytes()[:500])
    assert checkpoint.seconds() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": 2},
            "belongs to another training, with seed 1 instead of 2; name another file, or delete this one",
        ),
        (
            {"recipe": {"epochs": 4, "betas": (0.9, 0.99)}},
            "belongs to another training, with epochs 3 instead of 4;",
        ),
        ({"task": "go", "seed": 0}, "task chess instead of go, seed 1 instead of 0"),
        ({"proxy": {"epochs": 3}}, "proxy None instead of {'epochs': 3}"),
    ],
)
def test_another_trainings_is_refused(changes: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"kept: .*{message}"):
        Checkpoint(path).open(TRAINING | changes)
    assert Checkpoint(path, spare=True).open(TRAINING | changes) is None


def test_another_torchs_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "9.0")
    with pytest.raises(CheckpointError, match=r"torch \S+ instead of 9.0"):
        Checkpoint(path).open(TRAINING)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_one_is_refused(share: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"kept: damaged, or not a checkpoint .*; delete it$"):
        Checkpoint(path).open(TRAINING)
    assert Checkpoint(path, spare=True).open(TRAINING) is None


def test_no_flipped_bit_goes_unseen(path: Path) -> None:
    """In the tensor every flip is found; elsewhere a bit may lie between the parts, where it is not read."""
    whole = path.read_bytes()
    start = whole.index(STATE["tensor"].numpy().tobytes())
    draws = random.Random(0)
    places = draws.sample(range(start, start + 4000), 20) + draws.sample(range(len(whole)), 180)
    for i, place in enumerate(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draws.randrange(8)
        path.write_bytes(damaged)
        try:
            state = Checkpoint(path).open(TRAINING)
        except CheckpointError:
            continue
        assert i >= 20
        assert state is not None
        assert torch.equal(state["tensor"], STATE["tensor"])
        assert (state["results"], state["step"]) == (STATE["results"], 7)


class Program:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_nothing_in_the_file_is_executed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    torch.save({"format": checkpoints.FORMAT, "training": TRAINING, "state": Program()}, path)
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        Checkpoint(path).open(TRAINING)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("contents", [[1, 2], {"model": 1}, {"format": 1}])
def test_a_file_that_is_none_of_ours_is_refused(contents: Any, path: Path) -> None:
    torch.save(contents, path)
    with pytest.raises(CheckpointError, match="not a checkpoint in format 2"):
        Checkpoint(path).open(TRAINING)


def test_a_missing_file_or_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        read(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"the folder .*none does not exist"):
        Checkpoint(tmp_path / "none" / "kept").open(TRAINING)
    spare = Checkpoint(tmp_path / "none" / "kept", spare=True)
    assert spare.open(TRAINING) is None
    spare.write(STATE)
    assert read(spare.path)["state"]["step"] == 7
    spare.remove()
    assert not spare.path.exists()
    spare.remove()


def test_when_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 60 seconds and at the end; a spare one at the end only of a long training."""
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    asked, spare = Checkpoint(path), Checkpoint(path.with_name("spare"), spare=True)
    for checkpoint in (asked, spare):
        checkpoint.open(TRAINING)
    now[0] = 59.0
    assert (asked.due(), asked.due(end=True)) == (False, True)
    assert (spare.due(), spare.due(end=True)) == (False, False)
    now[0] = 60.0
    assert asked.due()
    assert spare.due()
    spare.write(STATE)
    assert (spare.due(), spare.due(end=True)) == (False, True)
    now[0] = 121.0
    assert spare.due()

    def slow_disk(_: int) -> None:
        now[0] += 2.5

    monkeypatch.setattr(checkpoints.os, "fsync", slow_disk)
    spare.write(STATE)  # two syncs: the file and its folder
    assert now[0] == 126.0
    now[0] = 225.0
    assert not spare.due()
    now[0] = 226.0
    assert spare.due()


@pytest.fixture(params=["a file", "a disk that is read only"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A path that should be a writable folder but is not."""
    folder = tmp_path / "checkpoints"
    if request.param == "a file":
        folder.touch()
        yield folder
        return
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_spare_checkpoint_that_cannot_be_written_costs_nothing(
    unwritable: Path, recwarn: pytest.WarningsRecorder
) -> None:
    checkpoint = Checkpoint(unwritable / "kept", spare=True)
    assert checkpoint.seconds() == 0.0
    assert checkpoint.open(TRAINING) is None
    assert not checkpoint.due(end=True)
    checkpoint.write({"steps": 1})
    assert checkpoint.fault is not None
    checkpoint.remove()
    assert list(recwarn) == []


def test_a_full_disk_costs_no_training(path: Path) -> None:
    """The earlier file stays too."""
    checkpoint = Checkpoint(path)
    checkpoint.open(TRAINING)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.warns(UserWarning, match=r"kept: cannot be written: .*; the training continues"):
            checkpoint.write({**STATE, "step": 8})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read(path)["state"]["step"] == 7
    assert list(path.parent.iterdir()) == [path]
