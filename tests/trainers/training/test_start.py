"""Each method starts from another network's weights."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import VALUES, train_with, watched_weights
from scipy import signal
from torch import Tensor, nn

from trainers.errors import CheckpointError
from trainers.files import checksum
from trainers.layers.binary import sign
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, FirstOrderFilter, GradientFilter, IIRFilter, real_parameters
from trainers.optimizers.filtering import Filtering
from trainers.optimizers.real_weights import RealWeights, RealWeightsSGD
from trainers.optimizers.relaxed import Relaxed
from trainers.tasks import TASKS, Proxy
from trainers.training import training
from trainers.training.checkpoints import Checkpoint, read
from trainers.training.results import EpochResult
from trainers.training.start import check_start, start_file, start_from

LATENT = [name for name in OPTIMIZERS if not (issubclass(OPTIMIZERS[name], Filtering) or "bop" in name)]
FILTERS: dict[str, dict[str, Any]] = {
    "gradient-filter": {"alpha": 0.2, "gamma": 0.3},
    "gradient-filter-first-order": {"alpha": 0.2},
    "iir-filter": {"cutoff": 0.2, "order": 3},
}


def build(name: str, parameters: list[Tensor], values: dict[str, Any] | None = None) -> Any:
    values = VALUES[name] if values is None else values
    return OPTIMIZERS[name](parameters, **values, generator=torch.Generator().manual_seed(0))


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    """Return parameters and real weights for them, in [-0.5, 0.5]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (6, 4), (3, 2, 3, 3)
    xs = [torch.rand(shape, generator=generator, dtype=dtype) - 0.5 for shape in shapes]
    return [torch.zeros_like(x, requires_grad=True) for x in xs], xs


def step(optimizer: Any, parameters: list[Tensor], gradients: list[Tensor]) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient.clone()
    optimizer.step()


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_method_takes_the_signs(name: str, real: bool) -> None:
    parameters, xs = weights()
    optimizer = build(name, parameters)
    optimizer.take_over(dict(zip(parameters, xs if real else map(sign, xs), strict=True)), real=real)
    for p, x in zip(parameters, xs, strict=True):
        assert torch.equal(sign(p.detach()), sign(x))
        if not isinstance(optimizer, Relaxed) and not VALUES[name].get("scaling"):
            assert (p.abs() == 1).all()


@pytest.mark.parametrize("name", LATENT)
def test_latent_weights_are_real_ones_or_keep_their_magnitudes(name: str) -> None:
    parameters, xs = weights()
    optimizer = build(name, parameters)
    drawn = [optimizer.state[p]["w"].clone() for p in parameters]
    optimizer.take_over(dict(zip(parameters, map(sign, xs), strict=True)), real=False)
    for p, x, w in zip(parameters, xs, drawn, strict=True):
        assert torch.equal(optimizer.state[p]["w"], w.abs() * sign(x))
    optimizer.take_over(dict(zip(parameters, xs, strict=True)), real=True)
    for p, x in zip(parameters, xs, strict=True):
        assert torch.equal(optimizer.state[p]["w"], x)
    if name == "latent-sgd":
        assert torch.equal(parameters[0].abs(), xs[0].abs().mean(1, keepdim=True).expand(6, 4))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_a_gradient_the_signs_stay(name: str) -> None:
    parameters, xs = weights()
    values = VALUES[name] | ({"weight_decay": 0.0} if "weight_decay" in VALUES[name] else {})
    optimizer = build(name, parameters, values)
    optimizer.take_over(dict(zip(parameters, xs, strict=True)), real=True)
    for _ in range(5):
        step(optimizer, parameters, [torch.zeros_like(x) for x in xs])
    for p, x in zip(parameters, xs, strict=True):
        assert torch.equal(sign(p.detach()), sign(x))


CASCADE = ([0.2 * 0.3], [1.0, -0.8 - 0.7, 0.8 * 0.7])  # alpha and gamma 0.2 and 0.3


@pytest.mark.parametrize(
    ("optimizer", "coefficients"),
    [
        (lambda p: GradientFilter(p, 0.2, 0.3), CASCADE),
        (lambda p: GradientFilter(p, 0.2, 1.0), ([0.2], [1.0, -0.8])),
        (lambda p: FirstOrderFilter(p, 0.001), ([0.001], [1.0, -0.999])),
        (lambda p: IIRFilter(p, coefficients=CASCADE), CASCADE),
        (lambda p: IIRFilter(p, coefficients=([3.0, 1.0], [1.0, -0.5])), ([3.0, 1.0], [1.0, -0.5])),
        (lambda p: IIRFilter(p, 0.3, 1), signal.butter(1, 0.3)),
        (lambda p: IIRFilter(p, 0.01, 2), signal.butter(2, 0.01)),
        (lambda p: IIRFilter(p, 0.001, 4), signal.butter(4, 0.001)),
    ],
)
def test_noise_through_a_filter(optimizer: Callable[[Any], Filtering], coefficients: Any) -> None:
    its = optimizer([torch.zeros(1, requires_grad=True)])
    response = signal.lfilter(*coefficients, [1.0] + [0.0] * 20_000)
    assert its.noise_gain(its.param_groups[0]) == pytest.approx(math.sqrt((response**2).sum()), rel=1e-6)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("real", [True, False])
def test_filters_start_as_if_all_gradients_had_been_minus_the_weights(name: str, real: bool) -> None:
    """Compare with a filter that was given 150 such gradients, of the first gradient's size times the noise gain."""
    parameters, xs = weights(dtype=torch.float64)
    xs = xs if real else [sign(x) for x in xs]
    twins = [torch.zeros_like(x, requires_grad=True) for x in xs]
    optimizer, twin = build(name, parameters, FILTERS[name]), build(name, twins, FILTERS[name])
    optimizer.take_over(dict(zip(parameters, xs, strict=True)), real=real)
    generator = torch.Generator().manual_seed(1)
    gradients = [[torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in xs] for _ in range(20)]
    size = optimizer.noise_gain(optimizer.param_groups[0])
    past = [-x / x.abs().mean() * g.abs().mean() * size for x, g in zip(xs, gradients[0], strict=True)]
    for _ in range(150):
        step(twin, twins, past)
    flips = 0
    for gradient in gradients:
        step(optimizer, parameters, gradient)
        step(twin, twins, gradient)
        for p, t, x in zip(parameters, twins, xs, strict=True):
            assert torch.equal(p, t)
            flips += int((sign(p.detach()) != sign(x)).sum())
            for key, value in optimizer.state[p].items():
                torch.testing.assert_close(value, twin.state[t][key], rtol=1e-9, atol=1e-12)
    assert flips > 0


def test_the_cascade_as_an_iir_filter_starts_as_the_gradient_filter_does() -> None:
    alpha, gamma = 0.05, 0.3
    (parameters, xs), (twins, _) = weights(dtype=torch.float64), weights(dtype=torch.float64)
    b, a = [alpha * gamma], [1.0, alpha + gamma - 2, (1 - alpha) * (1 - gamma)]
    optimizers = GradientFilter(parameters, alpha, gamma), IIRFilter(twins, coefficients=(b, a))
    generator = torch.Generator().manual_seed(1)
    for optimizer, its in zip(optimizers, (parameters, twins), strict=True):
        optimizer.take_over(dict(zip(its, xs, strict=True)), real=True)
    for _ in range(60):
        gradients = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in xs]
        for optimizer, its in zip(optimizers, (parameters, twins), strict=True):
            step(optimizer, its, gradients)
        assert all(torch.equal(p, t) for p, t in zip(parameters, twins, strict=True))


def test_a_filter_that_forgets_constants_starts_with_the_signs_alone() -> None:
    parameters, xs = weights()
    optimizer = IIRFilter(parameters, coefficients=([1.0, -1.0], [1.0, -0.5]))
    optimizer.take_over(dict(zip(parameters, xs, strict=True)), real=True)
    step(optimizer, parameters, [torch.ones_like(x) for x in xs])
    assert all((p == -1).all() for p in parameters)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_saved_before_its_first_step_remembers(name: str) -> None:
    (parameters, xs), (twins, _) = weights(), weights()
    optimizer, twin = build(name, parameters), build(name, twins)
    optimizer.take_over(dict(zip(parameters, xs, strict=True)), real=True)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with torch.no_grad():
        for t, p in zip(twins, parameters, strict=True):
            t.copy_(p)
    for its, their in ((optimizer, parameters), (twin, twins)):
        step(its, their, [torch.ones_like(x) for x in xs])
        step(its, their, [torch.ones_like(x) for x in xs])
    for p, t in zip(parameters, twins, strict=True):
        assert torch.equal(p, t)
        assert all(torch.equal(value, twin.state[t][key]) for key, value in optimizer.state[p].items())
        assert not p.eq(-1).all()  # the earlier weights count


@pytest.fixture
def train(spoken_digits: Path) -> Callable[..., list[EpochResult]]:
    def train(method: str | None, values: dict[str, Any] | None = None, **options: Any) -> list[EpochResult]:
        changes = {"seed": 0, "split_seed": 0, "data_dir": spoken_digits, "proxy": Proxy(epochs=3)} | options
        task = changes.pop("task", TASKS["spoken-digits"])
        return list(train_with(task, method, VALUES[method] if values is None else values, **changes))

    return train


@pytest.fixture(scope="module")
def source(spoken_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training of three epochs."""
    file = tmp_path_factory.mktemp("trained") / "source"
    list(
        train_with(
            TASKS["spoken-digits"],
            "gradient-filter",
            VALUES["gradient-filter"],
            seed=0,
            split_seed=0,
            data_dir=spoken_digits,
            proxy=Proxy(epochs=3),
            checkpoint=Checkpoint(file),
        )
    )
    return file


@pytest.mark.parametrize("method", OPTIMIZERS)
def test_a_training_starts_from_anothers_network(
    method: str, train: Callable[..., list[EpochResult]], source: Path
) -> None:
    if "latent-sgd" in method:
        values = VALUES[method] | {"learning_rate": 0.05}
    elif method.startswith("bop"):
        values = VALUES[method] | {"tau": 1e-4 if method == "bop" else 0.5}
    elif "alpha" in VALUES[method]:
        values = VALUES[method] | {"alpha": 1e-3}
    elif method == "iir-filter":
        values = {"cutoff": 1e-3, "order": 3}
    else:
        values = VALUES[method] | {"learning_rate": 1e-3}
    scratch = train(method, values, proxy=Proxy(epochs=1))[0]
    started = train(method, values, proxy=Proxy(epochs=1), start=source)[0]
    assert started.train_loss < scratch.train_loss - 0.3
    assert started.train_loss < 0.9


def test_layers_that_fit_are_taken_and_the_others_named(
    train: Callable[..., list[EpochResult]], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []

    def other(*arguments: Any, **options: Any) -> nn.Module:
        model = MODELS["audio-mlp"](*arguments, **options)
        model[7] = type(model[7])(model[7].in_features, 20)
        model[8] = nn.BatchNorm1d(20)
        model.register_forward_pre_hook(
            lambda m, _: seen.append(copy.deepcopy(m.state_dict())) if m.training and not seen else None
        )
        return model

    monkeypatch.setitem(MODELS, "other", other)
    task = replace(TASKS["spoken-digits"], model="other")
    with pytest.warns(UserWarning, match=r"source: has no values for 7\.weight, 8\.weight, 8\.bias.*, which"):
        train("bop", task=task, start=source)
    theirs = torch.load(source)["state"]["model"]
    for name, weight in theirs.items():
        if not name.startswith(("7.", "8.")):
            assert torch.equal(seen[0][name], weight), name


def test_what_one_cannot_start_from(
    train: Callable[..., list[EpochResult]], source: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="source: belongs to another network: no binary layer"):
        train("bop", proxy=Proxy(epochs=1, width=32), start=source)
    with pytest.raises(CheckpointError, match="none: there is no such checkpoint"):
        train("bop", start=tmp_path / "none")
    kept = Checkpoint(tmp_path / "kept")
    train("bop", start=source, checkpoint=kept)
    with pytest.raises(
        CheckpointError, match=r"kept: belongs to another training, with start [0-9a-f]{64} instead of None"
    ):
        train("bop", checkpoint=kept)
    with pytest.raises(CheckpointError, match="none: there is no such checkpoint"):
        train("bop", start=tmp_path / "none", checkpoint=kept)


def test_no_other_network_is_started_from_than_the_one_that_is_meant(
    train: Callable[..., list[EpochResult]], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = checksum(source)
    assert meant is not None
    train("bop", start=source, start_sum=meant)
    told = "source: is not the expected network; put that one back"
    with pytest.raises(CheckpointError, match=rf"{told} \(sha256 {64 * '0'}\)"):
        train("bop", start=source, start_sum=64 * "0")

    def replaced(path: Path, *others: Any) -> None:
        start_from(path, *others)
        path.write_bytes(path.read_bytes() + b"x")

    monkeypatch.setattr(training, "start_from", replaced)
    with pytest.raises(CheckpointError, match=rf"{told} \(sha256 {meant}\)"):
        train("bop", start=source, start_sum=meant)
    with pytest.raises(CheckpointError, match="source: changed while it was read; try again"):
        train("bop", start=source)


def test_what_trainings_can_start_from_is_known_before(
    source: Path, spoken_digits: Path, tmp_path: Path
) -> None:
    task, narrow = TASKS["spoken-digits"], Proxy(epochs=1, width=32)
    random = torch.get_rng_state()
    check_start(source, task, Proxy(epochs=1), spoken_digits)
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(
        CheckpointError, match="source: belongs to another network: no binary layer has the same"
    ):
        check_start(source, task, narrow, spoken_digits)
    file = start_file(tmp_path, "first")
    assert file == tmp_path / "starts" / "first.pt"
    told = rf"^{file}: missing; train a network, .*: python -m trainers spoken-digits --first-step EPOCHS"
    then = rf" --data {tmp_path} --checkpoint first\.pt; mkdir -p {file.parent}; mv first\.pt {file.parent}$"
    with pytest.raises(CheckpointError, match=told + then):
        check_start(file, task, Proxy(epochs=1), spoken_digits)
    with pytest.raises(CheckpointError, match=f"{told} --width 32{then}"):
        check_start(file, task, narrow, spoken_digits)
    file.parent.mkdir()
    file.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"first\.pt: damaged"):
        check_start(file, task, Proxy(epochs=1), spoken_digits)
    contents = read(source)
    model = contents["state"]["model"]
    name = list(model)[-2]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"over": False}, "its training has not finished: 3 epochs so far"),
        ({"results": [{"diverged": True}]}, "its training diverged"),
        ({"results": None}, "not a checkpoint of a training"),
        ({"model": dict.fromkeys(model, 1)}, "belongs to another network"),
        (
            {"model": {name: weight for name, weight in model.items() if name != "5.weight"}},
            "belongs to another network: 1 of 3 binary layers differ in name or shape: 5.weight",
        ),
        ({"model": model | {name: model[name] * torch.nan}}, f"{name} holds numbers that are not finite"),
    ]
    for change, told in changes:
        torch.save({**contents, "state": contents["state"] | change}, file)
        with pytest.raises(CheckpointError, match=rf"first\.pt: {told}"):
            check_start(file, task, Proxy(epochs=1), spoken_digits)


def test_two_steps(train: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step has real weights and is the same for every method; signs are scored, as in any network."""
    task, trained, scored = watched_weights(TASKS["spoken-digits"], monkeypatch)
    rates: list[float] = []

    class WatchedSGD(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(real_parameters, "SGD", WatchedSGD)
    proxy = Proxy(epochs=1, first_step=2)
    results = train("bop", task=task, proxy=proxy)
    assert [r.epoch for r in results] == [1, 2, 3]
    assert len(trained) == 60
    assert all(scored)
    assert len(scored) == 6
    assert all(0 < p.abs().max() <= 1 and (p.abs() < 1).any() for step in trained[:40] for p in step)
    assert all((p.abs() == 1).all() for step in trained[40:] for p in step)
    first = task.recipe.learning_rate
    cosines = [(1 + math.cos(math.pi * i / 40)) / 2 for i in range(40)]
    cosines += [(1 + math.cos(math.pi * i / 20)) / 2 for i in range(20)]
    assert rates == pytest.approx([first * c for c in cosines])  # the decay starts again
    before, taken = trained[39], trained[40]
    assert all((sign(x) == y).float().mean() > 0.98 for x, y in zip(before, taken, strict=True))

    trained.clear()
    others = train("ste-adam", task=task, proxy=proxy)
    assert [r.train_loss for r in others[:2]] == [r.train_loss for r in results[:2]]
    assert others[2].train_loss != results[2].train_loss
    trained.clear()
    bnew = train("bnew", task=task, proxy=proxy)
    assert all((p.abs() == 1).all() for p in trained[-1])
    assert [r.train_loss for r in bnew[:2]] == [r.train_loss for r in results[:2]]


def test_a_first_step_has_rates_of_its_own(
    train: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decay shapes both optimizers' rates and ends with it; its learning rate is for the binary layers' weights."""
    real: list[float] = []
    binary: list[float] = []

    class WatchedSGD(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            real.append(self.param_groups[0]["lr"])
            return super().step(closure)

    step = RealWeights.step
    monkeypatch.setattr(real_parameters, "SGD", WatchedSGD)
    monkeypatch.setattr(
        RealWeights, "step", lambda self: binary.append(self.param_groups[0]["learning_rate"]) or step(self)
    )
    own = {"first_step_learning_rate": 0.02, "first_step_decay": "linear"}
    train("bop", proxy=Proxy(epochs=1, first_step=1, **own))
    linear = [1 - i / 20 for i in range(20)]
    assert binary == pytest.approx([0.02 * share for share in linear])
    cosine = [(1 + math.cos(math.pi * i / 20)) / 2 for i in range(20)]
    assert real == pytest.approx([0.1 * share for share in (*linear, *cosine)])


def test_a_first_step_may_be_the_recipes_sgd(
    train: Callable[..., list[EpochResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is torch's SGD, on weights that are not clamped; the other parameters have a rate of their own in it."""
    real: list[float] = []
    theirs: dict[torch.Tensor, tuple[torch.Tensor, torch.optim.SGD]] = {}
    step, update = torch.optim.SGD.step, RealWeightsSGD.step

    class WatchedSGD(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            real.append(self.param_groups[0]["lr"])
            return step(self, closure)

    def compared(self: RealWeightsSGD) -> None:
        (group,) = self.param_groups
        for theta in group["params"]:
            if theta not in theirs:
                copy = theta.detach().clone()
                theirs[theta] = copy, torch.optim.SGD([copy], 1.0, momentum=0.9, weight_decay=0.01)
            copy, sgd = theirs[theta]
            copy.grad = theta.grad.clone()
            sgd.param_groups[0]["lr"] = group["learning_rate"]
            step(sgd)
        update(self)
        for theta, (copy, _) in theirs.items():
            torch.testing.assert_close(theta, copy)

    monkeypatch.setattr(real_parameters, "SGD", WatchedSGD)
    monkeypatch.setattr(RealWeightsSGD, "step", compared)
    own = {"first_step_optimizer": "sgd", "first_step_learning_rate": 0.5, "first_step_weight_decay": 0.01}
    proxy = Proxy(epochs=1, first_step=1, first_step_real_learning_rate=0.03, **own)
    train("bop", proxy=proxy)
    assert max(float(copy.abs().max()) for copy, _ in theirs.values()) > 0.5
    cosine = [(1 + math.cos(math.pi * i / 20)) / 2 for i in range(20)]
    assert real == pytest.approx([*(0.03 * share for share in cosine), *(0.1 * share for share in cosine)])


def test_a_first_step_alone_is_one_to_start_from(
    train: Callable[..., list[EpochResult]], spoken_digits: Path, tmp_path: Path
) -> None:
    kept = Checkpoint(tmp_path / "first")
    proxy = Proxy(epochs=1, first_step=2)
    alone = train(None, {}, proxy=proxy, checkpoint=kept)
    both = train("bop", proxy=proxy)
    assert [r.train_loss for r in alone] == [r.train_loss for r in both[:2]]
    state = read(kept.path)["state"]
    assert state["real_weights"]
    assert 0 < state["model"]["3.weight"].abs().max() <= 1
    check_start(kept.path, TASKS["spoken-digits"], Proxy(epochs=1), spoken_digits)
    (started,) = train("bop", {"gamma": 1e-3, "tau": 1e-4}, proxy=Proxy(epochs=1), start=kept.path)
    assert started.train_loss < both[0].train_loss
    assert train(None, {}, proxy=proxy, checkpoint=kept) == alone
    with pytest.raises(ValueError, match="spoken-digits needs a method for its binary weights, got None"):
        train(None, {})


def test_what_a_first_step_may_be() -> None:
    task = TASKS["spoken-digits"]
    assert Proxy(first_step=3).of(task).recipe.first_step is not None
    assert Proxy(first_step=3).of(task).recipe.epochs_by("bop") == 19
    two = Proxy(first_step=3).of(task)
    assert Proxy(first_step=0).of(two) == task
    assert Proxy(epochs=1).of(two).recipe.epochs_by("bop") == 4
    with pytest.raises(ValueError, match=r"first_step must be in \[0, 10000\], got -1"):
        Proxy(first_step=-1)
