import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from trainers.optimizers import GradientFilter
from trainers.optimizers.gradient_filter import filtered
from trainers.schedules import factor

STEPS = 200


def gradients(shape: tuple[int, ...], steps: int = STEPS, seed: int = 0) -> torch.Tensor:
    """Return noise about a mean per weight; some weights have no gradient at first, one never."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(steps, *shape, generator=generator, dtype=torch.float64)
    result = noise + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    result[:20].flatten(1)[:, ::3] = 0
    result.flatten(1)[:, 0] = 0
    return result


def parameter(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, requires_grad=True)


def test_first_steps_by_hand() -> None:
    theta = parameter((2,))
    optimizer = GradientFilter([theta], alpha=0.5, gamma=0.25)
    with torch.no_grad():
        theta.copy_(torch.tensor([1.0, -1.0]))
    for gradient, m, g, sign in [(8, 2, 1, -1), (-14, -2, -0.5, 1), (2, -1, -0.75, 1)]:
        theta.grad = torch.tensor([gradient, 0.0], dtype=torch.float64)
        optimizer.step()
        assert optimizer.state[theta]["m"].tolist() == [m, 0]
        assert optimizer.state[theta]["g"].tolist() == [g, 0]
        assert theta.tolist() == [sign, -1]  # the second one never had a gradient, so it stays


def test_bias_correction_by_hand() -> None:
    """For a constant gradient the corrected first average is this gradient from the first step on."""
    theta = parameter((2,))
    optimizer = GradientFilter([theta], alpha=0.5, gamma=0.25, bias_correction=True)
    for g in (4.0, 6.0, 7.0):
        theta.grad = torch.tensor([8.0, 0.0], dtype=torch.float64)
        optimizer.step()
        assert optimizer.state[theta]["g"].tolist() == pytest.approx([g, 0])
    assert optimizer.state[theta]["m"].tolist() == pytest.approx([8 * (1 - 0.75**3), 0])


@pytest.mark.parametrize("real", [True, False])
def test_averages_that_start_as_of_taken_over_weights_have_no_bias_to_correct(real: bool) -> None:
    weights, gradient, states = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64), []
    for corrected in (True, False):
        theta = parameter((5,))
        optimizer = GradientFilter([theta], alpha=0.01, gamma=0.1, bias_correction=corrected)
        optimizer.take_over({theta: weights}, real=real)
        theta.grad = gradient.clone()
        optimizer.step()
        states.append(torch.stack([theta.detach(), *optimizer.state[theta].values()]))
    assert torch.equal(*states)


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_is_the_cascade_in_numpy_under_alpha_decay(decay: str) -> None:
    alpha, gamma, shape = 0.05, 0.1, (7, 5)
    xs = gradients(shape)
    theta = parameter(shape)
    optimizer = GradientFilter([theta], alpha=alpha, gamma=gamma)
    expected = theta.detach().numpy().copy()
    m, g = np.zeros(shape), np.zeros(shape)
    flips = 0
    for i in range(STEPS):
        alpha_i = alpha * factor(decay, i, STEPS)
        m = (1 - gamma) * m + gamma * xs[i].numpy()
        g = (1 - alpha_i) * g + alpha_i * m
        before, expected = expected, np.where(g > 0, -1.0, np.where(g < 0, 1.0, expected))
        flips += int((before != expected).sum())
        optimizer.param_groups[0]["alpha"] = alpha_i
        theta.grad = xs[i]
        optimizer.step()
        np.testing.assert_array_equal(theta.detach().numpy(), expected)
    assert flips > 20


def test_is_equation_17_at_constant_alpha() -> None:
    alpha, gamma, shape = 0.02, 0.1, (11,)
    b = [alpha * gamma, 0, 0]  # Quist 2023, eq 16
    a = [1, (alpha - 1) + (gamma - 1), (alpha - 1) * (gamma - 1)]
    xs = gradients(shape)
    theta = parameter(shape)
    optimizer = GradientFilter([theta], alpha=alpha, gamma=gamma)
    filtered = lfilter(b, a, xs.numpy(), axis=0)
    for i in range(STEPS):
        theta.grad = xs[i]
        optimizer.step()
        np.testing.assert_allclose(optimizer.state[theta]["g"].numpy(), filtered[i], rtol=1e-11, atol=1e-13)
        if i >= 20:  # from here on every weight but the first has had a gradient
            np.testing.assert_array_equal(theta.detach().numpy()[1:], -np.sign(filtered[i])[1:])


def test_impulse_response_is_that_of_the_second_order_filter() -> None:
    alpha, gamma = 0.3, 0.6
    impulse = np.zeros(30)
    impulse[0] = 1
    expected = lfilter(
        np.convolve([alpha, 0], [gamma, 0]), np.convolve([1, alpha - 1], [1, gamma - 1]), impulse
    )
    theta = parameter(())
    optimizer = GradientFilter([theta], alpha=alpha, gamma=gamma)
    response = []
    for x in impulse:
        theta.grad = torch.tensor(x)
        optimizer.step()
        response.append(optimizer.state[theta]["g"].item())
    np.testing.assert_allclose(response, expected, rtol=1e-12)


def test_a_sequence_is_filtered_in_first_and_second_order() -> None:
    """A sign is 0 until there is an output, and then stays where the output is 0."""
    gradients = np.array([[0.0, 4.0], [8.0, -4.0], [-8.0, 0.0]])
    first = filtered(gradients, alpha=0.5)
    assert first.outputs.tolist() == [[0.0, 2.0], [4.0, -1.0], [-2.0, -0.5]]
    assert first.signs.tolist() == [[0, -1], [-1, 1], [1, 1]]
    second = filtered(gradients, alpha=0.5, gamma=0.5)
    assert second.outputs.tolist() == [[0.0, 1.0], [2.0, 0.0], [0.0, -0.25]]
    assert second.signs.tolist() == [[0, -1], [-1, -1], [-1, 1]]
    noise = np.random.default_rng(0).normal(size=(50, 3))
    for its, b, a in (
        (filtered(noise, 0.1), [0.1], [1, -0.9]),
        (filtered(noise, 0.1, 0.3), [0.03], np.convolve([1, -0.9], [1, -0.7])),  # Quist 2023, eqs 15 and 16
    ):
        np.testing.assert_allclose(its.outputs, lfilter(b, a, noise, axis=0), rtol=0, atol=1e-12)


def test_alpha_and_gamma_can_be_swapped_at_constant_alpha() -> None:
    xs = gradients((50,))
    outputs = []
    for alpha, gamma in [(0.03, 0.4), (0.4, 0.03)]:
        theta = parameter((50,))
        optimizer = GradientFilter([theta], alpha=alpha, gamma=gamma)
        for x in xs:
            theta.grad = x
            optimizer.step()
        outputs.append(optimizer.state[theta]["g"])
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-14)


def test_without_gamma_it_is_one_average_and_no_buffer_more() -> None:
    xs = gradients((9,))
    first, second = parameter((9,)), parameter((9,))
    optimizers = (
        GradientFilter([first], alpha=0.1, gamma=None),
        GradientFilter([second], alpha=0.1, gamma=1.0),
    )
    for x in xs:
        first.grad = second.grad = x
        for optimizer in optimizers:
            optimizer.step()
    assert set(optimizers[0].state[first]) == {"g"}
    assert torch.equal(optimizers[0].state[first]["g"], optimizers[1].state[second]["g"])


def test_param_groups_alpha_is_what_the_next_step_uses() -> None:
    theta = parameter((1,))
    optimizer = GradientFilter([theta], alpha=1.0, gamma=1.0)
    theta.grad = torch.tensor([2.0], dtype=torch.float64)
    optimizer.param_groups[0]["alpha"] = 0.25
    optimizer.step()
    assert optimizer.state[theta]["g"].tolist() == [0.5]
    optimizer.param_groups[0]["alpha"] = 0.0
    optimizer.step()
    assert optimizer.state[theta]["g"].tolist() == [0.5]
