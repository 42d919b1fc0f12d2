"""A training in float64: only its initial values and its given data are float32."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import VALUES, Stop, Stopping, bright_and_dark, train_with, watched
from torch import Tensor, nn

from trainers.data import DATASETS
from trainers.errors import CheckpointError
from trainers.layers.binary import BinaryLinear, sign
from trainers.models import MODELS
from trainers.record import Record
from trainers.tasks import TASKS, TEACHERS, Proxy
from trainers.training.checkpoints import Checkpoint, read
from trainers.training.losses import LOSSES
from trainers.training.results import EpochResult
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec

SPEECH = TASKS["spoken-digits"]
F64 = Proxy(precision="float64")


def types(part: Any) -> Iterator[torch.dtype]:
    """Yield the types of all real numbers in `part`, but not of the steps, which torch's Adam counts in float32."""
    if isinstance(part, Tensor) and part.is_floating_point():
        yield part.dtype
    elif isinstance(part, Mapping | list | tuple):
        values = [part[key] for key in part if key != "step"] if isinstance(part, Mapping) else part
        for value in values:
            yield from types(value)


@pytest.mark.parametrize(
    ("name", "method", "changes"),
    [
        ("mnist-fullycon", "bop", {"width": 16}),
        ("cifar10-denoise", "bop-second-order", {"width": 4}),
        ("cifar10-birealnet20", "latent-sgd", {"width": 2, "first_step": 1}),
        ("cifar10-reactnet20", "bnew", {"width": 2, "first_step": 0}),
        ("cifar10-resnet20-distilled", "ste-adam", {"width": 2}),
    ],
)
def test_all_that_is_computed_is_float64(
    name: str, method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, averages, inputs, outputs, also the teacher's, loss and scores are; initial values are float32's."""
    given: list[torch.dtype] = []
    task = watched(
        replace(TASKS[name], recipe=replace(TASKS[name].recipe, batch_size=16)),
        monkeypatch,
        lambda _, inputs: given.append(inputs.dtype),
    )
    bright_and_dark(task, monkeypatch)
    loss = LOSSES[task.recipe.loss]

    def seen(outputs: Tensor, targets: Tensor) -> Tensor:
        given.extend(types([outputs, targets]))
        return loss(outputs, targets)

    monkeypatch.setitem(LOSSES, task.recipe.loss, seen)
    if task.recipe.teacher:
        options = {"seed": 0, "split_seed": 0, "data_dir": tmp_path, "proxy": Proxy(epochs=1, width=2)}
        teacher = TEACHERS[task.recipe.teacher]
        teacher = replace(teacher, recipe=replace(teacher.recipe, batch_size=16))
        list(train_with(teacher, None, {}, save=tmp_path / f"teachers/{teacher.name}.pt", **options))

    def begun(precision: str | None) -> Training:
        proxy = Proxy(epochs=2, precision=precision, **changes)
        training = Training(
            TrainingSpec(task=task, proxy=proxy, method=method, hyperparameters=VALUES[method]),
            Machine(data_dir=tmp_path),
        )
        training.begin()
        return training

    single, double = begun(None), begun("float64")
    assert set(types(single.state.state_dict())) == {torch.float32}
    for part in ("model", "binary_optimizer"):
        before, after = single.state.state_dict()[part], double.state.state_dict()[part]
        assert widened(before) == widened(after)
    given.clear()
    while not double.over:
        result = double.epoch()
    assert not result.diverged
    assert set(given) == {torch.float64}
    assert set(types(double.state.state_dict())) == {torch.float64}


def widened(part: Any) -> Any:
    """Return `part` with tensors as lists of numbers."""
    if isinstance(part, Mapping):
        return {key: widened(value) for key, value in part.items()}
    return part.double().tolist() if isinstance(part, Tensor) else part


def test_it_goes_on_bit_for_bit_and_not_from_float32(spoken_digits: Path, tmp_path: Path) -> None:
    def train(checkpoint: Checkpoint, proxy: Proxy) -> list[EpochResult]:
        options = {"seed": 0, "split_seed": 0, "data_dir": spoken_digits, "checkpoint": checkpoint}
        results = train_with(SPEECH, "bnew", VALUES["bnew"], proxy=proxy, **options)
        return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]

    proxy = replace(F64, epochs=2, width=32)
    whole = train(Checkpoint(tmp_path / "whole"), proxy)
    for stop in (7, 18):
        with pytest.raises(Stop):
            train(Stopping(tmp_path / "kept", stop), proxy)
    kept = read(tmp_path / "kept")["state"]
    assert set(types(kept)) == {torch.float64}
    assert train(Checkpoint(tmp_path / "kept"), proxy) == whole
    one, other = (read(tmp_path / name)["state"] for name in ("whole", "kept"))
    for part in ("model", "binary_optimizer", "real_optimizer", "loss_sum"):
        assert widened(one[part]) == widened(other[part]), part
    with pytest.raises(
        CheckpointError, match="belongs to another training, with precision float64 instead of None"
    ):
        train(Checkpoint(tmp_path / "kept"), replace(proxy, precision=None))


def test_latent_weights_are_the_filter_sign_for_sign(spoken_digits: Path) -> None:
    """Quist 2023, Figure 7, holds in every step of a training; the buffers differ by rounding only."""
    record = Record(signs=True, weights=8)
    options = {"seed": 1, "split_seed": 1, "data_dir": spoken_digits, "record": record}
    latent = {"learning_rate": 1.0, "initial_magnitude": 0, "gamma": 0.1, "weight_decay": 1e-3}
    arms = (
        ("gradient-filter", {"alpha": 1e-3, "gamma": 0.1}),
        ("latent-sgd-magnitude-independent", latent),
        ("gradient-filter", {"alpha": 1e-2, "gamma": 0.1}),
    )
    proxy = replace(F64, epochs=5)
    one, two, other = (
        list(train_with(SPEECH, method, values, proxy=proxy, **options)) for method, values in arms
    )
    rounded = set[float]()
    for a, b, c in zip(one, two, other, strict=True):
        assert (a.train_loss, a.validation_metric, a.flip_ratio) == (
            b.train_loss,
            b.validation_metric,
            b.flip_ratio,
        )
        of_a, of_b, of_c = ({s.name: s.values for s in each.series} for each in (a, b, c))
        assert np.array_equal(of_a["signs"], of_b["signs"])
        assert not np.array_equal(of_a["signs"], of_c["signs"])
        assert 0 < a.flip_ratio < 0.2
        for name in of_a:
            if name.endswith(".g"):
                w = of_b[name.removesuffix("g") + "w"]
                np.testing.assert_allclose(of_a[name], -1e-3 * w, rtol=1e-9, atol=1e-18)
                rounded.update((of_a[name] + 1e-3 * w).tolist())
    assert rounded != {0.0}


def test_signs_at_a_batchs_mean_are_open(spoken_digits: Path) -> None:
    """A binary layer's sums are whole numbers, and some equal their mean exactly, whatever the precision.

    There, and nowhere else, the last digit of the mean decides the sign.
    """
    torch.manual_seed(0)
    model = MODELS[SPEECH.model]((20, 13), 10, width=256).double().train()
    x = DATASETS[SPEECH.dataset].load(spoken_digits, 0).train.inputs[:50].double()
    seen = list[tuple[bool, int]]()
    binary = False
    for layer in next(module for module in model.modules() if isinstance(module, nn.Sequential)):
        before, x = x, layer(x)
        if isinstance(layer, nn.BatchNorm1d):
            mean = before.mean(0)
            signs = [sign(before - torch.nextafter(mean, mean + side)) for side in (-1, 1)]
            assert torch.equal(signs[0] != signs[1], x == 0)
            seen.append((binary, int((x == 0).sum())))
        binary = isinstance(layer, BinaryLinear)
    assert [after for after, _ in seen] == [False, True, True, True]
    assert [zeros > 0 for _, zeros in seen] == [False, True, True, True]
