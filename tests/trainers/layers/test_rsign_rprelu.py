import pytest
import torch
from torch import Tensor, nn

from trainers.layers import rsign_rprelu
from trainers.layers.rsign_rprelu import RPReLU, RSign

SHAPES = [(5, 3), (5, 3, 7), (6, 4, 5, 3)]


def plain_sign(x: Tensor, offset: Tensor) -> Tensor:
    """Return the sign, with the published code's piecewise polynomial in the backward pass."""
    x = x + offset.view(-1, *[1] * (x.ndim - 2))
    left, negative, below_one = (torch.where(x < bound, 1.0, 0.0).to(x.dtype) for bound in (-1, 0, 1))
    soft = -left + (x * x + 2 * x) * (1 - left)
    soft = soft * negative + (2 * x - x * x) * (1 - negative)
    soft = soft * below_one + (1 - below_one)
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype) - soft.detach() + soft


def plain_prelu(x: Tensor, before: Tensor, slope: Tensor, after: Tensor) -> Tensor:
    before, after = (p.view(-1, *[1] * (x.ndim - 2)) for p in (before, after))
    return nn.functional.prelu(x + before, slope) + after


def drawn(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return layer


@pytest.mark.parametrize("elements", [1, 10, 1 << 16])  # in pieces of one sample, of several, whole
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "plain"), [(RSign, plain_sign), (RPReLU, plain_prelu)])
def test_same_as_the_plain_formulation(kind, plain, shape, elements, monkeypatch) -> None:
    monkeypatch.setattr(rsign_rprelu, "ELEMENTS", elements)
    torch.manual_seed(0)
    layer = drawn(kind(shape[1]).double())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(shape, dtype=torch.float64)
    arguments = (x, *layer.parameters())
    ours = torch.autograd.grad(layer(x), arguments, gradient)
    theirs = torch.autograd.grad(plain(*arguments), arguments, gradient)
    torch.testing.assert_close(layer(x), plain(*arguments))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_prelu_has_the_derivative_of_its_difference_quotients() -> None:
    torch.manual_seed(0)
    layer = drawn(RPReLU(3).double())
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    before, slope, after = layer.parameters()
    assert torch.autograd.gradcheck(rsign_rprelu._OffsetPReLU.apply, (x, before, slope, after))


@pytest.mark.parametrize("layer", [RSign(3), RPReLU(3)], ids=["RSign", "RPReLU"])
def test_memory_stays_channels_last(layer: nn.Module) -> None:
    x = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_sign_is_never_zero_and_a_new_one_is_plus_one_at_zero() -> None:
    assert RSign(1)(torch.tensor([[-1.0], [-0.0], [0.0], [1.0]])).flatten().tolist() == [-1, 1, 1, 1]


@pytest.mark.parametrize("kind", [RSign, RPReLU])
def test_activations_of_16_bits_beside_parameters_of_32(kind) -> None:
    """An offset too small for the activations' type still decides the sign."""
    layer = kind(2)
    with torch.no_grad():
        next(layer.parameters()).fill_(-1e-4)
    x = torch.ones(3, 2, 4, 4, dtype=torch.bfloat16) * 1e-4
    x.requires_grad_()
    wide = x.detach().float().requires_grad_()
    y, expected = layer(x), layer(wide)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, expected.bfloat16())
    y.sum().backward()
    ours = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    expected.sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad, wide.grad.bfloat16())
    torch.testing.assert_close(ours, [p.grad for p in layer.parameters()], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", [RSign, RPReLU])
def test_only_the_input_is_kept_for_the_backward_pass(kind) -> None:
    layer = kind(3)
    kept: list[Tensor] = []
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    assert [t.data_ptr() for t in kept if t.numel() > 3] == [x.data_ptr()]
