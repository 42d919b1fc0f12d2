"""What every optimizer of binary weights must do, whatever its update rule."""

import copy
import inspect
import itertools
import math
import pydoc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from trainers.hyperparameters import VALID, Interval, Options, Value
from trainers.layers.binary import BinaryConv2d, BinaryLinear, partition
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS, batches, validate
from trainers.optimizers.buffers import buffer
from trainers.optimizers.relaxed import Relaxed
from trainers.optimizers.signs import write_signs
from trainers.schedules import DECAYS, Progress, factor

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("gradient-filter", {"alpha": 0.1, "gamma": 0.2}),
    ("gradient-filter", {"alpha": 0.1, "gamma": None}),
    ("gradient-filter-first-order", {"alpha": 0.1}),
    *(
        ("iir-filter", {"cutoff": cutoff, "order": order})
        for cutoff, order in [(0.1, 1), (0.1, 2), (0.01, 4)]
    ),
    ("bop", {"gamma": 0.2, "tau": 0.0}),
    ("bop", {"gamma": 0.2, "tau": 1e-3}),
    ("bop-second-order", {"gamma": 0.2, "sigma": 0.1, "tau": 0.1}),
    *(
        (
            "ste-adam",
            {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.99, "weight_decay": decay, "clipping": clipping},
        )
        for decay, clipping in [(0.01, True), (0.0, False)]
    ),
    (
        "ste-adam",
        {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "clipping": False}
        | {"scaling": True, "masking": True, "initial_magnitude": 0.5, "glorot_rates": True},
    ),
    ("mirror-descent", {"learning_rate": 0.05, "beta_rate": 2.0}),
    ("mirror-descent", {"learning_rate": 0.05, "beta_rate": 2.0, "clipping": False}),
    *(
        (name, {"learning_rate": 0.05, "lambda_rate": 0.05})
        for name in ("proxquant-l1", "proxquant-l2", "bnew")
    ),
    (
        "latent-sgd-magnitude-independent",
        {"learning_rate": 0.5, "initial_magnitude": 0.3, "gamma": 0.2, "weight_decay": 0.01},
    ),
    *(
        (
            "latent-sgd",
            {
                "learning_rate": 0.5,
                "initial_magnitude": magnitude,
                "gamma": 0.2,
                "weight_decay": 0.01,
                "scaling": scaling,
                "clipping": clipping,
            },
        )
        for magnitude, scaling, clipping in [
            (0.0, False, False),
            (0.5, True, False),
            (0.5, False, True),
            (0.5, True, True),
        ]
    ),
]
every = pytest.mark.parametrize(("name", "values"), SETTINGS, ids=lambda v: v if isinstance(v, str) else None)


def test_help_lists_an_optimizers_hyperparameters() -> None:
    shown = pydoc.plaintext.document(OPTIMIZERS["gradient-filter"])
    keywords = "*, decay='none', bias_correction=False, generator=None"
    assert f"GradientFilter(params, alpha, gamma, {keywords})" in shown
    for optimizer in OPTIMIZERS.values():
        first, *given = inspect.signature(optimizer).parameters
        assert first == "params"
        assert {*given} >= {*optimizer.hyperparameters, *optimizer.optional, "generator"}


def build(name: str, values: dict[str, Any], parameters: Any, seed: int = 0) -> Any:
    return OPTIMIZERS[name](parameters, **values, generator=torch.Generator().manual_seed(seed))


def empty(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.zeros(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def feed(optimizer: Any, parameters: list[torch.Tensor], steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator).to(p)
        optimizer.step()


def test_every_optimizer_is_covered() -> None:
    assert {name for name, _ in SETTINGS} == set(OPTIMIZERS)
    for name, values in SETTINGS:
        optimizer = OPTIMIZERS[name]
        assert {*optimizer.hyperparameters} <= {*values} <= {*optimizer.hyperparameters, *optimizer.optional}
        assert optimizer.decayed in optimizer.hyperparameters


@settings(max_examples=60)
@given(
    setting=st.sampled_from(SETTINGS),
    shape=st.lists(st.integers(1, 5), max_size=4).map(tuple),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    scale=st.sampled_from([0.0, 1e-42, 1e-30, 1e-3, 1.0, 1e4]),
    sparsity=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_weights_are_binary_after_every_step(
    setting: tuple[str, dict[str, Any]],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    scale: float,
    sparsity: float,
    seed: int,
) -> None:
    name, values = setting
    (theta,) = empty(shape, dtype=dtype)
    optimizer = build(name, values, [theta], seed)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        assert theta.isfinite().all()
        if isinstance(optimizer, Relaxed):
            held = theta.detach().clone()
            with optimizer.binarised():
                assert (theta.abs() == 1).all()
                assert torch.equal(theta.signbit(), held.signbit())
            assert torch.equal(theta, held)
        elif not values.get("scaling"):
            assert (theta.abs() == 1).all()
        elif theta.dim() > 1:
            channels = theta.detach().abs().flatten(1)
            assert (channels == channels[:, :1]).all()  # one magnitude per channel
        noise = torch.randn(shape, generator=generator) * scale
        kept = torch.rand(shape, generator=generator) >= sparsity
        before, theta.grad = theta.detach().clone(), (noise * kept).to(dtype)
        optimizer.step()
        if not theta.grad.any() and name.startswith("gradient-filter"):
            assert values.get("gamma") is not None or torch.equal(before, theta)


@every
def test_state_dict_continues_identically(name: str, values: dict[str, Any]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        parameters = empty((6, 4), (3, 2, 3, 3), dtype=dtype)
        optimizer = build(name, values, parameters)
        feed(optimizer, parameters, 7, seed=1)
        optimizer.param_groups[0][optimizer.decayed] *= 0.5

        twins = empty((6, 4), (3, 2, 3, 3), dtype=dtype)
        twin = build(name, values, twins, seed=99)
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        with torch.no_grad():
            for p, t in zip(parameters, twins, strict=True):
                t.copy_(p)
        assert twin.param_groups[0][twin.decayed] == optimizer.param_groups[0][optimizer.decayed]

        feed(optimizer, parameters, 20, seed=2)
        feed(twin, twins, 20, seed=2)
        for p, t in zip(parameters, twins, strict=True):
            assert torch.equal(p, t)
            for key, value in optimizer.state[p].items():
                assert twin.state[t][key].dtype == value.dtype == torch.float32
                assert torch.equal(twin.state[t][key], value)


@every
def test_large_tensors_in_pieces_are_the_same(
    name: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [(13, 7), (5,), (40, 3, 3, 3), (1, 200), (2, 2)]
    results = []
    for elements in (10**9, 50):
        monkeypatch.setattr(batches, "ELEMENTS", elements)
        parameters = empty(*shapes)
        feed(build(name, values, parameters), parameters, 20)
        results.append(parameters)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_pieces_hold_every_element_once_and_keep_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ELEMENTS", 50)
    rows = [(torch.zeros(shape), torch.zeros(shape)) for shape in [(13, 7), (5,), (40, 3, 3, 3), (), (50, 1)]]
    for first, second in batches.cache_batches(rows):
        assert [a.shape for a in first] == [b.shape for b in second]
        assert sum(a.numel() for a in first) <= 50
        for tensor in (*first, *second):
            tensor += 1
    assert all((tensor == 1).all() for row in rows for tensor in row)


@every
def test_groups_keep_their_own_values(name: str, values: dict[str, Any]) -> None:
    optimizer_class, changed = OPTIMIZERS[name], values | {OPTIMIZERS[name].decayed: 0.01}
    together, alone = empty((4, 5), (3, 3)), empty((4, 5), (3, 3))
    groups = [{"params": [together[0]]}, {"params": [together[1]], **changed}]
    optimizer = build(name, values, groups)
    draws = torch.Generator().manual_seed(0)
    first = optimizer_class([alone[0]], **values, generator=draws)
    second = optimizer_class([alone[1]], **changed, generator=draws)
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        for p, q in zip(together, alone, strict=True):
            p.grad = q.grad = torch.randn(p.shape, generator=generator)
        for each in (optimizer, first, second):
            each.step()
    for p, q, owner in zip(together, alone, (first, second), strict=True):
        assert torch.equal(p, q)
        for key, value in owner.state[q].items():
            assert torch.equal(optimizer.state[p][key], value)


@every
def test_parameter_without_gradient_is_left_alone(name: str, values: dict[str, Any]) -> None:
    parameters = empty((4, 5), (3, 3))
    optimizer = build(name, values, parameters)
    before = parameters[1].detach().clone()
    feed(optimizer, parameters[:1], 5)
    assert torch.equal(parameters[1], before)
    assert parameters[1].grad is None


@every
def test_closure(name: str, values: dict[str, Any]) -> None:
    parameters = empty((4, 5))
    optimizer = build(name, values, parameters)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (parameters[0] * torch.arange(1.0, 6.0)).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).requires_grad
    for _ in range(20):
        optimizer.step(closure)
    assert (parameters[0] < 0).all()


@every
def test_layouts(name: str, values: dict[str, Any]) -> None:
    """Parameters and gradients take the same steps in any memory layout, the same one or not."""
    shape = (6, 4, 3, 3)
    plain = torch.zeros(shape, requires_grad=True)
    channels_last = torch.zeros(shape).to(memory_format=torch.channels_last).requires_grad_()
    transposed = torch.zeros(4, 6, 3, 3).transpose(0, 1).requires_grad_()
    parameters = [plain, channels_last, transposed]
    optimizers = [build(name, values, [p]) for p in parameters]
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        gradient = torch.randn(shape, generator=generator)
        for p, optimizer in zip(parameters, optimizers, strict=True):
            p.grad = gradient
            optimizer.step()
    for other in (channels_last, transposed):
        assert torch.equal(plain.signbit(), other.signbit())
        torch.testing.assert_close(plain, other)  # a channel's mean depends on the order of its sum


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_averaged_in_float32(
    name: str, values: dict[str, Any], dtype: torch.dtype
) -> None:
    half, full = empty((30, 30), dtype=dtype), empty((30, 30))
    optimizers = build(name, values, half), build(name, values, full)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        half[0].grad = (torch.randn(30, 30, generator=generator) * 1e-2).to(dtype)
        full[0].grad = half[0].grad.float()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(half[0].signbit(), full[0].signbit())
    assert {b.dtype for b in optimizers[0].state[half[0]].values()} == {torch.float32}


@every
def test_deep_copy_and_groups_added_later(name: str, values: dict[str, Any]) -> None:
    parameters = empty((4, 5))
    twin = copy.deepcopy(build(name, values, parameters))
    (later,) = empty((3, 3))
    twin.add_param_group({"params": [later]})
    assert twin.param_groups[1][twin.decayed] == values[twin.decayed]
    feed(twin, [later], 3)
    assert later.abs().min() > 0


OUT_OF_RANGE: list[tuple[str, str, Any]] = [
    *((name, key, bad)
      for name, key in [("gradient-filter", "alpha"), ("gradient-filter", "gamma"), ("latent-sgd", "gamma")]
      for bad in (0.0, -0.1, 1.5, float("nan"), "0.1", True)),
    *(("latent-sgd", key, bad) for key in ("learning_rate", "weight_decay", "initial_magnitude")
      for bad in (-0.1, float("inf"), float("nan"), False)),
    ("latent-sgd", "learning_rate", 0.0),
    *(("latent-sgd", key, bad) for key in ("scaling", "clipping") for bad in (1, 0.0, "true", None)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "bad"), OUT_OF_RANGE)
def test_value_out_of_range_is_refused_with_the_value(name: str, key: str, bad: Any) -> None:
    values = dict(SETTINGS)[name] | {"gamma": 0.2, key: bad}
    message = rf"{key} must be in .*, got {bad!r}"
    with pytest.raises(ValueError, match=message):
        build(name, values, empty((2, 2)))
    good = build(name, values | {key: 0.2 if key not in ("scaling", "clipping") else True}, empty((2, 2)))
    with pytest.raises(ValueError, match=message):
        good.add_param_group({"params": empty((2, 2)), key: bad})
    assert len(good.param_groups) == 1
    with pytest.raises(ValueError, match=message):
        validate(name, values)


def outside(valid: Interval | Options) -> list[Any]:
    """Return values on each side of a range, and values of other types."""
    if isinstance(valid, Options):
        return [None, "x", 0.5, *(float(v) if isinstance(v, int) else v == "none" for v in valid.values[:1])]
    values: list[Any] = [float("nan"), "0.1", True, valid.low - 0.5, valid.high + 0.5]
    return values + [valid.low] * valid.open_low + [valid.high] * valid.open_high


REFUSED = [
    (name, key, bad)
    for name in OPTIMIZERS
    for key in (*OPTIMIZERS[name].hyperparameters, *OPTIMIZERS[name].optional)
    for bad in outside(VALID[key])
    if not (bad is None and key in OPTIMIZERS[name].may_be_none)
]


@pytest.mark.parametrize(("name", "key", "bad"), REFUSED)
def test_every_value_outside_its_range_is_refused(name: str, key: str, bad: Any) -> None:
    good = dict(reversed(SETTINGS))[name]
    message = rf"{key} must be in .*, got {re.escape(repr(bad))}"
    with pytest.raises(ValueError, match=message):
        build(name, good | {key: bad}, empty((2, 2)))
    with pytest.raises(ValueError, match=message):
        build(name, good, empty((2, 2))).add_param_group({"params": empty((2, 2)), key: bad})
    with pytest.raises(ValueError, match=message):
        validate(name, good | {key: bad})


def ends(valid: Interval | Options) -> list[Any]:
    """Return the values at the ends of a range, and values near or beyond float32's limits."""
    if isinstance(valid, Options):
        return list(valid.values)
    low = math.nextafter(valid.low, math.inf) if valid.open_low else valid.low
    if valid.high == math.inf:
        return [low, 1e-45, 1e38, 1e39, sys.float_info.max]
    return [low, 1e-17, math.nextafter(valid.high, 0) if valid.open_high else valid.high]


EXTREME = [
    (name, key, end)
    for name in OPTIMIZERS
    for key in (*OPTIMIZERS[name].hyperparameters, *OPTIMIZERS[name].optional)
    for end in ends(VALID[key])
    if end in VALID[key]
]


@pytest.mark.parametrize(("name", "key", "end"), EXTREME)
@pytest.mark.filterwarnings("error")
def test_every_finite_value_can_be_trained_with(name: str, key: str, end: Any) -> None:
    """Nothing raises: overflow makes the weights or the buffers infinite or NaN, which a training then finds."""
    parameters = [torch.nn.Parameter(tensor) for tensor in empty((3, 4), (2,))]
    optimizer = build(name, dict(reversed(SETTINGS))[name] | {key: end}, parameters)
    optimizer.take_over({parameters[0]: torch.randn(3, 4)}, real=True)
    for step in range(6):
        optimizer.schedule(Progress(step, 6, 2))
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape) * (torch.rand(parameter.shape) < 0.5)
        optimizer.step()
    with optimizer.binarised():
        kept = [value for values in optimizer.state.values() for value in values.values()]
        if all(tensor.isfinite().all() for tensor in (*parameters, *kept)) and not optimizer.defaults.get(
            "scaling"
        ):
            assert all((parameter.abs() == 1).all() for parameter in parameters)


def test_filters_of_endless_memory_start_from_weights() -> None:
    parameters = [torch.nn.Parameter(tensor) for tensor in empty((3, 4))]
    optimizer = build("gradient-filter", {"alpha": 5e-324, "gamma": 5e-324}, parameters)
    signs = torch.randn(3, 4).sign()
    optimizer.take_over({parameters[0]: signs}, real=False)
    feed(optimizer, parameters, 2)
    assert torch.equal(parameters[0], signs)


def train(
    optimizer: Any, parameters: list[torch.Tensor], steps: range, total: int = 40, seed: int = 0
) -> None:
    """Take scheduled steps of a training of `total` steps, with the same gradients for a seed."""
    for i in steps:
        generator = torch.Generator().manual_seed(1000 * seed + i)
        optimizer.schedule(Progress(i, total, 5))
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator).to(p)
        optimizer.step()


@every
@pytest.mark.parametrize("stop", [1, 17, 35])
def test_a_training_saved_at_any_step_continues_identically(
    name: str, values: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    values = values | {"decay": "cosine"}
    shapes = (6, 4), (3, 2, 3, 3)
    parameters, twins = empty(*shapes), empty(*shapes)
    optimizer, twin = build(name, values, parameters), build(name, values, twins, seed=99)
    train(optimizer, parameters, range(stop))
    torch.save({"optimizer": optimizer.state_dict(), "parameters": parameters}, tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    twin.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        for t, p in zip(twins, saved["parameters"], strict=True):
            t.copy_(p)
    train(optimizer, parameters, range(stop, 40))
    train(twin, twins, range(stop, 40))
    assert optimizer.param_groups[0][optimizer.decayed] < values[optimizer.decayed] / 100
    for p, t in zip(parameters, twins, strict=True):
        assert torch.equal(p, t)
        assert values.get("scaling") or (p.abs() == 1).all()
        assert optimizer.state[p].keys() == twin.state[t].keys()
        assert all(torch.equal(b, twin.state[t][key]) for key, b in optimizer.state[p].items())


@every
def test_several_tensors_at_once_are_as_one_by_one(name: str, values: dict[str, Any]) -> None:
    shapes = (6, 4), (5,), (3, 2, 3, 3), ()
    together, alone = empty(*shapes), empty(*shapes)
    optimizer = build(name, values, together)
    single = [build(name, values, [q]) for q in alone]
    for p, q, its in zip(together, alone, single, strict=True):
        q.data.copy_(p.data)
        its.state[q].update({key: value.clone() for key, value in optimizer.state[p].items()})
    for i in range(40):
        generator = torch.Generator().manual_seed(i)
        for each in (optimizer, *single):
            each.schedule(Progress(i, 40, 5))
        for p, q in zip(together, alone, strict=True):
            p.grad = q.grad = torch.randn(p.shape, generator=generator)
        for each in (optimizer, *single):
            each.step()
        assert all(torch.equal(p, q) for p, q in zip(together, alone, strict=True))


@every
@pytest.mark.parametrize("decay", DECAYS)
def test_decay_shapes_what_it_should(name: str, values: dict[str, Any], decay: str) -> None:
    optimizer = build(name, values | {"decay": decay}, empty((2, 2)))
    for i in range(10):
        optimizer.schedule(Progress(i, 10, 2))
        expected = values[optimizer.decayed] * factor(decay, i, 10)
        assert optimizer.param_groups[0][optimizer.decayed] == pytest.approx(expected, rel=1e-14)
        assert all(optimizer.param_groups[0][k] == v for k, v in values.items() if k != optimizer.decayed)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: BinaryLinear(6, 4), (8, 6)),
    "convolution": (lambda: BinaryConv2d(6, 4, 3, padding=1), (8, 6, 5, 5)),
    "pointwise": (lambda: BinaryConv2d(6, 4, 1, stride=2, estimator="piecewise-polynomial"), (8, 6, 5, 5)),
    "depthwise": (
        lambda: BinaryConv2d(6, 6, 3, groups=6).to(memory_format=torch.channels_last),
        (8, 6, 5, 5),
    ),
}


@every
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer(name: str, values: dict[str, Any], layer: str) -> None:
    """Signs flip both ways, and at the end all weights are signs, with one scale per channel if scaled."""
    torch.manual_seed(0)
    make, shape = LAYERS[layer]
    module = make()
    optimizer = build(name, values, [module.weight])
    seen = module.weight.detach().signbit()
    up, down = torch.zeros_like(seen), torch.zeros_like(seen)
    for i in range(40):
        optimizer.schedule(Progress(i, 40, 5))
        optimizer.zero_grad()
        output = module(torch.randn(shape))
        (output * torch.randn(output.shape)).mean().backward()
        optimizer.step()
        now = module.weight.detach().signbit()
        up, down, seen = up | (seen & ~now), down | (now & ~seen), now
    assert up.any()
    assert down.any()
    sizes = module.weight.detach().abs().flatten(1)
    assert (sizes == (sizes[:, :1] if values.get("scaling") else 1)).all()


def test_names_are_checked() -> None:
    good: dict[str, Value] = {"alpha": 0.1, "gamma": 0.1}
    validate("gradient-filter", good)
    with pytest.raises(ValueError, match="unknown optimizer 'adam'; known are gradient-filter, latent-sgd"):
        validate("adam", good)
    with pytest.raises(ValueError, match="gradient-filter has no hyperparameter 'beta'; it has alpha, gamma"):
        validate("gradient-filter", good | {"beta": 1})
    with pytest.raises(
        ValueError, match="latent-sgd needs learning_rate, initial_magnitude, weight_decay, scaling"
    ):
        validate("latent-sgd", {"gamma": 0.1})


@every
def test_learns_a_small_task_and_moves_every_weight(name: str, values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    centres = torch.randn(4, 20) * 2
    targets = torch.arange(400) % 4
    inputs = centres[targets] + torch.randn(400, 20)
    model = MODELS["audio-mlp"]((20,), 4, width=32)
    binary, real = partition(model)
    faster = {"learning_rate": 10.0} if name.startswith("latent-sgd") else {}
    optimizer = build(name, values | faster | {"decay": "cosine"}, binary)
    steps = 150
    sgd = torch.optim.SGD(real, lr=0.05, momentum=0.9)
    start = [p.detach().clone() for p in model.parameters()]
    moved = [torch.zeros_like(p, dtype=torch.bool) for p in model.parameters()]
    for i in range(steps):
        optimizer.schedule(Progress(i, steps, steps // 15))
        batch = torch.arange(i * 40, i * 40 + 40) % 400
        model.zero_grad()
        cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
        sgd.step()
        for p, s, seen in zip(model.parameters(), start, moved, strict=True):
            seen |= p.detach() != s
    model.eval()
    assert (model(inputs).argmax(1) == targets).float().mean() > 0.9
    for p, seen in zip(model.parameters(), moved, strict=True):
        if any(p is b for b in binary) and not values.get("scaling"):
            assert seen.float().mean() > 0.1  # binary weights change only by a flip
        else:
            assert seen.all()
    if not values.get("scaling"):
        assert all((p.abs() == 1).all() for p in binary)


@pytest.mark.parametrize("binary", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_signs_of_any_number_are_written(binary: torch.dtype) -> None:
    dtype = buffer(torch.empty(0, dtype=binary)).dtype
    limits = torch.finfo(dtype)
    exponents = torch.linspace(math.log2(limits.tiny), math.log2(limits.max), 500, dtype=dtype)
    normal = torch.cat(
        [exponents[1:-1].exp2(), torch.tensor([limits.tiny, limits.max, math.inf], dtype=dtype)]
    )
    # with this number times the step's factor, a sign would be 0
    near = 2 / 3 * limits.tiny + torch.arange(-50, 51, dtype=dtype) * limits.tiny * limits.eps
    zeros = torch.tensor([0.0, -0.0], dtype=dtype)
    for old, direction in itertools.product((-1.0, 1.0), (-1, 1)):

        def written(x: torch.Tensor) -> torch.Tensor:
            theta = torch.full(x.shape, old, dtype=binary)  # noqa: B023
            write_signs([theta], [x], direction)  # noqa: B023
            return theta

        for x in (normal, -normal):
            assert torch.equal(written(x), (direction * x.sign()).to(binary))
        for x in (near, -near):
            assert (written(x).abs() == 1).all()
        assert (written(zeros) == old).all()


@every
def test_a_constructor_takes_what_its_class_names(name: str, values: dict[str, Any]) -> None:
    kind, (theta,) = OPTIMIZERS[name], empty((2, 3))
    needed, options = kind.hyperparameters, {k: v for k, v in values.items() if k in kind.optional}
    (group,) = kind([theta], *(values[key] for key in needed), **options).param_groups
    given = {**kind.optional, **values}
    assert {key: group[key] for key in given} == given
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentum'"):
        kind([theta], **values, momentum=0.9)
    if name != "iir-filter":  # which may be given coefficients instead
        first, *_ = values
        with pytest.raises(TypeError, match=f"missing a required.* '{first}'"):
            kind([theta], **{key: value for key, value in values.items() if key != first})
