"""What is different on a GPU: that nothing waits for it, and that numbers repeat there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import VALUES, bright_and_dark
from test_state import Stop, Stopping

from trainers import compilation, loop
from trainers.checkpoints import Checkpoint
from trainers.devices import repeatable, seeded
from trainers.feed import feed
from trainers.results import EpochResult
from trainers.tasks import TASKS, Proxy, Task
from trainers.training import Training

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
PROXY = Proxy(epochs=2, width=4, first_step=1)


def small(name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Task:
    bright_and_dark(TASKS[name], monkeypatch)
    return replace(TASKS[name], recipe=replace(TASKS[name].recipe, batch_size=8, **changes))


def train(task: Task, device: str = "cuda", **options: Any) -> Iterator[EpochResult]:
    options = {"seed": 0, "split_seed": 0, "data_dir": Path(), "proxy": PROXY} | options
    return loop.train(task, "gradient-filter", VALUES["gradient-filter"], device=device, **options)


def figures(results: Iterator[EpochResult]) -> list[tuple[float, ...]]:
    return [(r.train_loss, r.validation_metric, r.test_metric, r.flip_ratio) for r in results]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(
    "name", ["cifar10-birealnet20", "cifar10-denoise", "mnist-fullycon", "cifar10-bvgg-layer"]
)
def test_repeats_and_goes_on_bit_for_bit(
    name: str, compile: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops, noise and dropout too."""
    task = small(name, monkeypatch)
    whole = figures(train(task, compile=compile))
    figures(train(task, compile=compile, seed=1))  # leaves its graphs
    assert figures(train(task, compile=compile)) == whole
    with pytest.raises(Stop):
        list(train(task, compile=compile, checkpoint=Stopping(tmp_path / "kept", 11)))
    assert figures(train(task, compile=compile, checkpoint=Checkpoint(tmp_path / "kept"))) == whole


def test_a_compiled_training_repeats_where_all_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process: no kernel is chosen by how fast it happens to be."""
    task = small("cifar10-birealnet20", monkeypatch)
    results = []
    for _ in range(2):
        compilation._compiled.cache_clear()
        with torch._inductor.config.patch(force_disable_caches=True):
            results.append(figures(train(task, compile=True)))
    assert results[0] == results[1]


def test_graphs_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "RENEWED_AFTER", 2)
    task = small("cifar10-birealnet20", monkeypatch)
    reserved = []
    for seed in range(8):
        list(train(task, compile=True, seed=seed))
        reserved.append(torch.cuda.memory_reserved())
    assert max(reserved[4:]) <= max(reserved[:4])


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", ["cifar10-birealnet20", "cifar10-bvgg-layer"])
def test_begins_like_the_cpu(name: str, compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for rounding, where nothing is drawn on the device."""
    task = small(name, monkeypatch, augmentation="none")
    (here, *_), (there, *_) = train(task, compile=compile), train(task, "cpu")
    assert here.train_loss == pytest.approx(there.train_loss, rel=0.05)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("method", VALUES)
def test_no_step_waits_for_the_device(method: str, compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    task, place = PROXY.of(small("cifar10-birealnet20", monkeypatch)), torch.device("cuda")
    source = feed(task, PROXY, seed=0, split_seed=0, data_dir=Path(), place=place)
    training = Training(
        task,
        method,
        VALUES[method],
        source,
        proxy=PROXY,
        place=place,
        seed=0,
        split_seed=0,
        teacher=None,
        compile=compile,
    )
    training.begin()
    first, *others = [*source.training(1), *source.training(2)]
    training.model.train()
    with repeatable(place), seeded(0, place):
        for _ in range(3):  # compiles, allocates, records graphs
            training._step(first)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for samples in others:
                training._step(samples)
        finally:
            torch.cuda.set_sync_debug_mode("default")
