import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import VALUES, bright_and_dark, train_with, watched, watched_weights
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.errors import DataError
from trainers.layers.binary import partition
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, GradientFilter, real_parameters
from trainers.record import Record
from trainers.tasks import TASKS, Proxy, Task
from trainers.training.results import EpochResult
from trainers.training.stages import stages

TASK = TASKS["spoken-digits"]
SMALL = Proxy(epochs=2, train_fraction=0.1, width=8)
FILTER = {"alpha": 1e-3, "gamma": 0.1}
LATENT = {
    "learning_rate": 1.0,
    "initial_magnitude": 0.01,
    "gamma": 0.1,
    "weight_decay": 1e-3,
    "scaling": False,
    "clipping": True,
}


@pytest.fixture
def run(spoken_digits: Path) -> Callable[..., list[EpochResult]]:
    def run(
        optimizer: str = "gradient-filter", values: dict[str, Any] = FILTER, **changes: Any
    ) -> list[EpochResult]:
        task = changes.pop("task", TASK)
        proxy = Proxy(epochs=changes.pop("epochs", 2))
        options = {"seed": 0, "split_seed": 0, "data_dir": spoken_digits, "proxy": proxy} | changes
        return list(train_with(task, optimizer, values, **options))

    return run


def figures(results: list[EpochResult]) -> list[EpochResult]:
    return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]


def test_the_batch_size_is_a_hyperparameter_as_well(run: Callable[..., list[EpochResult]]) -> None:
    values = FILTER | {"batch_size": 25}
    found = figures(run(values=values, proxy=SMALL))
    assert found != figures(run(proxy=SMALL))
    assert found == figures(run(proxy=replace(SMALL, batch_size=25)))


@pytest.mark.parametrize(("optimizer", "values"), [("gradient-filter", FILTER), ("latent-sgd", LATENT)])
def test_learns_real_speech(
    optimizer: str, values: dict[str, Any], run: Callable[..., list[EpochResult]]
) -> None:
    results = run(optimizer, values, epochs=None)
    assert [r.epoch for r in results] == list(range(1, TASK.recipe.epochs + 1))
    assert results[-1].validation_metric > 0.83
    assert results[-1].test_metric > 0.83
    assert results[-1].train_loss < results[0].train_loss / 2
    assert all(0 <= r.flip_ratio <= 1 for r in results)
    assert results[0].flip_ratio > results[-1].flip_ratio  # the decay settles the weights
    assert not any(r.diverged for r in results)
    assert all(r.train_seconds > 0 and r.evaluate_seconds > 0 for r in results)


def test_the_real_valued_parameters_optimizer_is_tuned(run: Callable[..., list[EpochResult]]) -> None:
    first = figures(run())
    assert figures(run(values=FILTER | TASK.recipe.real)) == first
    for name, value in TASK.recipe.real.items():
        other = "none" if isinstance(value, str) else value / 2
        assert figures(run(values=FILTER | {name: other})) != first, name
    adam = replace(TASK, recipe=replace(TASK.recipe, optimizer="adam", learning_rate=1e-3))
    first = figures(run(task=adam))
    assert figures(run(task=adam, values=FILTER | {"real_beta1": 0.5})) != first


def test_same_seeds_same_numbers_and_each_seed_matters(run: Callable[..., list[EpochResult]]) -> None:
    state = torch.get_rng_state()
    first = figures(run())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12345)
    assert figures(run()) == first
    assert figures(run(seed=1)) != first
    assert figures(run(split_seed=1)) != first


def test_streams_are_the_same_for_every_method(
    run: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are paired: real-valued initial weights and batches are the same whatever trains the binary weights."""
    seen: list[list[torch.Tensor]] = []

    def look(model: nn.Module, inputs: torch.Tensor) -> None:
        if not seen[-1]:
            seen[-1] += [p.detach().clone() for p in partition(model)[1]]
        seen[-1].append(inputs)

    task = watched(TASK, monkeypatch, look)
    for method, values in (("gradient-filter", FILTER), ("latent-sgd", LATENT)):
        seen.append([])
        run(method, values, task=task)
    assert len(seen[0]) == len(seen[1]) > 40
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_an_epoch_is_every_sample_in_whole_batches(
    run: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[torch.Tensor] = []

    task = watched(
        TASK, monkeypatch, lambda model, inputs: batches.append(inputs) if model.training else None
    )
    run(task=task, epochs=1)
    assert [len(b) for b in batches] == [50] * 20
    assert len({row.numpy().tobytes() for b in batches for row in b}) == 1000

    batches.clear()
    run(task=replace(task, recipe=replace(task.recipe, batch_size=300)), epochs=2)
    assert [len(b) for b in batches] == [300] * 6  # 1000 = 3 * 300 + 100 left out
    first, second = (
        {row.numpy().tobytes() for b in part for row in b} for part in (batches[:3], batches[3:])
    )
    assert len(first) == len(second) == 900
    assert first != second


@pytest.mark.parametrize(
    ("decay", "real"),
    [("none", {}), ("linear", {}), ("cosine", {}), ("exponential", {}), ("cosine", {"real_decay": "linear"})],
)
def test_decay_shapes_alpha_and_the_real_learning_rate(
    decay: Any, real: dict[str, str], run: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alphas: list[float] = []
    rates: list[float] = []

    class Watched(GradientFilter):
        def step(self, closure: Any = None) -> Any:
            alphas.append(self.param_groups[0]["alpha"])
            return super().step(closure)

    class WatchedSGD(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            assert len({group["lr"] for group in self.param_groups}) == 1
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "gradient-filter", Watched)
    monkeypatch.setattr(real_parameters, "SGD", WatchedSGD)
    task = replace(TASK, recipe=replace(TASK.recipe, decay=decay, decay_end=1e-3))
    run(task=task, epochs=2, values=FILTER | real)
    shapes = {
        "none": lambda t: 1.0,
        "linear": lambda t: 1 - t / 40,
        "cosine": lambda t: (1 + math.cos(math.pi * t / 40)) / 2,
        "exponential": lambda t: math.exp(math.log(1e-3) * t / 40),
    }
    shape, of_real = shapes[decay], shapes[real.get("real_decay", decay)]
    assert alphas == pytest.approx([FILTER["alpha"] * shape(t) for t in range(40)], rel=1e-12)
    assert rates == pytest.approx([TASK.recipe.learning_rate * of_real(t) for t in range(40)], rel=1e-12)


def test_a_decay_of_its_own_replaces_the_recipes(
    run: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alphas: list[float] = []

    class Watched(GradientFilter):
        def step(self, closure: Any = None) -> Any:
            alphas.append(self.param_groups[0]["alpha"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "gradient-filter", Watched)
    assert TASK.recipe.decay == "cosine"
    run("gradient-filter", FILTER | {"decay": "linear"}, epochs=1)
    assert alphas == pytest.approx([FILTER["alpha"] * (1 - t / 20) for t in range(20)], rel=1e-12)


@pytest.mark.parametrize("name", ["mirror-descent", "bnew"])
def test_only_binary_networks_are_scored(
    name: str, run: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the weights are in training, signs are scored, and afterwards the weights are as before."""
    task, trained, scored = watched_weights(TASK, monkeypatch)
    rate = {"beta_rate": 1.5} if name == "mirror-descent" else {"lambda_rate": 0.05}
    run(name, {"learning_rate": 0.01, **rate}, task=task, epochs=2)
    assert len(scored) == 4
    assert all(scored)
    soft = [not all((p.abs() == 1).all() for p in its) for its in trained]
    assert soft == [True] * 32 + [False] * 8  # signs in the last fifth of 40 steps


def test_divergence_ends_the_training_with_the_worst_metric(run: Callable[..., list[EpochResult]]) -> None:
    task = replace(TASK, worst=-7.0)
    (result,) = run(
        "latent-sgd", LATENT | {"learning_rate": 3e38, "scaling": True, "clipping": False}, task=task
    )
    assert result.diverged
    assert result.epoch == 1
    assert not math.isfinite(result.train_loss)
    assert result.validation_metric == result.test_metric == -7.0
    assert 0 <= result.flip_ratio <= 1


@pytest.mark.parametrize("method", [name for name in OPTIMIZERS if "learning_rate" in VALUES[name]])
def test_a_learning_rate_past_all_bounds_diverges(method: str, run: Callable[..., list[EpochResult]]) -> None:
    for rate in (1e39,) if "latent" in method else (1e38, 1e39):  # Adam's first step is ten times the rate
        results = run(method, VALUES[method] | {"learning_rate": rate}, proxy=SMALL)
        assert results[-1].diverged
        assert results[-1].validation_metric == 0


@pytest.mark.parametrize("values", [{"real_learning_rate": 1e30}, {"real_weight_decay": 1e30}])
def test_what_a_sign_hides_has_diverged(
    values: dict[str, float], run: Callable[..., list[EpochResult]]
) -> None:
    """NaN has a sign: loss and outputs stay finite, but are the same for every sample."""
    result = run(values=FILTER | values, proxy=SMALL)[-1]
    assert math.isfinite(result.train_loss)
    assert result.diverged
    assert result.validation_metric == 0


def test_the_real_valued_autoencoder_trains_without_a_method(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = TASKS["cifar10-real-denoise"]
    bright_and_dark(task, monkeypatch)
    proxy = Proxy(epochs=10, width=8)
    results = list(train_with(task, None, {}, seed=0, split_seed=0, data_dir=tmp_path, proxy=proxy))
    assert len(results) == 10
    assert results[-1].train_loss < 0.7 * results[0].train_loss
    assert results[-1].test_metric > results[0].test_metric
    assert results[-1].flip_ratio == 0


@pytest.mark.parametrize("name", ["cifar10-denoise", "cifar10-bvgg"])
def test_a_network_that_breaks_in_its_last_step_has_diverged(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loss was finite, and the largest of broken outputs would be taken for a class."""
    task = TASKS[name]
    bright_and_dark(task, monkeypatch)
    options = {"seed": 0, "split_seed": 0, "data_dir": tmp_path, "proxy": Proxy(epochs=1, width=8)}
    broken = FILTER | {"real_learning_rate": 1e38}
    (result,) = train_with(task, "gradient-filter", broken, **options)
    assert math.isfinite(result.train_loss)
    assert result.diverged
    assert result.validation_metric == result.test_metric == task.worst


class Waits(TorchFunctionMode):
    """A counter of calls that make the host wait for the device or that copy to the host."""

    NAMES = (
        "item",
        "tolist",
        "cpu",
        "numpy",
        "nonzero",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "equal",
    )

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.NAMES:
            self.calls[func.__name__] += 1
        return func(*args, **(kwargs or {}))


class Scalars(TorchDispatchMode):
    """A counter of operations below Python that read a value from the device or size their result by one."""

    NAMES = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "unique", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.NAMES:
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("optimizer", "values"),
    [
        ("gradient-filter", FILTER),
        ("latent-sgd", LATENT),
        ("latent-sgd", LATENT | {"scaling": True}),
        ("iir-filter", {"cutoff": 1e-3, "order": 3}),
        (
            "ste-adam",
            {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0, "clipping": True},
        ),
        ("bop", {"gamma": 1e-2, "tau": 1e-6}),
        ("bop-second-order", {"gamma": 1e-2, "sigma": 1e-3, "tau": 1e-3}),
        ("mirror-descent", {"learning_rate": 0.01, "beta_rate": 1.3}),
        ("proxquant-l1", {"learning_rate": 0.01, "lambda_rate": 0.05}),
        ("proxquant-l2", {"learning_rate": 0.01, "lambda_rate": 0.05}),
        ("bnew", {"learning_rate": 0.01, "lambda_rate": 0.05}),
    ],
)
def test_host_never_waits_within_an_epoch(
    optimizer: str, values: dict[str, Any], run: Callable[..., list[EpochResult]]
) -> None:
    """More steps in an epoch cause no more waits; only an epoch's end has some."""
    counts = []
    for batch_size, epochs in [(100, 1), (25, 1), (100, 2)]:
        task = replace(TASK, recipe=replace(TASK.recipe, batch_size=batch_size))
        with Waits() as waits, Scalars() as scalars:
            run(optimizer, values, task=task, epochs=epochs)
        counts.append(waits.calls + scalars.calls)
    assert counts[1] == counts[0]
    ends = counts[2] - counts[0]
    assert ends["_local_scalar_dense"] == 3  # loss, flips, and whether all is finite
    assert ends["tolist"] == 2  # validation and test scores


@pytest.mark.parametrize("method", ["gradient-filter", "ste-adam"])
def test_nor_for_what_is_recorded(method: str, run: Callable[..., list[EpochResult]]) -> None:
    """A row every second step is copied at the epoch's end only."""
    counts, latent = [], OPTIMIZERS[method].latent
    record = Record(every=2, flips=True, weights=3, signs=True, train_metric=True, latent_metric=latent)
    for batch_size in (100, 25):
        task = replace(TASK, recipe=replace(TASK.recipe, batch_size=batch_size))
        with Waits() as waits, Scalars() as scalars:
            run(method, VALUES[method], task=task, epochs=1, record=record)
        counts.append(waits.calls + scalars.calls)
    assert counts[0] == counts[1]
    assert counts[0]["cpu"] >= 3


IMAGES = [("mnist-fullycon", 16), ("cifar10-bvgg-layer", 2), ("cifar10-denoise", 4), ("cifar10-resnet20", 2)]


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[EpochResult]]:
    """Train an image task, 4 steps of 16 made-up images an epoch: bright ones in class 1, dark ones in class 0."""

    def run(name: str, width: int, **changes: Any) -> list[EpochResult]:
        task: Task = TASKS[name]
        bright_and_dark(task, monkeypatch)
        recipe = replace(task.recipe, batch_size=changes.pop("batch_size", 16), **changes.pop("recipe", {}))
        options = {
            "seed": 0,
            "split_seed": 0,
            "data_dir": Path(),
            "proxy": Proxy(epochs=1, width=width),
        } | changes
        values = {"alpha": 1e-2, "gamma": 0.1}
        return list(train_with(replace(task, recipe=recipe), "gradient-filter", values, **options))

    return run


@pytest.mark.parametrize(("name", "width"), IMAGES)
def test_host_never_waits_within_an_epoch_of_images(
    name: str, width: int, images: Callable[..., list[EpochResult]]
) -> None:
    counts = []
    for batch_size in (16, 8):
        with Waits() as waits, Scalars() as scalars:
            images(name, width, batch_size=batch_size)
        counts.append(waits.calls + scalars.calls)
    assert counts[0] == counts[1]
    assert counts[0]["_local_scalar_dense"] >= 2
    assert counts[0]["tolist"] >= 2


@pytest.mark.parametrize(("name", "width"), IMAGES)
def test_images_same_seeds_same_numbers_and_each_seed_matters(
    name: str, width: int, images: Callable[..., list[EpochResult]]
) -> None:
    """Dropout, crops and noise too: none depends on torch's own random state, which is left as it was."""
    state = torch.get_rng_state()
    first = figures(images(name, width))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12345)
    assert figures(images(name, width)) == first
    assert figures(images(name, width, seed=1)) != first


def test_dropout_differs_from_epoch_to_epoch(
    images: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[torch.Tensor] = []

    def watched(*args: Any, **options: Any) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), MODELS["audio-mlp"]((784,), 2, width=4))
        model[1].register_forward_hook(lambda m, _, y: dropped.append(y == 0) if m.training else None)
        return model

    monkeypatch.setitem(MODELS, "fullycon", watched)
    images("mnist-fullycon", 16, batch_size=64, proxy=Proxy(epochs=2))
    assert len(dropped) == 2
    assert (dropped[0] != dropped[1]).float().mean() > 0.1


def test_bright_and_dark_images_are_told_apart(images: Callable[..., list[EpochResult]]) -> None:
    results = images("mnist-lenet5", 4, proxy=Proxy(epochs=10, width=4), recipe={"decay": "cosine"})
    assert results[-1].validation_metric > 0.9
    assert results[-1].train_loss < results[0].train_loss / 2


def test_the_adam_of_a_recipe(
    images: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class Watched(torch.optim.Adam):
        def __init__(self, groups: Any, **options: Any) -> None:
            super().__init__(groups, **options)
            seen.extend(self.param_groups)

    monkeypatch.setattr(real_parameters, "Adam", Watched)
    images("cifar10-resnet20", 2, recipe={"betas": (0.5, 0.6), "weight_decay": 0.25, "decay": "none"})
    assert [(g["lr"], g["betas"], g["weight_decay"]) for g in seen] == [
        (0.01, (0.5, 0.6), 0.25),
        (0.01, (0.5, 0.6), 0.0),
    ]


def test_the_network_gets_images_as_the_recipe_says(
    images: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are augmented in training alone, and channels are last in memory."""
    trained: list[torch.Tensor] = []
    scored: list[torch.Tensor] = []

    def watched(*args: Any, **options: Any) -> nn.Module:
        model = birealnet20(*args, **options)
        model.register_forward_pre_hook(
            lambda m, inputs: (trained if m.training else scored).append(inputs[0])
        )
        return model

    birealnet20 = MODELS["birealnet20"]
    monkeypatch.setitem(MODELS, "birealnet20", watched)
    images("cifar10-birealnet20", 2)
    assert torch.equal(scored[0], scored[1])
    assert scored[0].mean().abs() < 1e-3
    assert abs(float(scored[0].std()) - 1) < 1e-2
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (*trained, *scored))
    rows = {row.numpy().tobytes() for row in scored[0]}
    assert not rows & {row.numpy().tobytes() for x in trained for row in x}
    images("cifar10-birealnet20", 2, recipe={"augmentation": "none"})
    trained, kept = [], trained[4:]
    assert {row.numpy().tobytes() for x in kept for row in x} == rows


def test_a_proxy_trains_on_fewer_and_smaller_images(
    images: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[torch.Size] = []

    def watched(*args: Any, **options: Any) -> nn.Module:
        assert options == {"width": 2}
        model = lenet5(*args, **options)
        model.register_forward_pre_hook(lambda m, inputs: shapes.append(inputs[0].shape))
        return model

    lenet5 = MODELS["lenet5"]
    monkeypatch.setitem(MODELS, "lenet5", watched)
    proxy = Proxy(epochs=2, width=2, train_fraction=0.5, image_size=8)
    assert len(images("mnist-lenet5", 2, proxy=proxy)) == 2
    assert shapes == 2 * [*2 * [(16, 1, 8, 8)], *2 * [(64, 1, 8, 8)]]


def test_without_validation_test_alone_is_scored_and_its_score_is_the_objective(
    images: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watched(*args: Any, **options: Any) -> nn.Module:
        model = lenet5(*args, **options)
        model.register_forward_pre_hook(lambda m, inputs: sizes.append(len(inputs[0])))
        return model

    lenet5 = MODELS["lenet5"]
    monkeypatch.setitem(MODELS, "lenet5", watched)
    (result,) = images("mnist-lenet5", 2, proxy=Proxy(epochs=1, validation="none", batch_size=32))
    assert result.validation_metric == result.test_metric
    assert sizes == [32, 32, 32, 32, 64]  # 64 + 64 images to train on, 64 of test


def test_the_count_of_waits_counts() -> None:
    with Waits() as waits, Scalars() as scalars:
        value = torch.ones(2).sum()
        if value > 1:
            value.item()
    assert waits.calls == {"__bool__": 1, "item": 1}
    assert scalars.calls["_local_scalar_dense"] + scalars.calls["is_nonzero"] >= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam'"),
        ({"values": {"alpha": 2.0, "gamma": 0.1}}, r"alpha must be in \(0, 1\], got 2.0"),
        ({"values": {"alpha": 0.1}}, "gradient-filter needs gamma"),
        (
            {"values": FILTER | {"real_learning_rate": 0}},
            r"real_learning_rate must be in \(0, inf\), got 0",
        ),
        (
            {"values": FILTER | {"real_beta1": 0.9}},
            "gradient-filter has no hyperparameter 'real_beta1'; it has .*, and optionally decay, bias_correction, "
            "real_learning_rate, real_weight_decay, real_momentum",
        ),
        ({"values": FILTER | {"batch_size": 20.0}}, r"batch_size must be in {2, 3, ..., 65536}, got 20.0"),
        ({"values": FILTER | {"batch_size": 1}}, r"batch_size must be in {2, 3, ..., 65536}, got 1"),
        ({"epochs": 0}, r"epochs must be in \[1, 10000\], got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"split_seed": -2}, "split_seed must be at least 0, got -2"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        (
            {"task": replace(TASK, recipe=replace(TASK.recipe, batch_size=1001))},
            "1000 training samples do not fill a batch of 1001",
        ),
    ],
)
def test_bad_arguments_are_refused(
    changes: dict[str, Any], message: str, run: Callable[..., list[EpochResult]]
) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_a_first_step_alone_has_no_decay_of_the_second() -> None:
    recipe = Proxy(first_step=1).of(TASKS["cifar10-reactnet20"]).recipe
    fault = (
        "real_decay applies to the second step, which needs a method, got 'none'; for the first step, set "
        "first_step_decay"
    )
    with pytest.raises(ValueError, match=fault):
        stages(recipe, None, {"real_decay": "none"})
    assert [stage.decay for stage in stages(recipe, "bop", {"real_decay": "none"})][1:] == ["none"]


def test_real_valued_parameters_start_anew_with_the_fine_tuning() -> None:
    recipe = Proxy(epochs=10, first_step=2).of(TASKS["cifar10-reactnet20"]).recipe  # 1e-2, linear
    values = {"learning_rate": 1e-2, "lambda_rate": 1e-4, "fine_tuning": 0.4}
    for restart, tail in ((False, [0.4, 0.3, 0.2, 0.1]), (True, [1.0, 0.75, 0.5, 0.25])):
        _, stage = stages(recipe, "bnew", values | {"restart": restart})
        rates = [stage.real_learning_rate(stage.progress(step, 1, 1e-4)) for step in range(2, 12)]
        assert rates[6:] == pytest.approx([1e-2 * share for share in tail])
        assert rates[5] == pytest.approx(1e-2 * (1 / 6 if restart else 0.5))
    for restart, share in (({"restart": True}, 0.2), ({"restart": False}, None), ({}, None)):
        assert stages(recipe, "mirror-descent", restart)[-1].fine_tuning == share  # the default


def test_missing_data(run: Callable[..., list[EpochResult]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tunebench data fetch spoken-digits"):
        run(data_dir=tmp_path)
