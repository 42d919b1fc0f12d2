import copy
import pickle

import pytest
import torch
from torch import nn

from trainers.layers.binary import (
    ESTIMATORS,
    BinaryConv2d,
    BinaryLinear,
    binary_parameters,
    draw_signs,
    partition,
    sign,
)
from trainers.models import MODELS

POINTS = [-1.5, -1.0, -0.25, -0.0, 0.0, 0.25, 1.0, 1.5]
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", FLOATS)
def test_sign_is_plus_one_at_both_zeros(dtype: torch.dtype) -> None:
    result = sign(torch.tensor(POINTS, dtype=dtype))
    assert result.dtype == dtype
    assert result.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("estimator", "slope"),
    [
        ("straight-through", [0, 1, 1, 1, 1, 1, 1, 0]),  # Paren & Poudel 2021, eq 1
        ("piecewise-polynomial", [0, 0, 1.5, 2, 2, 1.5, 0, 0]),  # Paren & Poudel 2021, eq 2
    ],
)
def test_estimators_by_hand(estimator: str, slope: list[float], dtype: torch.dtype) -> None:
    x = torch.tensor(POINTS, dtype=dtype, requires_grad=True)
    y = ESTIMATORS[estimator](x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]
    (y * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3 * s for s in slope]


@pytest.mark.parametrize("dtype", FLOATS)
def test_straight_through_ends_right_after_one(dtype: torch.dtype) -> None:
    after = torch.nextafter(torch.ones((), dtype=dtype), torch.full((), 2, dtype=dtype))
    x = torch.stack([after, -after]).requires_grad_()
    ESTIMATORS["straight-through"](x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_backward_keeps_one_tensor(estimator: str) -> None:
    kept: list[torch.Tensor] = []
    x = torch.randn(5, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ESTIMATORS[estimator](x)
    assert len(kept) == 1
    assert kept[0].data_ptr() == x.data_ptr()


def test_linear_by_hand() -> None:
    layer = BinaryLinear(3, 2)
    assert set(layer.weight.unique().tolist()) <= {-1.0, 1.0}
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    x = torch.tensor([[0.5, -2.0, 0.0]], requires_grad=True)
    y = layer(x)
    assert y.tolist() == [[3.0, -1.0]]
    y.backward(torch.tensor([[1.0, 10.0]]))
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1, -1, 1], [10, -10, 10]]  # gradient x signs of the input
    assert x.grad is not None
    assert x.grad.tolist() == [[-9, 0, -9]]  # |-2| > 1 passes nothing


def test_convolution_is_that_of_the_signs() -> None:
    torch.manual_seed(0)
    layer = BinaryConv2d(4, 6, 3, stride=2, padding=1, groups=2, estimator="piecewise-polynomial")
    assert set(layer.weight.unique().tolist()) == {-1.0, 1.0}
    x = torch.randn(2, 4, 7, 7)
    expected = nn.functional.conv2d(x.sign(), layer.weight, stride=2, padding=1, groups=2)
    torch.testing.assert_close(layer(x), expected)


def test_unknown_estimator_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'soft'; known are straight-through, piecewise-polynomial"):
        BinaryLinear(1, 1, estimator="soft")


def test_signs_are_balanced_and_the_same_for_a_seed() -> None:
    first, second = (draw_signs(torch.empty(100, 100), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert abs(first.mean()) < 0.05  # five standard deviations
    assert draw_signs(torch.empty(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_audio_network_is_that_of_section_4_2() -> None:
    model = MODELS["audio-mlp"]((10, 13), 10, width=64)
    layers = [type(layer).__name__ for layer in model]
    assert layers == ["Flatten", "Linear", "BatchNorm1d"] + ["BinaryLinear", "BatchNorm1d"] * 3
    binary, real = partition(model)
    assert sum(p.numel() for p in binary) == 64 * 64 + 64 * 64 + 64 * 10
    assert sum(p.numel() for p in real) == 130 * 64 + 2 * (64 + 64 + 64 + 10)
    assert model(torch.randn(5, 10, 13)).shape == (5, 10)


def test_partition_refuses_a_weight_that_is_both() -> None:
    model = nn.Sequential(BinaryLinear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"shared by a binary and a real-valued layer: 0\.weight"):
        partition(model)


def test_partition_refuses_a_bias_on_a_binary_layer() -> None:
    layer = BinaryLinear(3, 3)
    layer.bias = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="besides its binary weight: weight, bias"):
        partition(nn.Sequential(layer))


def test_binary_layers_may_share_and_rest_is_real() -> None:
    model = nn.Sequential(BinaryLinear(3, 3), BinaryLinear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    assert [p is model[0].weight for p in binary_parameters(model)] == [True]
    model[2].bias.requires_grad = False
    binary, real = partition(model)
    assert [p is model[0].weight for p in binary] == [True]
    assert [p is model[2].weight for p in real] == [True]


def test_layers_copy_and_pickle() -> None:
    layer = BinaryLinear(3, 2, estimator="piecewise-polynomial")
    x = torch.randn(4, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
