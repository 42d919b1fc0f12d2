"""A stopped training goes on as if it had not been stopped."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import VALUES, Stop, Stopping, bright_and_dark, train_with

from trainers.optimizers import OPTIMIZERS
from trainers.tasks import TASKS, Proxy
from trainers.training import training
from trainers.training.checkpoints import Checkpoint, read
from trainers.training.results import EpochResult

SPEECH = TASKS["spoken-digits"]
STEPS = 60  # of the trainings below: three epochs of 20
ONE_STEP, TWO_STEP = Proxy(epochs=3, width=32), Proxy(epochs=2, width=32, first_step=1)


def figures(results: Iterator[EpochResult]) -> list[EpochResult]:
    return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]


def bits(part: Any) -> Any:
    """Return `part` with tensors as bytes, type and shape, which can be compared."""
    if isinstance(part, torch.Tensor):
        return part.dtype, part.shape, part.numpy().tobytes()
    if isinstance(part, Mapping):
        return {key: bits(value) for key, value in part.items()}
    return [bits(value) for value in part] if isinstance(part, list | tuple) else part


@pytest.fixture
def speech(spoken_digits: Path) -> Callable[..., Iterator[EpochResult]]:
    def train(
        method: str, checkpoint: Checkpoint | None = None, proxy: Proxy = ONE_STEP
    ) -> Iterator[EpochResult]:
        return train_with(
            SPEECH,
            method,
            VALUES[method],
            seed=0,
            split_seed=0,
            data_dir=spoken_digits,
            proxy=proxy,
            checkpoint=checkpoint,
        )

    return train


@pytest.mark.parametrize("method", OPTIMIZERS)
def test_every_method_goes_on_from_any_step(
    method: str, speech: Callable[..., Iterator[EpochResult]], tmp_path: Path
) -> None:
    """Stops are in either step of two-step training; the first has 20 steps."""
    untouched, interrupted = Checkpoint(tmp_path / "untouched"), tmp_path / "interrupted"
    whole = figures(speech(method, untouched, TWO_STEP))
    steps = sorted(random.Random(method).sample(range(1, STEPS + 3), 3))
    for stop in (stop - before for stop, before in zip(steps, [0, *steps], strict=False)):
        with pytest.raises(Stop):
            list(speech(method, Stopping(interrupted, stop), TWO_STEP))
    assert figures(speech(method, Checkpoint(interrupted), TWO_STEP)) == whole
    expected, state = (read(tmp_path / name)["state"] for name in ("untouched", "interrupted"))
    for part in ("model", "binary_optimizer", "real_optimizer", "flips", "augmentation", "loss_sum", "step"):
        assert bits(state[part]) == bits(expected[part]), part


def test_an_epochs_end_is_kept_too(speech: Callable[..., Iterator[EpochResult]], tmp_path: Path) -> None:
    """Stops are after the last step, before the scores, and after the scores."""
    whole = figures(speech("bnew"))
    for stop in (20, 21):
        with pytest.raises(Stop):
            list(speech("bnew", Stopping(tmp_path / "kept", stop)))
        training = speech("bnew", Checkpoint(tmp_path / "kept"))
        assert figures(training) == whole
        (tmp_path / "kept").unlink()


@pytest.mark.parametrize(
    ("name", "width"), [("mnist-fullycon", 16), ("cifar10-denoise", 4), ("cifar10-birealnet20", 2)]
)
def test_dropout_noise_and_crops_go_on(
    name: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(TASKS[name], recipe=replace(TASKS[name].recipe, batch_size=8))
    bright_and_dark(task, monkeypatch)

    def train(checkpoint: Checkpoint | None = None) -> Iterator[EpochResult]:
        return train_with(
            task,
            "gradient-filter",
            VALUES["gradient-filter"],
            seed=0,
            split_seed=0,
            data_dir=Path(),
            proxy=Proxy(epochs=2, width=width),
            checkpoint=checkpoint,
        )

    whole = figures(train())
    for stop in (3, 9, 14):  # in an epoch, at its end, in the next
        with pytest.raises(Stop):
            list(train(Stopping(tmp_path / str(stop), stop)))
        torch.manual_seed(stop)
        assert figures(train(Checkpoint(tmp_path / str(stop)))) == whole


def test_a_finished_training_only_tells_of_it(
    speech: Callable[..., Iterator[EpochResult]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoint(tmp_path / "kept")
    results = list(speech("bop", kept))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(OPTIMIZERS["bop"], "step", never)
    assert list(speech("bop", kept)) == results  # seconds too


def test_a_training_that_diverged_does_not_go_on(spoken_digits: Path, tmp_path: Path) -> None:
    values = VALUES["latent-sgd"] | {"learning_rate": 3e38, "scaling": True, "clipping": False}

    def train() -> list[EpochResult]:
        return list(
            train_with(
                SPEECH,
                "latent-sgd",
                values,
                seed=0,
                split_seed=0,
                data_dir=spoken_digits,
                checkpoint=Checkpoint(tmp_path / "kept"),
            )
        )

    (first,) = train()
    (again,) = train()
    assert first.diverged
    assert repr(again) == repr(first)  # NaN does not equal NaN


def test_seconds_go_on_without_those_of_writing(
    speech: Callable[..., Iterator[EpochResult]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(clock)))
    with pytest.raises(Stop):
        list(speech("bop", Stopping(tmp_path / "kept", 7)))
    (first, *_) = speech("bop", Checkpoint(tmp_path / "kept"))
    assert first.train_seconds == 2  # a tick before the stop, one after it
