import math

import pytest
import torch

from trainers.losses import LOSSES, squared_hinge
from trainers.metrics import METRICS, psnr, squared_error


def test_squared_hinge_by_hand() -> None:
    outputs = torch.tensor([[2.0, -0.5, 0.0], [0.5, 0.25, -3.0]])
    # signs: + - - and - + -; max(0, 1 - s y)^2
    expected = (0 + 0.25 + 1 + 2.25 + 0.5625 + 0) / 6
    assert float(squared_hinge(outputs, torch.tensor([0, 1]))) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_squared_hinge() -> None:
    outputs = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda x: squared_hinge(x, targets), outputs)


def test_cross_entropy_of_equal_logits() -> None:
    loss = LOSSES["cross-entropy"](torch.zeros(3, 10), torch.tensor([0, 4, 9]))
    assert float(loss) == pytest.approx(math.log(10))


def test_accuracy_is_the_mean_of_what_is_correct() -> None:
    metric = METRICS["accuracy"]
    right = metric.of_samples(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([1, 1]))
    assert right.tolist() == [True, False]
    assert metric.of_mean(0.5) == 0.5


def test_psnr_by_hand() -> None:
    """An error of a tenth of the range everywhere is 20 dB, the greatest possible one 0 dB, none infinite."""
    target = torch.full((2, 3, 4, 4), -1.0)
    errors = squared_error(target + torch.tensor([0.2, 2.0])[:, None, None, None], target)
    assert errors.tolist() == pytest.approx([0.04, 4.0])
    assert [psnr(float(e)) for e in errors] == pytest.approx([20, 0], abs=1e-5)
    assert psnr(0.0) == math.inf
