"""On a GPU nothing waits for the device, and numbers repeat."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import VALUES, Stop, Stopping, bright_and_dark, train_with
from pictures import data_folder

from trainers.devices import repeatable, seeded
from trainers.feeding.decoders import Decoder
from trainers.feeding.feed import feed
from trainers.layers.rsign_rprelu import RPReLU, RSign
from trainers.models import MODELS
from trainers.record import Record
from trainers.tasks import TASKS, Proxy, Task
from trainers.training import compilation
from trainers.training.checkpoints import Checkpoint
from trainers.training.results import EpochResult
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.timeout(900),  # some compile several times
]
TWO_STEPS = Proxy(epochs=2, width=4, first_step=1)


def small(name: str, monkeypatch: pytest.MonkeyPatch, batch_size: int = 8, **changes: Any) -> Task:
    task = TASKS["cifar10-birealnet20" if name == "birealnet18" else name]
    bright_and_dark(task, monkeypatch)
    task = replace(task, recipe=replace(task.recipe, batch_size=batch_size, **changes))
    return replace(task, model=name) if name in MODELS else task


def train(task: Task, device: str = "cuda", **options: Any) -> Iterator[EpochResult]:
    """Train on the GPU unless `device` says otherwise; a compiled training is CUDA graphs from end to end."""
    options = {"seed": 0, "split_seed": 0, "data_dir": Path(), "proxy": TWO_STEPS} | options
    yield from train_with(task, "gradient-filter", VALUES["gradient-filter"], device=device, **options)
    if options.get("compile"):
        assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0


def figures(results: Iterator[EpochResult]) -> list[tuple[float, ...]]:
    return [(r.train_loss, r.validation_metric, r.test_metric, r.flip_ratio) for r in results]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(
    "name", ["cifar10-birealnet20", "birealnet18", "cifar10-denoise", "mnist-fullycon", "cifar10-bvgg-layer"]
)
def test_repeats_and_goes_on_bit_for_bit(
    name: str, compile: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This includes crops, noise and dropout."""
    task = small(name, monkeypatch)
    whole = figures(train(task, compile=compile))
    figures(train(task, compile=compile, seed=1))  # leaves its graphs behind
    assert figures(train(task, compile=compile)) == whole
    with pytest.raises(Stop):
        list(train(task, compile=compile, checkpoint=Stopping(tmp_path / "kept", 11)))
    assert figures(train(task, compile=compile, checkpoint=Checkpoint(tmp_path / "kept"))) == whole


def test_a_compiled_training_repeats_where_all_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process: no kernel is chosen by how fast it happened to run."""
    task = small("cifar10-birealnet20", monkeypatch)
    results = []
    for _ in range(2):
        compilation._compiled.cache_clear()
        with torch._inductor.config.patch(force_disable_caches=True):
            results.append(figures(train(task, compile=True)))
    assert results[0] == results[1]


def test_graphs_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "TRAININGS_PER_COMPILE", 2)
    task = small("cifar10-birealnet20", monkeypatch)
    reserved = []
    for seed in range(8):
        list(train(task, compile=True, seed=seed))
        reserved.append(torch.cuda.memory_reserved())
    assert max(reserved[4:]) <= max(reserved[:4])


@pytest.mark.parametrize("kind", [RSign, RPReLU])
def test_compiled_layers_have_their_gradients(kind: type[RSign | RPReLU]) -> None:
    """Compiled by torch 2.11 the gradients once were 0."""
    torch.manual_seed(0)
    inputs, layer = torch.randn(4, 3, 8, 8, device="cuda"), kind(3).cuda()

    def gradients(step: Any) -> tuple[torch.Tensor, ...]:
        given = inputs.clone().requires_grad_()
        return torch.autograd.grad((step(given) * inputs.cos()).sum(), [given, *layer.parameters()])

    torch.testing.assert_close(gradients(torch.compile(layer, fullgraph=True)), gradients(layer))


@pytest.mark.parametrize("compile", [False, True])
def test_begins_like_the_cpu(compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without draws on the device, the loss of the first weights differs by rounding only; later signs flip."""
    task = small("cifar10-birealnet20", monkeypatch, batch_size=64, augmentation="none")
    first = Proxy(epochs=1, width=16)
    (here,), (there,) = train(task, compile=compile, proxy=first), train(task, "cpu", proxy=first)
    assert here.train_loss == pytest.approx(there.train_loss, rel=0.02)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("method", VALUES)
def test_no_step_waits_for_the_device(method: str, compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TrainingSpec(
        task=small("cifar10-birealnet20", monkeypatch),
        proxy=Proxy(epochs=2, width=4),
        method=method,
        hyperparameters=VALUES[method],
        record=Record(flips=True, weights=3, signs=True),
    )
    place, machine = torch.device("cuda"), Machine(data_dir=Path(), device="cuda", compile=compile)
    source, training = feed(spec, machine), Training(spec, machine)
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


@pytest.mark.parametrize("decoder", ["pillow", "dali"])
def test_images_from_disk_are_those_of_the_cpu(decoder: Decoder, tmp_path: Path) -> None:
    """The transfer does not wait: images are in pinned memory, or decoded on the device."""
    if decoder == "dali":
        pytest.importorskip("nvidia.dali", reason="needs pip install tunebench[dali]")
    task = TASKS["imagenet-birealnet18"]
    task = replace(task, image_size=24, recipe=replace(task.recipe, batch_size=10))
    spec, cpu = TrainingSpec(task=task), Machine(data_dir=data_folder(tmp_path), workers=2)
    here, there = feed(spec, replace(cpu, device="cuda", decoder=decoder)), feed(spec, cpu)
    for batch, expected in zip(list(here.training(1)), there.training(1), strict=True):
        assert batch.inputs.is_cuda
        assert torch.equal(batch.targets.cpu(), expected.targets)
        difference = (batch.inputs.cpu().int() - expected.inputs.int()).abs()
        assert difference.max() <= (8 if decoder == "dali" else 0)  # of 255 levels
