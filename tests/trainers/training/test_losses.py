import math

import pytest
import torch

from trainers.tasks import TASKS
from trainers.training.losses import LOSSES, distribution, squared_hinge
from trainers.training.metrics import METRICS, is_among_five, psnr, squared_error


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


def test_distribution_loss_by_hand() -> None:
    """Teacher (3/4, 1/4), network (1/2, 1/2) and (1/4, 3/4)."""
    teacher = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log()
    outputs = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    outputs[1] = outputs[1].log()
    first = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    second = 0.75 * math.log(3) + 0.25 * math.log(1 / 3)
    assert float(distribution(outputs, teacher)) == pytest.approx((first + second) / 2, rel=1e-6)
    assert float(distribution(teacher + 7, teacher)) == pytest.approx(0, abs=1e-6)


def test_its_gradient_is_that_of_cross_entropy_with_the_teachers_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    outputs = torch.randn(5, 4, dtype=torch.float64, generator=generator).requires_grad_()
    (gradient,) = torch.autograd.grad(distribution(outputs, teacher), outputs)
    torch.testing.assert_close(gradient, (outputs.softmax(1) - teacher.softmax(1)).detach() / 5)


def test_smoothed_cross_entropy_is_that_of_bireal_nets_code() -> None:
    """Compare with the mean over samples of -sum of ((1 - 0.1) for the class + 0.1 / classes) log p."""
    outputs = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 6, 3, 3, 1])
    wanted = torch.full((5, 7), 0.1 / 7, dtype=torch.float64)
    wanted[range(5), targets] += 0.9
    expected = -(wanted * outputs.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(
        LOSSES["smoothed-cross-entropy"](outputs, targets), expected, rtol=1e-12, atol=0
    )


def test_among_five() -> None:
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 3, 4, 5]])
    assert is_among_five(logits, torch.tensor([4, 0])).tolist() == [True, False]
    assert is_among_five(logits[:, :3], torch.tensor([2, 0])).tolist() == [True, True]


def test_accuracy_is_the_mean_of_what_is_correct() -> None:
    metric = METRICS["accuracy"]
    right = metric.of_samples(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([1, 1]))
    assert right.tolist() == [True, False]
    assert metric.of_all(torch.tensor([True, False, True])) == 2 / 3


def test_psnr_by_hand() -> None:
    """A tenth of the peak as error everywhere gives 20 dB, the greatest possible error -6.02 dB, none infinity."""
    target = torch.full((2, 3, 4, 4), -1.0)
    errors = squared_error(target + torch.tensor([0.1, 2.0])[:, None, None, None], target)
    assert errors.tolist() == pytest.approx([0.01, 4.0])
    assert [float(psnr(e[None])) for e in errors] == pytest.approx([20, -6.0206], abs=1e-4)
    assert psnr(torch.zeros(3)) == math.inf
    assert TASKS["cifar10-denoise"].worst == pytest.approx(-6.0206, abs=1e-4)


def test_psnr_is_averaged_over_batches_of_64_as_in_the_code() -> None:
    """As in Keras, the metric is the mean ratio of whole batches; the remaining images are ignored."""
    errors = torch.rand(150, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ratios = [10 * math.log10(1.0**2 / float(errors[i : i + 64].mean())) for i in (0, 64)]
    assert float(psnr(errors)) == pytest.approx(sum(ratios) / 2, rel=1e-12)
    assert float(psnr(errors[:50])) == pytest.approx(-10 * math.log10(float(errors[:50].mean())), rel=1e-12)
